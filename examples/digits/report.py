"""What the demo prints and writes: a table a norm, a plot, and the numbers."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich import box
from rich.table import Table


@dataclass(frozen=True)
class Measured:
    """One method on all images, for one radius.

    Attributes:
        norm: Name of the norm.
        eps: Radius.
        method: Name of the method.
        clean: Accuracy on the images themselves.
        attacked: Accuracy under attack, which no certified accuracy can exceed.
        certified: Fraction of images proved to keep their correct class.
        width: Mean of upper minus lower bound over all margins.
        seconds: Time of all bounds.
    """

    norm: str
    eps: float
    method: str
    clean: float
    attacked: float
    certified: float
    width: float
    seconds: float


#: Colour and marker of each line; the colours can be told apart by colour-blind readers too.
_STYLES = (
    ("#0072B2", "o"), ("#E69F00", "s"), ("#009E73", "^"), ("#CC79A7", "D"), ("#D55E00", "v"), ("#56B4E9", "P"),
)  # fmt: skip


def table(found: Sequence[Measured], samples: int, *, widths: bool = False) -> Table:
    """A row a norm and radius, a column a method.

    Args:
        found: The numbers.
        samples: How many digits they are about.
        widths: Whether the mean width of the margins' bounds stands below each accuracy.
    """
    methods = _names(found, "method")
    made = Table(
        title=f"Certified accuracy of {samples} held-out digits; {found[0].clean:.1%} are classified correctly",
        caption="below each accuracy: mean width of the margins' bounds" if widths else None,
        title_justify="left",
        caption_justify="left",
        show_footer=True,
        box=box.SIMPLE_HEAD,
    )
    made.add_column("norm", "seconds")
    made.add_column("eps", justify="right")
    made.add_column("under\nattack", justify="right")
    for method in methods:
        seconds = sum(m.seconds for m in found if m.method == method)
        made.add_column(method.replace("+", "\n+"), f"{seconds:.2f}", justify="right")
    for norm in _names(found, "norm"):
        own = [m for m in found if m.norm == norm]
        radii = list(dict.fromkeys(m.eps for m in own))
        for number, eps in enumerate(radii):
            row = {m.method: m for m in own if m.eps == eps}
            cells = [
                f"{row[m].certified:.1%}" + (f"\n[dim]{row[m].width:.3g}[/dim]" if widths else "")
                for m in methods
            ]
            attacked = f"{row[methods[0]].attacked:.1%}"
            made.add_row(
                norm if number == 0 else "", f"{eps:g}", attacked, *cells, end_section=eps == radii[-1]
            )
    return made


def write_numbers(found: Sequence[Measured], folder: Path) -> list[Path]:
    """`digits.csv` and `digits.json`: one record a norm, radius and method."""
    rows = [asdict(m) for m in found]
    as_csv, as_json = folder / "digits.csv", folder / "digits.json"
    with as_csv.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    as_json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return [as_csv, as_json]


def write_plot(found: Sequence[Measured], folder: Path) -> Path:
    """`digits.png`: certified accuracy against the radius, a panel a norm, a line a method."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    norms = _names(found, "norm")
    figure, panels = plt.subplots(
        1, len(norms), figsize=(4.4 * len(norms) + 1.8, 4.0), sharey=True, squeeze=False, layout="constrained"
    )
    for panel, norm in zip(panels[0], norms, strict=True):
        here = [m for m in found if m.norm == norm]
        first = [m for m in here if m.method == here[0].method]
        clean = first[0].clean
        panel.plot(
            [0, *(m.eps for m in first)], [100 * clean, *(100 * m.attacked for m in first)],
            color="0.45", linestyle="--", label="under attack",
        )  # fmt: skip
        for (colour, marker), method in zip(_STYLES, _names(here, "method"), strict=False):
            line = [m for m in here if m.method == method]
            panel.plot(
                [0, *(m.eps for m in line)], [100 * clean, *(100 * m.certified for m in line)],
                color=colour, marker=marker, markersize=5, label=method,
            )  # fmt: skip
        panel.set(title=f"{norm} perturbation", xlabel="radius ε", ylim=(-2, 102), xlim=(0, None))
        panel.grid(color="0.9")
        panel.spines[["top", "right"]].set_visible(False)
    panels[0][0].set_ylabel("certified accuracy (%)")
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="outside right center", frameon=False)
    path = folder / "digits.png"
    figure.savefig(path, dpi=130)
    plt.close(figure)
    return path


def _names(found: Sequence[Measured], field: str) -> list[str]:
    return list(dict.fromkeys(getattr(m, field) for m in found))
