"""Write the results of `lirpa check --all --save FILE` as a table into build/conformance.md.

python scripts/conformance_page.py FILE...

What is in several files counts as the last one says.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from lirpa_testing.conformance import Outcome, Report
from lirpa_testing.conformance.outcome import Key
from lirpa_testing.conformance.report import COLUMNS
from lirpa_testing.profiles import profile_of

PAGE = Path(__file__).parents[1] / "build" / "conformance.md"


def main(*files: str) -> None:
    """Write the page."""
    found: dict[Key, Outcome] = {}
    profiles = set()
    for file in files:
        head, *lines = (json.loads(line) for line in Path(file).read_text(encoding="utf-8").splitlines())
        profiles.add(head["profile"])
        for outcome in map(Outcome.from_json, lines):
            found[outcome.key] = outcome
    if len(profiles) != 1:
        sys.exit(f"give results of one profile, not of {sorted(profiles) or 'none'}")
    report = Report(profile_of(profiles.pop()), tuple(found.values()))
    rows = [row.cells() for row in report.rows()]
    table = [COLUMNS, ["---"] * len(COLUMNS), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    body = [
        "# Conformance", "", report.summary() + ".", "",
        *(f"| {' | '.join(row)} |" for row in table),
    ]  # fmt: skip
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text("\n".join(body) + "\n", encoding="utf-8")
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main(*sys.argv[1:])
