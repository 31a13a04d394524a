"""One traversal each way: intervals and affine functions forward, rows of coefficients backward.

Every method is made of these three functions. Backward, only lower bounds travel: an upper bound of row `a` is the
negated lower bound of row `-a`. Until the first relaxation the two are mirror images, and one set of rows stands for
both.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from lirpa_core.linear.affine import AffineForm
from lirpa_core.linear.coefficients import Coefficients, InputFirstCoefficients, add, flatten
from lirpa_core.linear.infinite import apply_infinite, plus, split_dot_infinite
from lirpa_core.linear.interval import Interval
from lirpa_core.linear.kernels import backpropagate, backpropagate_relaxation
from lirpa_core.linear.operators import LinearOp
from lirpa_core.linear.relaxation import Affine
from lirpa_core.linear.rounding import gamma, tiny
from lirpa_core.problem.problem import Problem
from lirpa_core.problem.relaxations import Relax, Relaxations, by_rule
from lirpa_core.problem.rounding import outward_interval

#: Is told the operator that is about to be bounded; may tighten the intervals of nodes before it.
Refine: TypeAlias = Callable[[str], None]


def intervals(
    problem: Problem,
    given: Mapping[str, Interval] | None = None,
    refine: Refine | None = None,
    found: dict[str, Interval] | None = None,
) -> dict[str, Interval]:
    """Interval arithmetic from the inputs to every perturbed node (Gowal et al. 2018; Mirman et al. 2018).

    Args:
        problem: The problem.
        given: Sound intervals to intersect with, by node name.
        refine: Is called before each operator; may tighten intervals in `found`.
        found: The dictionary to fill, for a `refine` or relaxations that read it meanwhile; default: a new one.

    Returns:
        Intervals by node name, inputs included, `[B, *S]`.
    """
    found = {} if found is None else found
    found.update(problem.hulls())
    rules = problem.rules
    for name, call in problem.calls.items():
        if refine is not None:
            refine(name)
        operands = tuple([found[o] for o in call.operands])
        outward = problem.outward
        interval = (
            outward_interval(problem, name, operands) if outward else rules[name].interval(call, operands)
        )
        found[name] = interval.intersect(given[name]) if given and name in given else interval
    return found


# ---------------------------------------------------------------------- forward


@dataclass(frozen=True, eq=False)
class AffineBounds:
    """A node between two affine functions of the inputs; the same object twice where it is affine itself.

    Attributes:
        lower: `R` rows, one an element of the node.
        upper: Likewise.
    """

    lower: AffineForm
    upper: AffineForm


@dataclass(frozen=True, eq=False)
class _Images:
    """One affine function of the inputs for every element of a node, as forward propagation carries it.

    Attributes:
        by_input: Images of each input's unit vectors, `[n, B, *S]`; inputs without influence are left out.
        bias: `[B, *S]`.
        infinite: Infinities of the bias, see `linear.infinite`; None for none.
        error: What rounding may have made of the function's values over the set, `[B, *S]`; None: not accounted for.
    """

    by_input: Mapping[str, Tensor]
    bias: Tensor
    infinite: Tensor | None = None
    error: Tensor | None = None

    def form(self, problem: Problem, *, upper: bool = False) -> AffineForm:
        coefficients: dict[str, Coefficients] = {
            name: InputFirstCoefficients(A.to(problem.inputs[name].x.dtype), problem.shape(name))
            for name, A in self.by_input.items()
        }
        bias = self.bias if self.infinite is None else self.bias + self.infinite
        if self.error is not None:
            bias = bias + self.error if upper else bias - self.error
        return AffineForm(coefficients, bias.reshape(bias.shape[0], -1).T)


_Pair: TypeAlias = tuple[_Images, _Images]


def forward(
    problem: Problem,
    given: Mapping[str, Interval] | None = None,
    wanted: Collection[str] = (),
    relax: Relax = by_rule,
) -> tuple[dict[str, Interval], dict[str, AffineBounds]]:
    """Affine bounds from the inputs to every perturbed node (Xu et al. 2020, sec. 3.2).

    Args:
        problem: The problem.
        given: Sound intervals to intersect with.
        wanted: Nodes whose affine bounds are the result; those of all others are dropped after their last use,
            because each holds a number for every element of the inputs.
        relax: How a node is relaxed.

    Returns:
        Intervals of all nodes and affine bounds of the wanted ones, by node name. An interval is the tighter one of
        the concretized affine bounds and of what interval arithmetic gives.
    """
    pairs = {name: _identity(problem, name) for name in problem.inputs}
    found: dict[str, Interval] = problem.hulls()
    relaxations = Relaxations(problem, found, relax)
    input_sizes = {name: found[name].size for name in problem.inputs}
    whole = torch.stack(
        [flatten(x, 1).sum(1).to(problem.dtype).expand(problem.batch) for x in input_sizes.values()]
    ).sum(0)  # [B]
    for name, call in problem.calls.items():
        inputs = tuple([found[o] for o in call.operands])
        interval = (
            outward_interval(problem, name, inputs)
            if problem.outward
            else problem.rules[name].interval(call, inputs)
        )
        relaxation = relaxations[name]
        operands = [pairs[o] for o in call.operands]
        sizes = [_size(problem, pair, input_sizes) for pair in operands] if problem.outward else None
        lower = _side(problem, name, relaxation.lower, operands, sizes, whole, upper=False)
        exact = relaxation.exact and all([low is up for low, up in operands])
        upper = lower if exact else _side(problem, name, relaxation.upper, operands, sizes, whole, upper=True)
        pairs[name] = lower, upper
        if name not in problem.facts.interval_exact:
            interval = interval.intersect(_concretized(problem, lower, upper, problem.shape(name)))
        found[name] = interval.intersect(given[name]) if given and name in given else interval
        for operand in set(call.operands).difference(wanted):
            if problem.facts.users[operand][-1] == name:
                del pairs[operand]
    forms = {}
    for name in wanted:
        lower, upper = pairs[name]
        form = lower.form(problem)
        shared = upper is lower and lower.error is None
        forms[name] = AffineBounds(form, form if shared else upper.form(problem, upper=True))
    return found, forms


def _identity(problem: Problem, name: str) -> _Pair:
    shape, x = problem.shape(name), problem.inputs[name].x
    n = x[0].numel()
    unit = torch.eye(n, dtype=problem.dtype, device=problem.device).reshape(n, 1, *shape)
    images = _Images({name: unit}, unit.new_zeros(1, *shape))
    return images, images


def _size(problem: Problem, pair: _Pair, inputs: Mapping[str, Tensor]) -> Tensor:
    """The size of the numbers that make up a node's affine functions over the set: `[B, *S]`, without gradient."""
    with torch.no_grad():
        sides = []
        for images in pair if pair[0] is not pair[1] else pair[:1]:
            total = images.bias.abs()
            for name, A in images.by_input.items():
                rows = InputFirstCoefficients(A, problem.shape(name)).dual_norm(
                    1, inputs[name].to(A.dtype)
                )  # [R, B]
                total = total + rows.T.reshape(-1, *A.shape[2:])
            sides.append(total)
        return sides[0] if len(sides) == 1 else torch.maximum(*sides)


def _side(
    problem: Problem,
    name: str,
    affine: Affine,
    operands: list[_Pair],
    sizes: list[Tensor] | None,
    inputs: Tensor,
    *,
    upper: bool,
) -> _Images:
    """One side of a relaxation as a function of the inputs: where coefficients are negative, the other side's."""
    shape = problem.shape(name)
    by_input: dict[str, Tensor] = {}
    bias, infinite = affine.bias, affine.infinite
    for term, (low, up) in zip(affine.terms, operands, strict=True):
        if term is None:
            continue
        images = _applied(term, low, low if low is up else up, upper=upper)
        bias = images.bias if bias is None else bias + images.bias
        infinite = plus(infinite, images.infinite)
        for source, A in images.by_input.items():
            by_input[source] = by_input[source] + A if source in by_input else A
    if bias is None:
        bias = operands[0][0].bias.new_zeros(1, *shape)
    error = None if sizes is None else _error(problem, name, affine, operands, sizes, inputs)
    return _Images(by_input, bias, infinite, error)


def _error(
    problem: Problem, name: str, affine: Affine, operands: list[_Pair], sizes: list[Tensor], inputs: Tensor
) -> Tensor:
    """What rounding makes of the images of an affine function, with what it made of its operands': `[B, *S]`."""
    dtype = problem.facts.coarsest[name]
    factor = gamma(problem.facts.accuracy[name].terms + len(operands) + 8, dtype)
    total = problem.inputs[next(iter(problem.inputs))].x.new_zeros(1, *problem.shape(name)).detach()
    if affine.bias is not None:
        total = total + factor * affine.bias.detach().abs()
    fan_in = sum([term.fan_in for term in affine.terms if term is not None]) + 8
    total = total + tiny(dtype) * fan_in * (1 + inputs).reshape(-1, *[1] * (total.dim() - 1))
    for term, pair, here in zip(affine.terms, operands, sizes, strict=True):
        if term is None:
            continue
        with torch.no_grad():
            before = [side.error for side in pair if side.error is not None]
            so_far = before[0] if len(before) == 1 else torch.maximum(*before) if before else None
            term_factor = max(factor, gamma(term.fan_in + 8, dtype))
            grown = term_factor * here if so_far is None else term_factor * here + so_far
            total = total + term.magnitude(grown.to(pair[0].bias.dtype))
    return total


def _applied(term: LinearOp, low: _Images, up: _Images, *, upper: bool) -> _Images:
    infinite = apply_infinite(term, low.infinite, up.infinite)[1 if upper else 0]
    if low is up:
        by_input = {name: term.apply(A, 2) for name, A in low.by_input.items()}
        return _Images(by_input, term.apply(low.bias, 1), infinite)
    by_input = {}
    for name in low.by_input.keys() | up.by_input.keys():
        here, there = low.by_input.get(name), up.by_input.get(name)
        zero = torch.zeros_like(here if here is not None else there)  # type: ignore[arg-type]
        sides = term.apply_split(zero if here is None else here, zero if there is None else there, 2)
        by_input[name] = sides[1 if upper else 0]
    return _Images(by_input, term.apply_split(low.bias, up.bias, 1)[1 if upper else 0], infinite)


def _concretized(problem: Problem, lower: _Images, upper: _Images, shape: tuple[int, ...]) -> Interval:
    """Bounds of a node from its affine functions, `[B, *S]`."""
    form = lower.form(problem)
    low = problem.minimum(form)
    form = form if upper is lower and lower.error is None else upper.form(problem, upper=True)
    negated = {name: A.negate() for name, A in form.coefficients.items()}
    up = -problem.minimum(AffineForm(negated, -form.bias))
    return Interval(low.T.reshape(-1, *shape), up.T.reshape(-1, *shape))


# ---------------------------------------------------------------------- backward


def backward(
    problem: Problem,
    node: str,
    rows: Coefficients,
    relaxations: Relaxations,
    *,
    both: bool = False,
    stop_at: Collection[str] = (),
    at_nodes: Collection[str] = (),
    extra: Mapping[str, Coefficients] | None = None,
    watch: Callable[[Coefficients], None] | None = None,
) -> AffineForm:
    """Backpropagate rows over a node to the inputs (CROWN, Zhang et al. 2018; general graphs, Xu et al. 2020).

    Args:
        problem: The problem.
        node: The node that the rows are over.
        rows: `R` rows, `[R, B or 1, *S_node]`.
        relaxations: Relaxations of the operators on the way.
        both: Whether to bound the rows `[rows; −rows]` (lower and upper bounds) or `rows` alone.
        stop_at: Nodes to stop at, as if they were inputs.
        at_nodes: Nodes whose coefficients are handed out in `at_nodes` of the result.
        extra: Rows to add at inner nodes when their turn comes, such as multipliers of constraints on neurons; they
            must have as many rows as travel (`2R` with `both`).
        watch: Is shown the coefficients over every node on the way.

    Returns:
        Lower bounds of the rows: a form of `R` rows (`2R` with `both`) over the inputs and the nodes stopped at.
    """
    kernels, calls = problem.kernels, problem.calls
    # Rows that wait at a node until its turn comes, and whether they are mirrored: stand for their negation too.
    pending: dict[str, _Waiting] = {node: (rows, both)}
    stopped: dict[str, _Waiting] = {}
    seen: dict[str, Coefficients] = {}
    sums: dict[bool, Tensor] = {}  # biases of mirrored rows, and of others
    errors: dict[bool, Tensor] = {}  # what rounding takes off, from both of two mirrored rows
    for name in problem.facts.reversed_order:
        if extra is not None and name in extra:
            pending[name] = _joined(pending.get(name), (extra[name], False))
        waiting = pending.pop(name, None)
        if waiting is None:
            continue
        if at_nodes and name in at_nodes:
            seen[name] = _stacked(waiting)
        if stop_at and name in stop_at:
            stopped[name] = waiting
            continue
        relaxation = relaxations[name]
        A, mirrored = waiting
        if relaxation.error is not None and (
            name not in problem.facts.charged_by_users or name == node or name in (extra or ())
        ):
            _accumulate(errors, mirrored, A.dual_norm(1, relaxation.error).detach())
        if relaxation.underflow is not None:
            _accumulate(errors, mirrored, relaxation.underflow.expand(A.rows, -1))
        moved: Sequence[Coefficients | None]
        if relaxation.exact:
            affine = relaxation.lower
            moved = [None if term is None else backpropagate(term, A, kernels) for term in affine.terms]
            bias = None if affine.bias is None else A.dot(affine.bias)
            if affine.infinite is not None:
                bias = plus(bias, split_dot_infinite(A, affine.infinite, affine.infinite))
        else:
            moved, bias = backpropagate_relaxation(relaxation, A, kernels, mirrored=mirrored)
            mirrored = False
        if bias is not None:
            _accumulate(sums, mirrored, bias)
        for operand, B in zip(calls[name].operands, moved, strict=True):
            if B is None:
                continue
            pending[operand] = (
                _joined(pending[operand], (B, mirrored)) if operand in pending else (B, mirrored)
            )
            if watch is not None:
                watch(pending[operand][0])
    stopped.update(pending)
    total = _total(sums, errors)
    if total is None:
        total = torch.zeros(rows.rows * (2 if both else 1), 1, dtype=problem.dtype, device=problem.device)
    return AffineForm({name: _stacked(waiting) for name, waiting in stopped.items()}, total, seen)


#: Coefficients that wait at a node, and whether they stand for themselves and their negation.
_Waiting: TypeAlias = tuple[Coefficients, bool]


def _accumulate(sums: dict[bool, Tensor], mirrored: bool, part: Tensor) -> None:
    sums[mirrored] = sums[mirrored] + part if mirrored in sums else part


def _total(sums: Mapping[bool, Tensor], errors: Mapping[bool, Tensor]) -> Tensor | None:
    """The biases of all rows, less what rounding takes off; by whether they belong to mirrored rows."""
    total = sums.get(False)
    if True in sums:
        total = plus(total, torch.cat([sums[True], -sums[True]]))
    for mirrored, error in errors.items():
        total = plus(total, -torch.cat([error, error]) if mirrored else -error)
    return total


def _stacked(waiting: _Waiting) -> Coefficients:
    return waiting[0].with_negated() if waiting[1] else waiting[0]


def _joined(first: _Waiting | None, second: _Waiting) -> _Waiting:
    if first is None:
        return second
    if first[1] == second[1]:
        return add(first[0], second[0]), first[1]
    return add(_stacked(first), _stacked(second)), False
