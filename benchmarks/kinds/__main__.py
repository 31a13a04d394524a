"""Bound everything that people bring, by kind, and check the bounds.

python -m benchmarks.kinds --page docs/kinds.md
python -m benchmarks.kinds --kind derivatives --case hessian
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.kinds.cases import KINDS
from benchmarks.kinds.measure import METHODS, Row, measure
from benchmarks.kinds.page import fails, page
from benchmarks.kinds.reached import STEPS


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module; 1 if a bound does not hold, a foreign exception left the library, or something is bounded that has no bounds."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kind", action="append", metavar="TEXT", help="only kinds with this in their title")
    parser.add_argument("--case", action="append", metavar="TEXT", help="only cases with this in their name")
    parser.add_argument("--page", type=Path, help="write the page here")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # of sets as small as rounding, and of PyTorch's own
    found: dict[str, list[Row]] = {}
    for title, cases in KINDS.items():
        if options.kind and not any(part.lower() in title.lower() for part in options.kind):
            continue
        for case in cases:
            if options.case and not any(part in case.name for part in options.case):
                continue
            row = measure(case)
            found.setdefault(title, []).append(row)
            print(_line(row), flush=True)
    if options.page is not None:
        options.page.write_text(page(found, STEPS))
    failed = [row.case.name for rows in found.values() for row in rows if fails(row)]
    print(f"{sum(map(len, found.values()))} cases, {len(failed)} fail: {', '.join(failed) or 'none'}")
    return int(bool(failed))


def _line(row: Row) -> str:
    cells = [
        cell.error.partition(":")[0] or ("UNSOUND" if cell.outside > 0 else f"{cell.ratio:.3g}")
        for cell in row.cells
    ]
    shown = cells[:1] if len(set(cells)) == 1 else [f"{m} {c}" for m, c in zip(METHODS, cells, strict=True)]
    return f"{row.case.name}: {', '.join(shown)}"


if __name__ == "__main__":
    raise SystemExit(main())
