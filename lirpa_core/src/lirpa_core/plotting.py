"""Pictures of functions between their lines, of bounds by layer, and of certified accuracy. Needs `lirpa-core[plot]`.

Every function draws on axes that are given, or makes a figure of its own, and returns what it drew on; it shows and saves
nothing.

>>> import torch
>>> from lirpa_core.plotting import plot_relaxation
>>> axes = plot_relaxation(torch.tanh, (-1.0, 2.0))
>>> float(axes.get_xlim()[0]) < -1
True
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from lirpa_core.api.bounded_module import BoundedModule
from lirpa_core.api.functional import find_method
from lirpa_core.api.results import BoundsResult
from lirpa_core.errors import InputError, OptionError
from lirpa_core.linear.relaxation import Affine
from lirpa_core.perturbations.lp import PerturbationLpNorm
from lirpa_core.perturbations.tensors import BoundedTensor
from lirpa_core.plugins import Registry
from lirpa_core.problem.problem import Problem
from lirpa_core.problem.relaxations import Relaxations

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: A function's name, its box, and the two lines: colours that stay apart in grey, with line styles that do without colour.
_FUNCTION = {"color": "C0", "linewidth": 2.0}
_STYLES = ("--", "-.", ":", (0, (5, 1)), (0, (1, 1)))
_MARGIN = 0.15

Range = tuple[float, float]


def plot_relaxation(
    op: Callable[..., Any],
    box: Range | tuple[Range, Range],
    *,
    methods: Sequence[str] = ("CROWN",),
    slopes: int = 0,
    registry: Registry | None = None,
    axes: Axes | None = None,
) -> Axes:
    """Draw a function of one or two numbers with its linear bounds on a box.

    Args:
        op: The function: an operator such as `torch.tanh`, an elementwise module, a lambda, or a model from `[B, 1]` to
            `[B, 1]`; of two such tensors for a surface.
        box: Ends of the box, `(low, high)`, or one such pair for each of two numbers.
        methods: Methods whose bounds are drawn; those without linear bounds give horizontal lines. Of a surface, the first.
        slopes: Number of other lines on either side, with slopes (α) spread over the range worth a try; for a single
            operator of one number.
        registry: Rules to use, for one of your own; default: those of all installed plugins.
        axes: Where to; three-dimensional for two numbers. Default: a new figure's.

    Raises:
        InputError: If the box is empty, or the function is no function of one or two numbers.
        OptionError: If matplotlib is not installed.
    """
    boxes = _boxes(box)
    bounded, point = _bounded(op, boxes, registry)
    if len(boxes) == 2:
        return _surface(bounded, point, boxes, methods[0], axes)
    (low, high) = boxes[0]
    margin = _MARGIN * (high - low)
    axes = _new_axes() if axes is None else axes
    outside = torch.linspace(low - margin, high + margin, 401, dtype=torch.float64).unsqueeze(1)
    inside = torch.linspace(low, high, 201, dtype=torch.float64).unsqueeze(1)
    axes.axvspan(low, high, color="0.5", alpha=0.12, linewidth=0)
    if slopes:
        for line in _other_lines(bounded.problem(point), inside, slopes):
            axes.plot(inside.flatten(), line.flatten(), color="0.5", linewidth=0.8, alpha=0.7)
    for number, method in enumerate(methods):
        lower, upper = _sides(bounded, point, method, [inside])
        style = {"color": f"C{number + 1}", "linestyle": _STYLES[number % len(_STYLES)], "linewidth": 1.6}
        axes.plot(inside.flatten(), lower, label=method, **cast("Any", style))
        axes.plot(inside.flatten(), upper, **cast("Any", style))
    with torch.no_grad():
        axes.plot(outside.flatten(), bounded(outside).flatten(), label="function", **cast("Any", _FUNCTION))
    axes.set_xlim(low - margin, high + margin)
    axes.set_xlabel("x")
    if len(methods) > 1:
        _legend_below(axes, 2)
    else:
        axes.legend(framealpha=0.8, edgecolor="none", fontsize="small")
    return axes


def plot_outputs(
    model: Any,
    x: BoundedTensor | Sequence[Any],
    *,
    methods: Sequence[str] = ("IBP", "CROWN", "CROWN-Optimized"),
    outputs: tuple[int, int] = (0, 1),
    samples: int = 2000,
    axes: Axes | None = None,
) -> Axes:
    """Draw two outputs of a model at samples of the sets, and the boxes that methods prove around them.

    Args:
        model: A `BoundedModule`, or what can be made one.
        x: Inputs of one example, the perturbed ones as `BoundedTensor`.
        methods: Methods.
        outputs: Which two elements of the flattened output.
        samples: How many samples.
        axes: Where to; default: a new figure's.

    Raises:
        InputError: If there is more than one example, or nothing is perturbed.
        OptionError: If matplotlib is not installed.
    """
    from matplotlib.patches import Rectangle

    axes = _new_axes() if axes is None else axes
    inputs = tuple(x) if isinstance(x, (tuple, list)) else (x,)
    example = tuple(v.plain() if isinstance(v, BoundedTensor) else v for v in inputs)
    bounded = model if isinstance(model, BoundedModule) else BoundedModule(model, example)
    a, b = outputs
    with torch.no_grad():
        drawn = [_drawn(v, samples) for v in inputs]
        found = torch.stack(
            [bounded(*[v[i] if isinstance(v, list) else v for v in drawn]).flatten() for i in range(samples)]
        )
    axes.scatter(found[:, a], found[:, b], s=3, color="C0", alpha=0.5, linewidth=0, label="samples")
    for number, method in enumerate(methods):
        result = bounded.compute_bounds(x=inputs, method=method)
        lower, upper = result.lower.detach().flatten(), result.upper.detach().flatten()
        if len(lower) != found.shape[1]:
            raise InputError("plot_outputs: give the inputs of one example.")
        corner, size = (float(lower[a]), float(lower[b])), (upper - lower)[[a, b]].tolist()
        style = {"edgecolor": f"C{number + 1}", "linestyle": _STYLES[number % len(_STYLES)], "linewidth": 1.6}
        axes.add_patch(Rectangle(corner, size[0], size[1], fill=False, label=method, **cast("Any", style)))
    axes.autoscale_view()
    axes.set_xlabel(f"output {a}")
    axes.set_ylabel(f"output {b}")
    _legend_below(axes, 2, markerscale=4)
    return axes


def plot_bounds(
    result: BoundsResult, *, output: int | str | None = None, figure: Figure | None = None
) -> Figure:
    """Draw the widths of all layers, and the share of the output's width that each one loses.

    Args:
        result: From `compute_bounds`.
        output: See `BoundsResult.explain`, whose numbers these are.
        figure: Where to; default: a new one.

    Raises:
        InputError: As `BoundsResult.explain`.
        OptionError: If matplotlib is not installed.
    """
    found = result.explain(output)
    names = [f"{row.module} ({row.name})" if row.module else row.name for row in found.layers]
    if figure is None:
        figure = _pyplot().figure(figsize=(7.5, 1.1 + 0.28 * len(names)), layout="constrained")
    widths, losses = figure.subplots(1, 2, sharey=True)
    places = range(len(names))
    widths.barh(places, [row.width_out for row in found.layers], color="C0")
    widths.set_yticks(places, names)
    widths.invert_yaxis()
    widths.set_xlabel("mean width")
    losses.barh(places, [100 * row.lost for row in found.layers], color="C1")
    losses.set_xlabel(f"lost here, % of the width of '{found.output}'")
    figure.suptitle(
        f"{found.method}: mean width {found.width:.3g}, {found.from_inputs:.0%} from the inputs' sets"
    )
    return figure


def plot_certified(
    radii: Sequence[float],
    accuracies: Mapping[str, Sequence[float]],
    *,
    attacked: Sequence[float] | None = None,
    clean: float | None = None,
    axes: Axes | None = None,
) -> Axes:
    """Draw certified accuracy against the radius, a line a method, below what an attack leaves.

    Args:
        radii: The radii.
        accuracies: By method, one accuracy from 0 to 1 a radius.
        attacked: Accuracy under attack, an upper limit of what can be certified.
        clean: Accuracy without any perturbation.
        axes: Where to; default: a new figure's.

    Raises:
        InputError: If lengths differ.
        OptionError: If matplotlib is not installed.
    """
    for name, values in {**accuracies, **({} if attacked is None else {"attacked": attacked})}.items():
        if len(values) != len(radii):
            raise InputError(f"plot_certified: {name!r} has {len(values)} accuracies for {len(radii)} radii.")
    axes = _new_axes() if axes is None else axes
    if clean is not None:
        axes.axhline(100 * clean, color="0.5", linewidth=0.8, label="clean")
    if attacked is not None:
        axes.plot(
            radii, [100 * v for v in attacked], color="0.4", marker="v", markersize=4, label="under attack"
        )
    for number, (name, values) in enumerate(accuracies.items()):
        style = _STYLES[number % len(_STYLES)]
        axes.plot(radii, [100 * v for v in values], linestyle=style, marker="o", markersize=3, label=name)
    axes.set(xlabel="radius", ylabel="certified accuracy, %", ylim=(-2, 102))
    _legend_below(axes, 3)
    return axes


# ---------------------------------------------------------------------- parts


def _pyplot() -> Any:
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise OptionError("pictures need matplotlib: pip install 'lirpa-core[plot]'.") from error
    return pyplot


def _new_axes() -> Axes:
    axes: Axes = _pyplot().subplots(figsize=(4.5, 3.2), layout="constrained")[1]
    return axes


def _legend_below(axes: Axes, columns: int, **settings: Any) -> None:
    """A legend where it hides nothing: lines may go anywhere."""
    axes.legend(
        frameon=False,
        fontsize="small",
        loc="upper center",
        bbox_to_anchor=(0.5, -0.18),
        ncols=columns,
        **settings,
    )


def _boxes(box: Range | tuple[Range, Range]) -> list[Range]:
    given = list(box)
    boxes = [cast("Range", box)] if not isinstance(given[0], (tuple, list)) else cast("list[Range]", given)
    for ends in boxes:
        if len(ends) != 2 or not float(ends[0]) < float(ends[1]):
            raise InputError(f"plot_relaxation: a box is (low, high) with low < high, not {ends!r}.")
    if len(boxes) > 2:
        raise InputError(f"plot_relaxation draws functions of one or two numbers, not of {len(boxes)}.")
    return [(float(low), float(high)) for low, high in boxes]


def _bounded(
    op: Callable[..., Any], boxes: Sequence[Range], registry: Registry | None
) -> tuple[BoundedModule, tuple[BoundedTensor, ...]]:
    middles = [torch.full((1, 1), (low + high) / 2, dtype=torch.float64) for low, high in boxes]
    point = tuple(
        BoundedTensor(middle, PerturbationLpNorm(x_L=low, x_U=high))
        for middle, (low, high) in zip(middles, boxes, strict=True)
    )
    model = op.double() if isinstance(op, torch.nn.Module) else op
    bounded = BoundedModule(model, tuple(middles), bound_opts={"rounding": "nearest"}, registry=registry)
    with torch.no_grad():
        value = bounded(*middles)
    if not isinstance(value, Tensor) or value.numel() != 1:
        raise InputError(
            "plot_relaxation draws functions from [B, 1] to [B, 1]; this one returns something else."
        )
    return bounded, point


def _sides(
    bounded: BoundedModule, point: tuple[BoundedTensor, ...], method: str, inputs: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """Lower and upper bounds at points `[n, 1]` each, `[n]`."""
    with torch.no_grad():
        chosen = find_method(method)
        result = bounded.compute_bounds(x=point, method=chosen, return_A=chosen.gives_linear_bounds)
        if result.A is None:
            ones = torch.ones(len(inputs[0]), dtype=torch.float64)
            return float(result.lower) * ones, float(result.upper) * ones
        (forms,) = result.A.values()
        sides = []
        for side in ("l", "u"):
            total = next(iter(forms.values()))[f"{side}bias"].flatten()
            for form, values in zip(forms.values(), inputs, strict=True):
                total = total + form[f"{side}A"].flatten() * values.flatten()
            sides.append(total)
        return sides[0], sides[1]


def _other_lines(problem: Problem, inside: Tensor, count: int) -> list[Tensor]:
    """Lines of a single operator with other slopes than its rule's own."""
    if len(problem.calls) != 1:
        raise InputError(
            f"slopes={count}: the function consists of {len(problem.calls)} operators; other lines are those of one."
        )
    (name, call), = problem.calls.items()  # fmt: skip
    rule = problem.rules[name]
    inputs = Relaxations(problem, problem.hulls()).operand_intervals(name)
    ranges = rule.slopes(call, inputs)
    lines = []
    for part in torch.linspace(0, 1, count, dtype=torch.float64):
        chosen = [slope.least + part * (slope.greatest - slope.least) for slope in ranges]
        relaxation = rule.relax_with(call, inputs, chosen)
        lines += [_line(side, inside) for side in (relaxation.lower, relaxation.upper)]
    return lines


def _line(affine: Affine, inside: Tensor) -> Tensor:
    points = inside.reshape(-1, 1, 1)
    value = torch.zeros_like(points) if affine.bias is None else affine.bias.reshape(1, 1, 1)
    for term in affine.terms:
        if term is not None:
            value = value + term.apply(points, 1)
    return value.detach()


def _surface(
    bounded: BoundedModule,
    point: tuple[BoundedTensor, ...],
    boxes: Sequence[Range],
    method: str,
    axes: Axes | None,
) -> Axes:
    if axes is None:
        figure = _pyplot().figure(figsize=(5, 4), layout="constrained")
        axes = figure.add_subplot(projection="3d")
    sides = [torch.linspace(low, high, 25, dtype=torch.float64) for low, high in boxes]
    x, y = torch.meshgrid(*sides, indexing="ij")
    inputs = [x.reshape(-1, 1), y.reshape(-1, 1)]
    lower, upper = _sides(bounded, point, method, inputs)
    with torch.no_grad():
        value = bounded(*inputs).reshape(x.shape)
    drawing = cast("Any", axes)
    drawing.plot_surface(x.numpy(), y.numpy(), value.numpy(), color="C0", alpha=0.8, linewidth=0)
    for plane, colour in ((lower, "C1"), (upper, "C2")):
        drawing.plot_wireframe(
            x.numpy(),
            y.numpy(),
            plane.reshape(x.shape).numpy(),
            rstride=6,
            cstride=6,
            color=colour,
            linewidth=0.9,
        )
    for axis in (drawing.xaxis, drawing.yaxis, drawing.zaxis):
        axis.get_major_locator().set_params(nbins=5)
    axes.set_xlabel("x")
    axes.set_ylabel("y")
    return axes


def _drawn(value: Any, samples: int) -> Any:
    """Members of the set of one example, in the layout of the user's tensor; anything else as it is."""
    if not isinstance(value, BoundedTensor) or not value.has_set:
        return value
    if value.shape[:1] != (1,):
        raise InputError(
            "plot_outputs: give the inputs of one example, with a batch dimension of one in front."
        )
    plain = value.plain().detach()
    return list(value.ptb.aligned(0, plain.dim()).sample(plain, samples))


__all__ = ["plot_bounds", "plot_certified", "plot_outputs", "plot_relaxation"]
