"""A page about a benchmark run: a table by family, a cactus plot, every instance."""

from __future__ import annotations

import html
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lirpa_verify.answers.plot import new_figure, save
from lirpa_verify.errors import InstancesError
from lirpa_verify.instances.files import Instance, Outcome
from lirpa_verify.instances.table import FamilyRow, by_family

_COLUMNS: Final = (
    "family",
    "instances",
    "proved",
    "refuted",
    "unknown",
    "errors",
    "wrong",
    "≤ 5 s",
    "median s",
)


@dataclass(frozen=True)
class _Table:
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def write_report(path: str | Path, outcomes: Sequence[Outcome], instances: Sequence[Instance]) -> None:
    """Write a report as HTML, or as Markdown with its picture beside it.

    Args:
        path: A file that ends in `.html` or `.md`.
        outcomes: What came out.
        instances: The instances, for the answers that are expected.

    Raises:
        InstancesError: For another ending, or if it cannot be written.
        OptionError: If matplotlib is not installed.
    """
    path = Path(path)
    families = _Table(_COLUMNS, tuple(_cells(row) for row in by_family(outcomes, instances)))
    each = _Table(
        ("network", "property", "answer", "seconds"),
        tuple((o.network, o.query, o.answer, f"{o.seconds:.2f}") for o in outcomes),
    )
    try:
        if path.suffix == ".html":
            picture = io.StringIO()
            _cactus(outcomes, picture)
            svg = picture.getvalue()
            path.write_text(_html(families, svg[svg.index("<svg") :], each))
        elif path.suffix == ".md":
            beside = path.with_suffix(".svg")
            _cactus(outcomes, beside)
            path.write_text(_markdown(families, beside.name, each))
        else:
            raise InstancesError(
                f"a report is written as .html or .md, not as {path.suffix or 'a file without ending'}"
            )
    except OSError as error:
        raise InstancesError(f"cannot write the report {path}: {error}") from error


def _cells(row: FamilyRow) -> tuple[str, ...]:
    counts = (row.instances, row.proved, row.refuted, row.unknown, row.failed, row.wrong, row.quick)
    return (row.family, *map(str, counts), f"{row.median:.2f}")


def _cactus(outcomes: Sequence[Outcome], target: Path | io.StringIO) -> None:
    """How many instances were solved within a time, by family and in all."""
    figure = new_figure()
    axes = figure.subplots()
    families = sorted({o.family for o in outcomes})
    groups = [("all", list(outcomes)), *((f, [o for o in outcomes if o.family == f]) for f in families)]
    for name, group in groups if len(families) > 1 else groups[1:]:
        seconds = sorted(o.seconds for o in group if o.answer in {"sat", "unsat"})
        axes.step([0.0, *seconds], range(len(seconds) + 1), where="post", label=name)
    axes.set_xlabel("seconds an instance")
    axes.set_ylabel("instances solved")
    axes.set_xscale("symlog", linthresh=1)
    axes.legend()
    if isinstance(target, Path):
        save(figure, target)
    else:
        figure.savefig(target, format="svg")


def _markdown(families: _Table, picture: str, each: _Table) -> str:
    def table(content: _Table) -> str:
        lines = [content.columns, tuple("---" for _ in content.columns), *content.rows]
        return "\n".join("| " + " | ".join(v.replace("|", "\\|") for v in line) + " |" for line in lines)

    parts = [
        "# Verification report",
        table(families),
        f"![instances solved against time]({picture})",
        table(each),
    ]
    return "\n\n".join(parts) + "\n"


def _html(families: _Table, svg: str, each: _Table) -> str:
    def cells(tag: str, values: Iterable[str]) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(v)}</{tag}>" for v in values) + "</tr>"

    def table(content: _Table) -> str:
        rows = "\n".join(cells("td", row) for row in content.rows)
        return f"<table>\n{cells('th', content.columns)}\n{rows}\n</table>"

    style = "body{font-family:sans-serif;margin:2em}td,th{padding:2px 10px;text-align:left}"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Verification report</title><style>{style}</style>'
        f"<h1>Verification report</h1>\n{table(families)}\n{svg}\n{table(each)}\n</html>\n"
    )
