"""The log: a line of JSON for every network, from which a run resumes and a summary is counted."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lirpa_testing.fuzz.check import Outcome


def append(path: Path, seed: int, first: int, dtype: str, outcomes: Sequence[Sequence[Outcome]]) -> None:
    """Add cases; what held is written by the method's name alone.

    Args:
        path: The log.
        seed: Of the stream.
        first: The first one's place in it.
        dtype: The type of the cases.
        outcomes: Of each case, one a method.
    """
    lines = [
        {
            "seed": seed,
            "index": first + i,
            "dtype": dtype,
            "held": [o.method for o in each if o.kind == "held"],
            "other": [asdict(o) for o in each if o.kind != "held"],
        }
        for i, each in enumerate(outcomes)
    ]
    with path.open("a", encoding="utf-8") as file:
        file.write("".join(json.dumps(line) + "\n" for line in lines))


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """All whole lines; a run that was killed may have left half a line at the end.

    Args:
        path: The log; it need not exist.
    """
    if not path.exists():
        return
    with path.open(encoding="utf-8") as file:
        for text in file:
            try:
                yield json.loads(text)
            except json.JSONDecodeError:
                continue


def next_index(path: Path, seed: int) -> int:
    """Where a stream goes on.

    Args:
        path: The log.
        seed: Of the stream.
    """
    return max((line["index"] + 1 for line in lines(path) if line["seed"] == seed), default=0)


def summary(path: Path) -> str:
    """Counts of cases by method and type, of refusals by kind, and of findings.

    Args:
        path: The log.
    """
    cases: Counter[tuple[str, str]] = Counter()
    kinds: Counter[tuple[str, str]] = Counter()
    networks = 0
    for line in lines(path):
        networks += 1
        for method in line["held"]:
            cases[method, line["dtype"]] += 1
        for outcome in line["other"]:
            cases[outcome["method"], line["dtype"]] += 1
            kinds[outcome["kind"], outcome["what"]] += 1
    out = [f"{sum(cases.values())} cases ({networks} networks, each by every method)"]
    out += [f"  {method:18} {dtype:8} {n:8}" for (method, dtype), n in sorted(cases.items())]
    for kind in ("refused", "crash", "escape"):
        out.append(f"{kind}: {sum(n for (k, _), n in kinds.items() if k == kind)}")
        out += [f"  {what:40} {n:8}" for (k, what), n in sorted(kinds.items()) if k == kind]
    return "\n".join(out)
