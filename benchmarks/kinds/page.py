"""The page of the documentation: a table for each kind, and what was counted."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterator, Mapping, Sequence

import torch

from benchmarks.kinds.measure import METHODS, Row

_HEAD = """# What people bring

`python -m benchmarks.kinds --page docs/kinds.md` wrote this page on {date}, with PyTorch {version}: {count} small models and operators of every
kind that people were seen to bring, each on two boxes, the whole of its domain here and a fifth of that in every direction. The numbers say how many
times as wide the bounds are, on average, as what samples, corners and {steps} steps along the gradient reach: 1 is exact. Models are random, and the boxes wide:
real ones on small sets do better. CROWN-Optimized takes five steps. Every case is checked: **no value that was found lies outside of its
bounds** ({unsound} unsound).

Of {count} cases {bounded} have bounds in every method. {meant} are refused as they should be, with the error that the table names and a message that
says where and what to write instead. {open} are refused that could have bounds; their rows say with what error. {foreign} let a foreign exception out.

Elementary operators alone on a box are exact in interval arithmetic; what their planes lose shows in models ([](benchmarks/planes.md)).
"""


def page(kinds: Mapping[str, Sequence[Row]], steps: int) -> str:
    """The whole page.

    Args:
        kinds: The rows of each kind, by its title.
        steps: Steps of the attack.
    """
    rows = [row for group in kinds.values() for row in group]
    head = _HEAD.format(
        date=datetime.date.today(),
        version=torch.__version__,
        count=len(rows),
        steps=steps,
        unsound=sum(is_unsound(row) for row in rows),
        bounded=sum(all(not cell.error for cell in row.cells) for row in rows),
        meant=sum(is_meant(row) for row in rows),
        open=sum(is_open(row) for row in rows),
        foreign=sum(is_foreign(row) for row in rows),
    )
    parts = [head]
    for title, group in kinds.items():
        parts.append("\n".join([f"## {title}", "", *_table(group), ""]))
    return "\n".join(parts)


def is_unsound(row: Row) -> bool:
    """Whether a value lies outside of its bounds."""
    return any(cell.outside > 0 for cell in row.cells)


def is_foreign(row: Row) -> bool:
    """Whether an exception left the library that is none of its own."""
    return any(cell.foreign for cell in row.cells)


def is_meant(row: Row) -> bool:
    """Whether a case is refused by the error that is right."""
    wanted = row.case.refused
    return bool(wanted) and all(cell.error.startswith(f"{wanted}:") for cell in row.cells)


def is_open(row: Row) -> bool:
    """Whether a case is refused that could have bounds, or by another error than it should be."""
    return not is_meant(row) and any(cell.error for cell in row.cells)


def fails(row: Row) -> bool:
    """Whether a row is a defect: unsound, a foreign exception, or bounds of what has none."""
    return is_unsound(row) or is_foreign(row) or (bool(row.case.refused) and not is_meant(row))


def _table(rows: Sequence[Row]) -> Iterator[str]:
    yield "| case | " + " | ".join(METHODS) + " |"
    yield "|---|" + "---|" * len(METHODS)
    for row in rows:
        name = row.case.name.replace("|", "\\|")
        if is_meant(row):
            cells = [f"refused: `{row.case.refused}`", *[""] * (len(METHODS) - 1)]
        else:
            cells = [_shown(cell.ratio, cell.error, cell.outside) for cell in row.cells]
            if all(cell.error for cell in row.cells) and len(set(cells)) == 1:
                cells[1:] = [""] * (len(METHODS) - 1)
        yield f"| {name} | " + " | ".join(cells) + " |"


def _shown(ratio: float, error: str, outside: float) -> str:
    if error:
        return f"not yet: `{error.partition(':')[0]}`"
    if outside > 0:
        return "**unsound**"
    return "bounded" if math.isinf(ratio) or ratio > 1e6 else f"{ratio:.3g}"
