"""Pictures show what they say: lines around the function, boxes around samples, the numbers of an explanation."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.errors import InputError, OptionError

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402  after the choice of the backend

from lirpa_core.plotting import plot_bounds, plot_certified, plot_outputs, plot_relaxation  # noqa: E402


@pytest.fixture(autouse=True)
def no_figures_left() -> Iterator[None]:
    yield
    pyplot.close("all")


def net(inputs: int, outputs: int) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(inputs, 8), nn.Tanh(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, outputs))


@pytest.mark.parametrize(
    "op", [torch.relu, torch.tanh, torch.exp, nn.GELU(), lambda x: x * x.sin(), net(1, 1)]
)
@pytest.mark.parametrize("box", [(-1.0, 2.0), (0.5, 0.75)])
def test_every_line_is_on_its_side_of_the_function(op: Callable[..., Any], box: tuple[float, float]) -> None:
    axes = plot_relaxation(op, box, methods=("IBP", "CROWN", "CROWN-Optimized"))
    *lines, function = axes.lines
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "IBP",
        "CROWN",
        "CROWN-Optimized",
        "function",
    ]
    assert len(lines) == 6 and function.get_xdata()[0] < box[0] and function.get_xdata()[-1] > box[1]
    for number, line in enumerate(lines):
        x, y = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
        value = op(torch.from_numpy(x).reshape(-1, 1)).detach().flatten().numpy()
        assert x[0] == box[0] and x[-1] == box[1]
        assert (y <= value + 1e-9).all() if number % 2 == 0 else (y >= value - 1e-9).all()


def test_other_slopes_are_sound_lines_too() -> None:
    axes = plot_relaxation(torch.tanh, (-1.0, 2.0), slopes=4)
    assert len(axes.lines) == 8 + 2 + 1
    for number, line in enumerate(axes.lines[:8]):
        x, y = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
        assert (y <= np.tanh(x) + 1e-9).all() if number % 2 == 0 else (y >= np.tanh(x) - 1e-9).all()
    with pytest.raises(InputError, match="2 operators"):
        plot_relaxation(lambda x: x.tanh().relu(), (-1.0, 2.0), slopes=4)


def test_a_surface_lies_between_its_planes() -> None:
    axes = plot_relaxation(torch.mul, ((-1.0, 1.0), (0.0, 2.0)))
    assert axes.name == "3d" and len(axes.collections) == 3
    given = pyplot.figure().add_subplot(projection="3d")
    assert plot_relaxation(lambda x, y: (x + y).exp(), ((-1.0, 1.0), (0.0, 2.0)), axes=given) is given


def test_boxes_hold_all_samples() -> None:
    x = BoundedTensor(torch.rand(1, 2), PerturbationLpNorm(norm=2, eps=0.3))
    axes = plot_outputs(net(2, 3), x, outputs=(0, 2), samples=200)
    points = np.asarray(axes.collections[0].get_offsets())
    assert points.shape == (200, 2) and len(axes.patches) == 3
    for patch in axes.patches:
        (left, bottom), right, top = (
            patch.get_xy(),
            patch.get_xy()[0] + patch.get_width(),
            patch.get_xy()[1] + patch.get_height(),
        )
        assert (points >= (left - 1e-6, bottom - 1e-6)).all() and (points <= (right + 1e-6, top + 1e-6)).all()
    with pytest.raises(InputError, match="one example"):
        plot_outputs(net(2, 3), BoundedTensor(torch.rand(4, 2), PerturbationLpNorm(eps=0.3)))


def test_bars_are_those_of_the_explanation() -> None:
    x = torch.rand(2, 3)
    result = BoundedModule(net(3, 2), x).compute_bounds(
        BoundedTensor(x, PerturbationLpNorm(eps=0.3)), method="CROWN"
    )
    figure = plot_bounds(result)
    found = result.explain()
    widths, losses = figure.axes
    assert [bar.get_width() for bar in widths.patches] == [row.width_out for row in found.layers]
    assert [bar.get_width() for bar in losses.patches] == pytest.approx(
        [100 * row.lost for row in found.layers]
    )
    given = pyplot.figure()
    assert plot_bounds(result, output="2", figure=given) is given


def test_certified_accuracy() -> None:
    axes = plot_certified(
        [0.1, 0.2], {"IBP": [0.5, 0.2], "CROWN": [0.6, 0.4]}, attacked=[0.8, 0.7], clean=0.9
    )
    drawn = {line.get_label(): list(np.asarray(line.get_ydata())) for line in axes.lines}
    assert (
        drawn["CROWN"] == [60.0, 40.0] and drawn["under attack"] == [80.0, 70.0] and drawn["clean"][0] == 90.0
    )
    with pytest.raises(InputError, match="'IBP' has 1 accuracies for 2 radii"):
        plot_certified([0.1, 0.2], {"IBP": [0.5]})


@pytest.mark.parametrize(
    ("op", "box"), [(torch.relu, (1.0, 1.0)), (torch.relu, (1.0, 2.0, 3.0)), (lambda x: x.expand(-1, 2), (0.0, 1.0)),
                    (lambda x, y, z: x + y + z, ((0.0, 1.0),) * 3)],
)  # fmt: skip
def test_what_cannot_be_drawn(op: Any, box: Any) -> None:
    with pytest.raises(InputError, match="plot_relaxation"):
        plot_relaxation(op, box)


def test_without_matplotlib_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(OptionError, match=r"pip install 'lirpa-core\[plot\]'"):
        plot_certified([0.1], {"IBP": [0.5]})
