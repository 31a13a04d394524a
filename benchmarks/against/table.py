"""The comparison as a table, for a terminal and for the documentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.against.cells import GOAL, Cell
from benchmarks.against.compare import Compared
from benchmarks.against.roofline import Machine

HEADERS = (
    "method", "old ms", "new ms", "faster", "needed", "old MiB", "new MiB", "leaner", "difference", "GFLOP",
    "of roofline",
)  # fmt: skip
NOTHING = "—"


@dataclass(frozen=True)
class Row:
    """A line of the table: the cell it is of, and its columns as texts, as `HEADERS` names them."""

    cell: Cell
    columns: tuple[str, ...]


def rows(cells: Sequence[Cell], found: Mapping[str, Compared], machine: Machine | None) -> list[Row]:
    """The lines of the cells that were measured."""
    return [Row(cell, _columns(cell, found[cell.name], machine)) for cell in cells if cell.name in found]


def _columns(cell: Cell, compared: Compared, machine: Machine | None) -> tuple[str, ...]:
    old, new = compared.old, compared.new
    error = old.error or new.error
    if error:
        where = "both" if old.error and new.error else "old" if old.error else "new"
        return (cell.method, f"{where}: {error}", *[""] * (len(HEADERS) - 2))
    met = compared.ratio is not None and cell.needed is not None and compared.ratio >= cell.needed
    return (
        cell.method,
        _milliseconds(old.seconds),
        _milliseconds(new.seconds) + (f" (outward {_milliseconds(new.outward)})" if new.outward else ""),
        _times(compared.ratio),
        NOTHING if cell.needed is None else f"{cell.needed:.2f}" + (" met" if met else ""),
        _number(old.mib),
        _number(new.mib),
        _times(compared.memory_ratio) if (old.mib or 0) >= 1 else NOTHING,
        NOTHING if compared.difference is None else f"{compared.difference:.1e}",
        NOTHING if new.flops is None else f"{new.flops / 1e9:.3g}",
        _of_roofline(compared, machine),
    )


def _of_roofline(compared: Compared, machine: Machine | None) -> str:
    new = compared.new
    if machine is None or new.seconds is None or new.flops is None or new.bytes is None:
        return NOTHING
    computing, moving = new.flops / machine.flops, new.bytes / machine.bytes
    bound = "FLOP" if computing >= moving else "bytes"
    return f"{machine.least_seconds(new.flops, new.bytes) / new.seconds:.0%} ({bound})"


def _milliseconds(seconds: float | None) -> str:
    if seconds is None:
        return NOTHING
    return f"{1e3 * seconds:.3g}" if seconds < 1 else f"{1e3 * seconds:,.0f}"


def _number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.0f}"


def _times(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.2f} ×"


def markdown(
    lines: Sequence[Row], old: str, new: str, setting: Mapping[str, Any], machine: Machine | None
) -> str:
    """The page of the documentation."""
    parts = [
        "# Against an earlier commit\n",
        f"`python -m benchmarks --against {old}` runs two versions of lirpa in alternating processes and times the same",
        "calls of `compute_bounds`; this page is what it wrote.\n",
        f"- Old: commit {old}; new: commit {new}. {_sentence(setting, machine)}",
        f"- Times are the least {setting['clock']} time of a call over all turns; memory is the peak beyond model and data, in a",
        "  process of its own. *Faster* and *leaner* are old divided by new.",
        f"- *Needed* is what makes the cell {GOAL:g} times faster than the reference system: {GOAL:g} divided by the",
        "  reference's time over this project's at commit 7efb288.",
        "- *Difference* is the largest difference of a bound, relative to the larger of its size and the width.",
        "- *Of roofline*: the least time that the matrix products (FLOP) or the operators' reading and writing (bytes)",
        "  need on this machine, as a share of the time measured. Bytes that stay in a cache can make it exceed 100 %.\n",
    ]
    title = None
    for line in lines:
        if line.cell.title != title:
            title = line.cell.title
            parts += [f"\n## {title}\n", _line(HEADERS), _line(["---", *["---:"] * (len(HEADERS) - 1)])]
        parts.append(_line(line.columns))
    return "\n".join(parts) + "\n"


def _line(columns: Sequence[str]) -> str:
    return f"| {' | '.join(columns)} |"


def _sentence(setting: Mapping[str, Any], machine: Machine | None) -> str:
    told = (
        f"float32, {setting['threads']} thread(s) of {setting['device']}, PyTorch {setting['torch']} on Python"
        f" {setting['python']}"
    )
    if machine is not None:
        told += f"; at most {machine.flops / 1e9:.0f} GFLOP/s and {machine.bytes / 1e9:.1f} GB/s measured"
    return told + "."
