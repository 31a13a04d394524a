"""Draw the pictures of the documentation, for a light and a dark page, with the functions that users call.

`docs/conf.py` calls `draw` at every build. By itself: `python scripts/draw_pictures.py FOLDER`, and with `--readme` in the
place of the folder the picture of the README, which is kept in the repository.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import torch
from cycler import cycler
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.plotting import plot_bounds, plot_outputs, plot_relaxation

mpl.use("Agg")
import matplotlib.pyplot as plt  # after the choice of the backend

_COMMON: dict[str, Any] = {
    "font.size": 9,
    "svg.hashsalt": "lirpa",
    "svg.fonttype": "path",
    "savefig.transparent": True,
}
#: Colours that the colour-blind tell apart: those of Okabe and Ito (2008), lighter on a dark page.
_CYCLE = {
    "light": ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"],
    "dark": ["#56B4E9", "#FF9E5E", "#3FD0A0", "#F2A6CF", "#F5C542"],
}
_INK = {"light": "#1f2328", "dark": "#e6edf3"}


def _style(theme: str) -> dict[str, Any]:
    ink = _INK[theme]
    inked = (
        "text.color",
        "axes.edgecolor",
        "axes.labelcolor",
        "xtick.color",
        "ytick.color",
        "legend.labelcolor",
    )
    cycle = cycler(color=_CYCLE[theme])
    return {**_COMMON, **dict.fromkeys(inked, ink), "axes.prop_cycle": cycle, "axes.facecolor": "none"}


def _lines() -> Any:
    """Functions between their lines, with other slopes in grey."""
    figure, axes = plt.subplots(2, 3, figsize=(8.4, 4.8), layout="constrained")
    functions: Mapping[str, tuple[Callable[..., Tensor], tuple[float, float]]] = {
        "ReLU": (torch.relu, (-1.0, 2.0)),
        "tanh": (torch.tanh, (-1.0, 2.5)),
        "sigmoid": (torch.sigmoid, (-4.0, 2.0)),
        "exp": (torch.exp, (-1.0, 1.5)),
        "sin": (torch.sin, (-1.0, 2.5)),
        "GELU": (nn.functional.gelu, (-2.5, 1.5)),
    }
    for drawn, (title, (function, box)) in zip(axes.flat, functions.items(), strict=True):
        plot_relaxation(function, box, slopes=0 if title == "GELU" else 5, axes=drawn)
        drawn.set_title(title)
        drawn.set_xlabel("")
    return figure


def _product() -> Any:
    """A product and its planes."""
    figure = plt.figure(figsize=(4.8, 3.8), layout="constrained")
    axes = figure.add_subplot(projection="3d")
    plot_relaxation(torch.mul, ((-1.0, 1.0), (0.0, 2.0)), axes=axes)
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.set_pane_color((0.5, 0.5, 0.5, 0.08))
    return figure


def _methods() -> Any:
    """A network of one number, and two outputs of a network of two."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.4, 3.7), layout="constrained")
    torch.manual_seed(8)
    one = nn.Sequential(nn.Linear(1, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1))
    with torch.no_grad():
        next(one.parameters()).mul_(4)
    plot_relaxation(one, (-0.5, 0.9), methods=("IBP", "CROWN", "CROWN-Optimized"), axes=left)
    left.set_title("one input: bounds as functions of it")
    torch.manual_seed(3)
    two = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 2))
    x = BoundedTensor(torch.tensor([[0.4, 0.6]]), PerturbationLpNorm(eps=0.4))
    plot_outputs(two, x, methods=("CROWN-IBP", "CROWN", "CROWN-Optimized"), axes=right)
    right.set_title("two outputs: samples, and what is proven")
    return figure


def _layers() -> Any:
    """Where a small convolutional network loses its width."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 8, 3, 2, 1), nn.ReLU(), nn.Flatten()]
    model = nn.Sequential(*layers, nn.Linear(128, 20), nn.ReLU(), nn.Linear(20, 10), nn.Softmax(1))
    x = torch.rand(4, 1, 14, 14)
    found = BoundedModule(model, x).compute_bounds(
        BoundedTensor(x, PerturbationLpNorm(eps=0.02)), method="CROWN-IBP"
    )
    return plot_bounds(found)


PICTURES: Mapping[str, Callable[[], Any]] = {
    "lines": _lines,
    "product": _product,
    "methods": _methods,
    "layers": _layers,
}


def draw(folder: Path) -> list[Path]:
    """Write every picture as SVG, in both themes.

    Args:
        folder: Where to; made if it does not exist.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for theme in _INK:
        with plt.style.context(_style(theme)):
            for name, make in PICTURES.items():
                figure = make()
                path = folder / f"{name}-{theme}.svg"
                figure.savefig(path, metadata={"Date": None})
                plt.close(figure)
                written.append(path)
    return written


def draw_for_readme() -> Path:
    """The picture of the README, as PNG on white."""
    target = Path(__file__).parents[1] / "docs" / "_static" / "bounds.png"
    with plt.style.context({**_style("light"), "savefig.transparent": False}):
        figure = _methods()
        figure.savefig(target, dpi=110, facecolor="white", metadata={"Software": None})
        plt.close(figure)
    return target


if __name__ == "__main__":
    if sys.argv[1:] == ["--readme"]:
        print(draw_for_readme())
        raise SystemExit
    for drawn_file in draw(Path(sys.argv[1])):
        print(drawn_file)
