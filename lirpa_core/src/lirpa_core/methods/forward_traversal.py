"""The forward traversal: affine functions of the inputs below and above every node, from the inputs to the outputs."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from torch import Tensor

from lirpa_core.devices import in_full_precision
from lirpa_core.graph import Shape
from lirpa_core.linear.affine import AffineForm
from lirpa_core.linear.coefficients import (
    Coefficients,
    InputFirstCoefficients,
    SelectedRows,
    flatten,
    numbers,
)
from lirpa_core.linear.infinite import apply_infinite, plus
from lirpa_core.linear.interval import Interval
from lirpa_core.linear.operators import Diagonal, LinearOp
from lirpa_core.linear.relaxation import Affine, Relaxation
from lirpa_core.linear.rounding import gamma, tiny
from lirpa_core.methods.traversal import backward
from lirpa_core.problem.problem import Problem
from lirpa_core.problem.relaxations import Relax, Relaxations, by_rule
from lirpa_core.problem.rounding import outward_interval
from lirpa_core.problem.sets import around_sets, products_with_sets

#: A backward pass is taken where its rows hold at most so many times the numbers of the images that it saves.
_WORTH = 2
#: Numbers of the rows of one backward pass, where they have most.
_ROWS = 2**21


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
        error: What rounding may have made of the function's values over the set, `[B, *S]`; None: not accounted for, or
            already in the bias.
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


@in_full_precision
def forward(
    problem: Problem,
    given: Mapping[str, Interval] | None = None,
    wanted: Collection[str] = (),
    relax: Relax = by_rule,
) -> tuple[dict[str, Interval], dict[str, AffineBounds]]:
    """Affine bounds from the inputs to every perturbed node (Xu et al. 2020, sec. 3.2).

    Behind a single relaxation a backward pass gives the same functions. It is taken where it holds fewer numbers than
    the images of the inputs' unit vectors, as at the first layers of a convolutional network.

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
    found: dict[str, Interval] = problem.hulls()
    walk, products = _Walk.of(problem, found, relax), products_with_sets(problem)
    for name, call in problem.calls.items():
        inputs = tuple([found[o] for o in call.operands])
        interval = (
            outward_interval(problem, name, inputs)
            if problem.outward
            else problem.rules[name].interval(call, inputs)
        )
        if name in products:
            interval = around_sets(problem, name, interval, found)
        walk.visit(name)
        if name not in problem.facts.interval_exact and not walk.tells_nothing(name):
            interval = interval.intersect(walk.concretized(name))
        found[name] = interval.intersect(given[name]) if given and name in given else interval
        for operand in set(call.operands).difference(wanted):
            if problem.facts.users[operand][-1] == name:
                walk.drop(operand)
    forms = {}
    for name in wanted:
        lower, upper = walk.pair(name)
        form = lower.form(problem)
        shared = upper is lower and lower.error is None
        forms[name] = AffineBounds(form, form if shared else upper.form(problem, upper=True))
    return found, forms


@dataclass(frozen=True, eq=False)
class _Walk:
    """What a forward traversal knows on its way.

    Attributes:
        problem: The problem.
        relaxations: Its relaxations.
        sizes: The largest absolute values of the inputs, `[B, *S]`.
        whole: Their sum, `[B]`.
        depths: By node, the most relaxations on a way to it.
        forms: Of nodes that a backward pass has bounded, the functions below all elements and below the negated ones,
            `[R, ..]` each, some rows at a time.
        pairs: The functions below and above nodes.
    """

    problem: Problem
    relaxations: Relaxations
    sizes: Mapping[str, Tensor]
    whole: Tensor
    depths: dict[str, int]
    forms: dict[str, list[AffineForm]] = field(default_factory=dict)
    pairs: dict[str, _Pair] = field(default_factory=dict)

    @classmethod
    def of(cls, problem: Problem, found: Mapping[str, Interval], relax: Relax) -> _Walk:
        sizes = {name: found[name].size for name in problem.inputs}
        sums = [flatten(x, 1).sum(1).to(problem.dtype).expand(problem.batch) for x in sizes.values()]
        depths = dict.fromkeys(problem.inputs, 0)
        return cls(problem, Relaxations(problem, found, relax), sizes, torch.stack(sums).sum(0), depths)

    def visit(self, name: str) -> None:
        """Find the functions of a node, or how a backward pass will when they are asked for."""
        relaxation = self.relaxations[name]
        operands = self.problem.calls[name].operands
        self.depths[name] = max([self.depths[o] for o in operands], default=0) + (not relaxation.exact)
        if self.depths[name] > 1 or self.problem.may_be_infinite(name):
            self.pairs[name] = self._step(name)

    def drop(self, name: str) -> None:
        """Forget the functions of a node."""
        self.pairs.pop(name, None)
        self.forms.pop(name, None)

    def tells_nothing(self, name: str) -> bool:
        """Whether the functions of a node say no more about its interval than its rule does.

        A function of one element is between its lines, whose ends are those of the operand; a rearrangement has its
        operand's.
        """
        relaxation, call = self.relaxations[name], self.problem.calls[name]
        if len(call.operands) != 1:
            return False
        if relaxation.exact:
            return self.problem.rules[name].selects
        terms = (relaxation.lower.terms[0], relaxation.upper.terms[0])
        return all([isinstance(t, Diagonal) and t.in_shape == call.shape for t in terms])

    def pair(self, name: str) -> _Pair:
        """The functions below and above a node."""
        found = self.pairs.get(name)
        if found is None:
            if name in self.problem.inputs:
                found = _identity(self.problem, name)
            elif (self.depths[name] > 0 or not self.problem.outward) and self._goes_back(name):
                found = self._images(name)
            else:
                found = self._step(name)
            self.pairs[name] = found
        return found

    def concretized(self, name: str) -> Interval:
        """Bounds of a node from its affine functions, `[B, *S]`."""
        problem, shape = self.problem, self.problem.shape(name)
        if name not in self.pairs and self._goes_back(name):
            ends = [problem.minimum(form) for form in self.forms[name]]
            low = torch.cat([end[: end.shape[0] // 2] for end in ends])
            up = -torch.cat([end[end.shape[0] // 2 :] for end in ends])
        else:
            lower, upper = self.pair(name)
            form = lower.form(problem)
            low = problem.minimum(form)
            form = form if upper is lower and lower.error is None else upper.form(problem, upper=True)
            negated = {source: A.negate() for source, A in form.coefficients.items()}
            up = -problem.minimum(AffineForm(negated, -form.bias))
        return Interval(low.T.reshape(low.shape[1], *shape), up.T.reshape(up.shape[1], *shape))

    # ------------------------------------------------------------------ by a backward pass

    def _goes_back(self, name: str) -> bool:
        """Whether a backward pass bounds the node; where it does, `forms` has what it gives."""
        if name in self.forms:
            return True
        problem = self.problem
        if self.depths[name] > 1 or problem.may_be_infinite(name):
            return False
        rows = SelectedRows.identity(problem.shape(name), dtype=problem.dtype_of(name), device=problem.device)
        images = sum([math.prod(problem.shape(source)) for source in problem.inputs])
        most = [1]

        def watch(A: Coefficients) -> None:
            most.append(numbers(A))

        apart = self.relaxations.apart() if torch.is_grad_enabled() else self.relaxations
        with torch.no_grad():
            backward(problem, name, rows.take(0, 1), apart, both=True, watch=watch)
        if rows.rows * max(most) > _WORTH * 2 * images * problem.facts.widest * problem.batch:
            return False
        step = max(1, _ROWS // max(most))
        parts = [rows.take(i, min(i + step, rows.rows)) for i in range(0, rows.rows, step)]
        self.forms[name] = [backward(problem, name, part, self.relaxations, both=True) for part in parts]
        return True

    def _images(self, name: str) -> _Pair:
        """The functions of a node from what a backward pass has found."""
        problem, forms = self.problem, self.forms.pop(name)
        shape, affine = problem.shape(name), self.depths[name] == 0
        ends: tuple[dict[str, Tensor], dict[str, Tensor]] = ({}, {})
        for source in forms[0].coefficients:
            dense = [flatten(form.coefficients[source].to_dense(), 2) for form in forms]  # [2r, B, n] each
            for side, end in enumerate(ends[: 1 if affine else 2]):
                halves = [A.chunk(2)[side].permute(2, 1, 0) for A in dense]
                images = torch.cat(halves, 2)  # [n, B, R]
                # Rows above elements are those below the negated ones, negated.
                end[source] = (images.neg_() if side else images).reshape(*images.shape[:2], *shape)
        sides = [
            _Images(end, _columns(torch.cat([_half(form.bias, side) for form in forms]), shape))
            for side, end in enumerate(ends[: 1 if affine else 2])
        ]
        return sides[0], sides[-1]

    # ------------------------------------------------------------------ by images of unit vectors

    def _step(self, name: str) -> _Pair:
        """The functions of a node from those of its operands."""
        problem, relaxation = self.problem, self.relaxations[name]
        operands = [self.pair(o) for o in problem.calls[name].operands]
        sizes = [_size(problem, pair, self.sizes) for pair in operands] if problem.outward else None
        ends = _ends(problem, name, relaxation, operands)
        if sizes is None:
            return ends
        errors = [
            _error(problem, name, affine, operands, sizes, self.whole)
            for affine in (relaxation.lower, relaxation.upper)[: 1 if relaxation.exact else 2]
        ]
        lower, upper = (
            _Images(end.by_input, end.bias, end.infinite, error)
            for end, error in zip(ends, (errors[0], errors[-1]), strict=True)
        )
        return lower, lower if ends[0] is ends[1] else upper


def _half(x: Tensor, side: int) -> Tensor:
    """Rows below elements, or above them: those below the negated elements, negated."""
    half = x.shape[0] // 2
    return -x[half:] if side else x[:half]


def _columns(rows: Tensor, shape: Shape) -> Tensor:
    """Rows `[R, B]` as `[B, *S]`."""
    return rows.T.reshape(rows.shape[1], *shape)


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
                total = total + rows.T.reshape(rows.shape[1], *A.shape[2:])
            sides.append(total)
        return sides[0] if len(sides) == 1 else torch.maximum(*sides)


def _ends(problem: Problem, name: str, relaxation: Relaxation, operands: list[_Pair]) -> _Pair:
    """Both sides of a relaxation as functions of the inputs: where coefficients are negative, the other side's."""
    lower, upper = _Sum(relaxation.lower), _Sum(relaxation.upper)
    for below, above, (low, up) in zip(lower.affine.terms, upper.affine.terms, operands, strict=True):
        if low is up:
            found = None if below is None else _mapped(below, low)
            lower.add(found)
            upper.add(found if above is below else None if above is None else _mapped(above, up))
        elif above is below and below is not None:
            for total, end in zip((lower, upper), _split(below, low, up), strict=True):
                total.add(end)
        else:
            lower.add(None if below is None else _end(below, low, up, upper=False))
            upper.add(None if above is None else _end(above, low, up, upper=True))
    zero = operands[0][0].bias.new_zeros(1, *problem.shape(name)) if operands else torch.zeros(())
    ends = lower.images(zero), upper.images(zero)
    return (ends[0], ends[0]) if relaxation.exact and all([low is up for low, up in operands]) else ends


class _Sum:
    """The images of an affine function, term by term."""

    def __init__(self, affine: Affine) -> None:
        self.affine, self._bias, self._infinite = affine, affine.bias, affine.infinite
        self._by_input: dict[str, Tensor] = {}

    def add(self, images: _Images | None) -> None:
        """Add the images of a term; None: it is zero."""
        if images is None:
            return
        self._bias = images.bias if self._bias is None else self._bias + images.bias
        self._infinite = plus(self._infinite, images.infinite)
        for source, A in images.by_input.items():
            self._by_input[source] = self._by_input[source] + A if source in self._by_input else A

    def images(self, zero: Tensor) -> _Images:
        """The sum."""
        return _Images(self._by_input, zero if self._bias is None else self._bias, self._infinite)


def _mapped(term: LinearOp, images: _Images) -> _Images:
    """A term of one function."""
    by_input = {source: term.apply(A, 2) for source, A in images.by_input.items()}
    infinite = apply_infinite(term, images.infinite, images.infinite)[0]
    return _Images(by_input, term.apply(images.bias, 1), infinite)


def _split(term: LinearOp, low: _Images, up: _Images) -> _Pair:
    """The functions below and above a term of functions below and above: two passes for both."""
    ends: list[dict[str, Tensor]] = [{}, {}]
    for source, here, there in _by_source(low, up):
        for end, A in zip(ends, term.apply_split(here, there, 2), strict=True):
            end[source] = A
    biases, infinite = term.apply_split(low.bias, up.bias, 1), apply_infinite(term, low.infinite, up.infinite)
    return _Images(ends[0], biases[0], infinite[0]), _Images(ends[1], biases[1], infinite[1])


def _end(term: LinearOp, low: _Images, up: _Images, *, upper: bool) -> _Images:
    """One of the two."""
    by_input = {
        source: term.apply_end(here, there, 2, upper_end=upper) for source, here, there in _by_source(low, up)
    }
    infinite = apply_infinite(term, low.infinite, up.infinite)[1 if upper else 0]
    return _Images(by_input, term.apply_end(low.bias, up.bias, 1, upper_end=upper), infinite)


def _by_source(low: _Images, up: _Images) -> list[tuple[str, Tensor, Tensor]]:
    """The images of each input's unit vectors below and above; zeros where one of the two has none."""
    found = []
    for source in low.by_input.keys() | up.by_input.keys():
        here, there = low.by_input.get(source), up.by_input.get(source)
        some = here if here is not None else there
        assert some is not None
        zero = torch.zeros_like(some) if here is None or there is None else some
        found.append((source, zero if here is None else here, zero if there is None else there))
    return found


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
