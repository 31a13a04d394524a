"""Where a bound is lost: a table of the operators on the way to an output, and what follows from it."""

from __future__ import annotations

import math
import textwrap
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lirpa_core.devices import synchronize
from lirpa_core.errors import InputError
from lirpa_core.graph import Node
from lirpa_core.linear.affine import AffineForm
from lirpa_core.linear.interval import Interval
from lirpa_core.linear.relaxation import Affine
from lirpa_core.methods.rows import every_element
from lirpa_core.methods.traversal import backward
from lirpa_core.problem.problem import Problem
from lirpa_core.problem.relaxations import Relaxations

#: Rows of an output that are looked at; more say the same.
_ROWS = 64

#: Shares from which on something is worth a sentence.
_MUCH, _MOST = 0.3, 0.7


@dataclass(frozen=True)
class LayerRow:
    """One operator.

    Attributes:
        name: Its name in the graph.
        module: The module that it is in; empty for none.
        operator: What it computes.
        rule: The family of its rule.
        width_in: Mean width of its perturbed operands.
        width_out: Mean width of its own bounds.
        unstable: Share of the operands' elements that are worth a tighter interval, such as unstable neurons; None where
            the operator is affine.
        lost: Share of the output's width that its lines lose: what lies between the two, times the coefficients that the
            output has over it.
        milliseconds: What its interval and its lines took to compute, this once.
        mebibytes: Its bounds, and the coefficients of the output's rows over it.
    """

    name: str
    module: str
    operator: str
    rule: str
    width_in: float
    width_out: float
    unstable: float | None
    lost: float
    milliseconds: float
    mebibytes: float


#: Advice is broken into lines as wide as the table, or as this.
_LEAST_WIDTH = 88

_COLUMNS = ("layer", "operator", "rule", "width in", "width out", "unstable", "lost", "ms", "MiB")


@dataclass(frozen=True)
class Explanation:
    """Where the width of one output arises; `print` shows a table and advice.

    Attributes:
        output: Name of the output's node.
        method: Name of the method.
        width: Mean width of its bounds.
        linear: Mean width of its linear bounds: what a backward pass on these inner bounds gives.
        from_inputs: Share of the linear bounds' width that the inputs' sets make by themselves, through the coefficients.
        layers: The operators, in the order of the graph.
        advice: Sentences that follow.
    """

    output: str
    method: str
    width: float
    linear: float
    from_inputs: float
    layers: tuple[LayerRow, ...]
    advice: tuple[str, ...]

    def __str__(self) -> str:
        table = [_COLUMNS, *(cells(row) for row in self.layers)]
        widths = [max(len(line[i]) for line in table) for i in range(len(_COLUMNS))]
        texts = 3  # columns of text, to the left
        lines = [
            "  ".join(
                cell.ljust(w) if i < texts else cell.rjust(w)
                for i, (cell, w) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in table
        ]
        head = f"{self.method}: mean width {self.width:.4g} of '{self.output}', {self.from_inputs:.0%} of it from the inputs' sets"
        wide = max(map(len, lines))
        advice = [textwrap.fill(sentence, max(wide, _LEAST_WIDTH)) for sentence in self.advice]
        return "\n".join([head, "", lines[0], "─" * wide, *lines[1:], "", *advice])


def cells(row: LayerRow) -> tuple[str, ...]:
    """A row as text, under the columns of the table."""
    return (
        f"{row.module or '-'} ({row.name})",
        row.operator,
        row.rule,
        f"{row.width_in:.3g}",
        f"{row.width_out:.3g}",
        "" if row.unstable is None else f"{row.unstable:.0%}",
        f"{row.lost:.1%}" if row.lost else "",
        f"{row.milliseconds:.1f}",
        f"{row.mebibytes:.3g}",
    )


@torch.no_grad()
def explain(
    problem: Problem, intervals: Mapping[str, Interval], output: str, method: str, width: float
) -> Explanation:
    """Where the width of an output arises.

    One backward pass from the output, with the lines that the rules choose on these inner bounds, gives the coefficients
    over every operator. The two lines of an operator are `g` apart in the middle of its box; with coefficients `a` over it
    the operator loses `Σ |a|·g`. What the inputs' sets make of the linear bounds is not lost: it is the model's own.

    Args:
        problem: What was bounded.
        intervals: Bounds of the inner nodes.
        output: The output's node.
        method: Name of the method.
        width: Mean width of the output's bounds.
    """
    relaxations = Relaxations(problem, intervals)
    needed = problem.ancestors(output)
    names = [name for name in problem.calls if name in needed]
    timed = {name: _timed(problem, intervals, relaxations, name) for name in names}
    rows = every_element(problem, output)
    rows = rows.take(0, min(rows.rows, _ROWS))
    forms = [backward(problem, output, start, relaxations, at_nodes=names) for start in (rows, rows.negate())]
    losses = {name: _loss(problem, intervals, relaxations, forms, name) for name in names}
    own = sum([_own_width(problem, form) for form in forms]) / 2
    total = own + sum(losses.values())
    total = total if total > 0 and math.isfinite(total) else math.inf
    linear = -float(sum([problem.minimum(form).mean() for form in forms]))
    layers = tuple(
        [
            _row(problem, intervals, relaxations, forms, name, losses[name] / total, timed[name])
            for name in names
        ]
    )
    share = own / total
    return Explanation(
        output,
        method,
        width,
        linear,
        share,
        layers,
        tuple(_advice(problem, method, width, linear, share, layers)),
    )


def _timed(problem: Problem, intervals: Mapping[str, Interval], relaxations: Relaxations, name: str) -> float:
    """Milliseconds that an operator's interval and lines take."""
    start = time.perf_counter()
    call = problem.calls[name]
    problem.rules[name].interval(call, tuple([intervals[o] for o in call.operands]))
    relaxations[name]
    synchronize(problem.device)
    return (time.perf_counter() - start) * 1e3


def _loss(
    problem: Problem,
    intervals: Mapping[str, Interval],
    relaxations: Relaxations,
    forms: Sequence[AffineForm],
    name: str,
) -> float:
    relaxation = relaxations[name]
    if relaxation.exact:
        return 0.0
    middles = [intervals[o].midpoint for o in problem.calls[name].operands]
    gap = (_at(relaxation.upper, middles) - _at(relaxation.lower, middles)).clamp(min=0)
    gap = torch.where(gap.isfinite(), gap, 0)
    found = [form.at_nodes[name].dual_norm(1, gap).mean() for form in forms if name in form.at_nodes]
    return float(sum(found)) / 2  # each bound loses to one of the two lines


def _at(affine: Affine, points: Sequence[Tensor]) -> Tensor:
    """The value of an affine function, `[B, *S]`."""
    value = affine.bias
    for term, point in zip(affine.terms, points, strict=True):
        if term is not None:
            part = term.apply(point, 1)
            value = part if value is None else value + part
    assert value is not None
    return value


def _own_width(problem: Problem, form: AffineForm) -> float:
    """Mean width of the range of a linear function over the inputs' sets."""
    least = problem.concretize(form.coefficients)
    greatest = problem.concretize({name: A.negate() for name, A in form.coefficients.items()})
    return 0.0 if least is None or greatest is None else float(-(least + greatest).mean())


def _row(
    problem: Problem,
    intervals: Mapping[str, Interval],
    relaxations: Relaxations,
    forms: Sequence[AffineForm],
    name: str,
    lost: float,
    milliseconds: float,
) -> LayerRow:
    call, rule, node = problem.calls[name], problem.rules[name], problem.graph[name]
    affine = name in problem.facts.affine_operators
    masks = [] if affine else rule.unstable_inputs(call, relaxations.operand_intervals(name))
    kept = [mask.float().mean() for mask in masks if mask is not None]
    unstable = None if affine else float(sum(kept)) / max(1, len(masks))
    into = [float(intervals[o].width.mean()) for o in call.operands]
    numbers = 2 * intervals[name].lower.numel()
    numbers += sum([form.at_nodes[name].numel for form in forms if name in form.at_nodes])
    return LayerRow(
        name,
        node.source.module_path,
        str(node.target).removesuffix(".default"),
        rule.family,
        sum(into) / len(into),
        float(intervals[name].width.mean()),
        unstable,
        lost,
        milliseconds,
        numbers * problem.dtype.itemsize / 2**20,
    )


def _advice(
    problem: Problem, method: str, width: float, linear: float, from_inputs: float, layers: Sequence[LayerRow]
) -> list[str]:
    found: list[str] = []
    if linear < (1 - _MUCH) * width:
        found.append(
            f"Interval arithmetic alone makes the bounds {width / linear:.1f} times as wide as one backward pass on the "
            "same inner bounds: try method='CROWN-IBP', or 'CROWN'."
        )
    worst = max(layers, key=lambda row: row.lost, default=None)
    if worst is not None and worst.lost >= _MUCH:
        found.append(
            f"{worst.lost:.0%} of the width arises at {_described(problem.graph[worst.name])}, where {_remedy(problem, method, worst)}"
        )
    if from_inputs >= _MOST:
        found.append(
            f"{from_inputs:.0%} of the width is the model's own response to its inputs: no method takes it away, a smaller "
            "set or another model does."
        )
    if not found:
        found.append(
            "The width arises in many places, and no single one is worth much by itself: a tighter method helps at all of them."
            if method != "CROWN-Optimized"
            else "The width arises in many places; lirpa_verify splits the set or the neurons where that is not tight enough."
        )
    return found


def _remedy(problem: Problem, method: str, row: LayerRow) -> str:
    unstable = (
        f"{row.unstable:.0%} of the operands' elements are not decided" if row.unstable else "its box is wide"
    )
    if method == "CROWN-Optimized":
        return f"{unstable}: more steps help a little, and lirpa_verify splits."
    if method == "CROWN":
        return f"{unstable}: try method='CROWN-Optimized', which moves its lines."
    return f"{unstable}: its inner bounds are those of {method}; try method='CROWN', which tightens them."


def _described(node: Node) -> str:
    where = f" in module '{node.source.module_path}'" if node.source.module_path else ""
    return f"'{node.name}' ({str(node.target).removesuffix('.default')}{where})"


def missing_problem() -> InputError:
    """The error about a result that was unpickled, or made by other means than `compute_bounds`."""
    return InputError(
        "explain: this result no longer knows its model, as one that was pickled; compute it again."
    )
