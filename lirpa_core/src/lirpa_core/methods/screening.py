"""Which elements of a node a cheap sound bound decides, so that full rows are made for the others only.

Between parallel lines below and above every nonlinear operator (cf. Fast-Lin, Weng et al. 2018, "Towards Fast
Computation of Certified Robustness for ReLU Networks", sec. 3.3) a node is one affine function of the inputs give or
take a number, so one set of rows gives both bounds and takes half the work of two.

The parallel lines lie around the lines that full rows would take, so that they decide nothing that full rows would
leave open. For let `B` be the bound of full rows. It is superadditive, `B[g + h] ≥ B[g] + B[h]`, as where signs are
split after the sum no more is lost than before it. If `g` is what full rows make of a row at a layer and `p` what
parallel lines do, `g − p` is a sum of functions of single elements that are not negative on their intervals, and the
ends of these are what `B` says about these elements; so `B[g] ≥ B[p] + B[g − p] ≥ B[p]`, and so on down to the inputs.
(Where interval arithmetic knows an element better, the lines lie around on what full rows say about it.) An element that is
decided has the same exact relaxation whichever bound decided it, so the relaxations of all rows are the same. What the
interval of an always active element is wider by enters interval arithmetic alone, and such elements are decided only
where this is much wider than parallel lines are anyway.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lirpa_core.devices import ran_out_of_memory, release_memory
from lirpa_core.linear.coefficients import Coefficients, SelectedRows, add, numbers
from lirpa_core.linear.coefficients.base import flatten
from lirpa_core.linear.interval import Interval
from lirpa_core.linear.kernels import backpropagate
from lirpa_core.linear.operators import Diagonal
from lirpa_core.linear.relaxation import Affine, Relaxation
from lirpa_core.linear.rounding import gamma, widened
from lirpa_core.methods.rows import default_budget
from lirpa_core.methods.tightening import marked_rows
from lirpa_core.problem.problem import Problem
from lirpa_core.problem.relaxations import Relaxations

#: Fewer numbers than these in full rows are not worth the passes that might decide them.
FEW = 2**20
#: The share of the rows that goes first, and the share of those that has to be decided for the others to follow.
_PROBE, _WORTH = 16, 0.25
#: Where intervals are not so many times wider than with parallel lines, always active elements get full rows too.
_APART = 4.0
#: Roundings of the last sums that are not counted one by one.
_SUMS = 16
#: How much of the work on a node screening is taken for, where a caller is told of it.
_SHARE = 0.5
#: Live copies of the largest coefficient tensor during a step.
_COPIES = 4


@dataclass(frozen=True, eq=False)
class Around:
    """How screening relaxes a node: between parallel lines around its rule's, where these are lines of one element each.

    The line above is the rule's, and the one below its parallel that touches the rule's at an end.

    Attributes:
        by_rows: What full rows alone say about nodes, where it is wider than what is known.
    """

    by_rows: Mapping[str, Interval]

    def __call__(self, problem: Problem, name: str, inputs: tuple[Interval | None, ...]) -> Relaxation:
        """The relaxation of a node."""
        call = problem.calls[name]
        relaxation = problem.rules[name].relax(call, inputs)
        lower, upper = relaxation.lower, relaxation.upper
        if (
            len(lower.terms) != 1
            or relaxation.exact
            or lower.infinite is not None
            or upper.infinite is not None
        ):
            return relaxation
        (below,), (above,), (known,) = lower.terms, upper.terms, inputs
        if not (isinstance(below, Diagonal) and isinstance(above, Diagonal)):
            return relaxation
        if known is None or below.in_shape != below.out_shape:
            return relaxation
        box = self.by_rows.get(call.operands[0], known)
        steeper = below.slope - above.slope
        gap = torch.where(steeper >= 0, steeper * box.lower, steeper * box.upper)
        bias = gap if lower.bias is None else lower.bias + gap
        return Relaxation(Affine((above,), bias), upper)


@dataclass(frozen=True, eq=False)
class _Rows:
    """The rows that still travel, each bounded by `center ± radius` and what waits at nodes.

    Attributes:
        index: Elements of the node that they read, `[R, B]`.
        center: `[R, 1 or B]`.
        radius: `[R, 1 or B]`.
    """

    index: Tensor
    center: Tensor
    radius: Tensor

    def met(self, A: Coefficients, interval: Interval) -> _Rows:
        """Rows over a node replaced by what the node's interval says."""
        middle, spread = A.midpoint_radius(*interval.midpoint_radius())
        return _Rows(self.index, self.center + middle, self.radius + spread)

    def moved(self, by: Tensor) -> _Rows:
        """The rows plus numbers `[R, 1 or B]`."""
        return _Rows(self.index, self.center + by, self.radius)

    def spread(self, by: Tensor) -> _Rows:
        """The rows give or take numbers `[R, 1 or B]`."""
        return _Rows(self.index, self.center, self.radius + by)

    def tightened(self, interval: Interval) -> Interval:
        """The interval with these bounds put in where they are tighter; what is not finite says nothing."""
        shape = interval.lower.shape
        batch = self.index.shape[1]
        at = self.index.T
        ends = []
        for end, value, none in (
            (interval.lower, self.center - self.radius, -torch.inf),
            (interval.upper, self.center + self.radius, torch.inf),
        ):
            flat = flatten(end.expand(batch, *shape[1:]), 1)
            found = torch.where(value.isfinite(), value, none).expand(self.index.shape).T.to(flat.dtype)
            known = flat.gather(1, at)
            better = found.maximum(known) if none < 0 else found.minimum(known)
            ends.append(flat.scatter(1, at, better).reshape(batch, *shape[1:]))
        return Interval(*ends)


@dataclass(frozen=True, eq=False)
class Screening:
    """Decides by parallel lines at which elements the operator that reads a node has one value only.

    Attributes:
        problem: The problem.
        intervals: What is known about the nodes; grows and tightens meanwhile.
        memory_budget: Bytes that coefficients may take.
    """

    problem: Problem
    intervals: Mapping[str, Interval]
    memory_budget: int | None = None
    _by_rows: dict[str, Interval] = field(default_factory=dict)

    def learn(self, node: str, by_rows: Interval) -> None:
        """Take note of what full rows say about a node."""
        self._by_rows[node] = by_rows

    def __call__(self, node: str, elements: Tensor, interval: Interval) -> tuple[Interval, Tensor]:
        """The interval of a node, tighter where parallel lines decide, and the elements that they leave.

        Args:
            node: The node.
            elements: Elements to look at, `[B, *S]`.
            interval: What is known about the node.
        """
        problem, users = self.problem, self.problem.facts.users[node]
        if len(users) != 1 or problem.calls[users[0]].operands != (node,):
            return interval, elements
        call = problem.calls[users[0]]
        if call.shape != problem.shape(node) or call.infinite:
            return interval, elements
        marked = flatten(elements, 1).expand(problem.batch, -1)
        counts = marked.sum(1)  # [B]
        index = marked_rows(marked)
        if index is None or index.numel() * problem.facts.widest < FEW:
            return interval, elements
        screen = _Pass(problem, node, Relaxations(problem, self.intervals, Around(self._by_rows)))
        if not screen.has_lines():
            return interval, elements
        probe = -(-index.shape[0] // _PROBE)
        found, widest = _if_there_is_memory(screen, index[:probe], interval)
        # Each example is judged by itself, so that its bounds do not hang on the others in the batch.
        first = torch.arange(probe, device=index.device)[:, None] * _PROBE < counts
        known, better = (
            _at(x.upper - x.lower, index[:probe]).where(first, 0).sum(0) for x in (interval, found)
        )
        apart = known > _APART * better  # [B]
        decided = (first & ~_at(screen.undecided(found, apart), index[:probe])).sum(0)
        worth = (counts > 0) & (decided >= _WORTH * first.sum(0))
        if not bool(worth.any()):
            return interval, elements
        budget = default_budget(problem.device) if self.memory_budget is None else self.memory_budget
        step = max(1, budget // (_COPIES * problem.dtype.itemsize * widest))
        found = self._rest(screen, index[probe:], found, step)
        # What stays unstable gets full rows, and keeps its interval until then: lines are chosen by intervals.
        here = elements & worth.reshape(-1, *[1] * len(call.shape))
        left = here & screen.undecided(found, apart)
        lower, upper = (
            torch.where(here & ~left, new, there)
            for there, new in ((interval.lower, found.lower), (interval.upper, found.upper))
        )
        return Interval(lower, upper), left | (elements & ~here)

    def _rest(self, screen: _Pass, index: Tensor, known: Interval, step: int) -> Interval:
        """The interval of a node by all rows of `index` `[R, B]`, so many at a time; each process takes its share."""
        problem, processes = self.problem, self.problem.processes

        def screened(own: range) -> Interval:
            found = known
            for start in range(own.start, own.stop, step):
                found, _ = _if_there_is_memory(screen, index[start : min(start + step, own.stop)], found)
                problem.within(_SHARE * start / index.shape[0])
            return found

        if processes is None:
            return screened(range(index.shape[0]))

        def one(_: range) -> tuple[Tensor, Tensor]:
            found = screened(processes.share(index.shape[0]))
            return found.lower[None], found.upper[None]

        at = f"{index.shape[0]} rows to screen of {screen.node}"
        lower, upper = processes.divided(at, processes.world, one)  # [world, B, *S]
        return Interval(lower.amax(0), upper.amin(0))


@dataclass(frozen=True, eq=False)
class _Pass:
    """One pass of some rows over a node.

    Attributes:
        problem: The problem.
        node: The node.
        relaxations: With `parallel`.
    """

    problem: Problem
    node: str
    relaxations: Relaxations

    def has_lines(self) -> bool:
        """Whether all that the rows meet is affine, or lies between parallel lines."""
        behind = self.problem.ancestors(self.node)
        found = [self.relaxations[name] for name in self.problem.calls if name in behind]
        return all([relaxation.exact or _is_parallel(relaxation) for relaxation in found])

    def unstable(self, interval: Interval) -> Tensor:
        """Elements at which a tighter interval can change the relaxation of the operator that reads the node."""
        (user,) = self.problem.facts.users[self.node]
        (mask,) = self.problem.rules[user].unstable_inputs(self.problem.calls[user], (interval,))
        return torch.zeros_like(interval.lower, dtype=torch.bool) if mask is None else mask

    def undecided(self, interval: Interval, apart: Tensor) -> Tensor:
        """Elements that need full rows, `[B, *S]`, where in examples `apart` `[B]` interval arithmetic is hopeless.

        Elsewhere it may bound later nodes as well as full rows do, if only it is given tight intervals of active elements.
        """
        unstable, open_ = self.unstable(interval), self.open(interval)
        return torch.where(apart.reshape(-1, *[1] * (unstable.dim() - 1)), unstable, unstable | open_)

    def open(self, interval: Interval) -> Tensor:
        """Where the one operator that reads the node may still give more than one value, `[B, *S]`.

        Elsewhere, as at a ReLU that is never active, no bound can change anything any more. Where it is always
        active the relaxation is exact too, but the interval of its value still hangs on bounds.
        """
        (user,) = self.problem.facts.users[self.node]
        value = self.problem.rules[user].interval(self.problem.calls[user], (interval,))
        return value.upper > value.lower

    def __call__(self, index: Tensor, interval: Interval) -> tuple[Interval, int]:
        """A tighter interval, and how many numbers a row had where it had most."""
        problem, relaxations = self.problem, self.relaxations
        start = SelectedRows.select(index, problem.shape(self.node), dtype=problem.dtype_of(self.node))
        pending: dict[str, Coefficients] = {self.node: start}
        zero = start.values.new_zeros(1, 1)
        rows, widest = _Rows(index, zero, zero), 1
        for name in problem.facts.reversed_order:
            A = pending.pop(name, None)
            if A is None:
                continue
            widest = max(widest, numbers(A) // A.rows)
            relaxation = relaxations[name]
            affine = relaxation.lower
            if relaxation.error is not None and (
                name not in problem.facts.charged_by_users or name == self.node
            ):
                rows = rows.spread(A.dual_norm(1, relaxation.error))
            if relaxation.underflow is not None:
                rows = rows.spread(relaxation.underflow[None])
            if not relaxation.exact:
                rows = self.through(rows, A, relaxation)
            elif affine.bias is not None:
                rows = rows.moved(A.dot(affine.bias))
            for operand, term in zip(problem.calls[name].operands, affine.terms, strict=True):
                if term is not None:
                    B = backpropagate(term, A, problem.kernels)
                    pending[operand] = add(pending[operand], B) if operand in pending else B
        return self.rounded(self.at_inputs(rows, pending)).tightened(interval), widest

    def rounded(self, rows: _Rows) -> _Rows:
        """Rows whose ends hold after the last sums are rounded too."""
        if not self.problem.outward:
            return rows
        return rows.spread(
            gamma(_SUMS + 2 * len(self.problem.calls), self.problem.dtype) * (rows.center.abs() + rows.radius)
        )

    def outward(self, A: Coefficients, interval: Interval) -> Interval:
        """An interval that holds what rounding does to sums of it, weighted by rows."""
        if not self.problem.outward:
            return interval
        return widened(
            interval, "box", gamma(math.prod(A.shape) + 2 * len(self.problem.calls) + 16, self.problem.dtype)
        )

    def through(self, rows: _Rows, A: Coefficients, relaxation: Relaxation) -> _Rows:
        """The intercepts of parallel lines: their middle, give or take half their distance."""
        low, up = relaxation.lower.bias, relaxation.upper.bias
        if low is None and up is None:
            return rows
        some = up if low is None else low
        assert some is not None
        low, up = torch.zeros_like(some) if low is None else low, torch.zeros_like(some) if up is None else up
        return rows.met(A, self.outward(A, Interval(low, up)))

    def at_inputs(self, rows: _Rows, pending: dict[str, Coefficients]) -> _Rows:
        """Rows over the inputs replaced by what the inputs' sets say."""
        problem = self.problem
        if all([member.is_box for member in problem.inputs.values()]) and not problem.joint:
            hulls = problem.hulls()
            for name, A in pending.items():
                rows = rows.met(A, self.outward(A, hulls[name]))
            return rows
        low = problem.concretize(pending)
        negated = problem.concretize({name: A.negate() for name, A in pending.items()})
        if low is None or negated is None:
            return rows
        ends = self.outward(next(iter(pending.values())), Interval(low, -negated))
        middle, spread = ends.midpoint_radius()
        return _Rows(rows.index, rows.center + middle, rows.radius + spread)


def _if_there_is_memory(screen: _Pass, index: Tensor, known: Interval) -> tuple[Interval, int]:
    """What a pass finds; where memory runs out, what is known: full rows, which are taken in smaller parts, decide then."""
    try:
        return screen(index, known)
    except (RuntimeError, MemoryError) as error:
        if not ran_out_of_memory(error):
            raise
    release_memory(index.device)
    return known, 1


def _at(value: Tensor, index: Tensor) -> Tensor:
    """Elements of `[B, *S]` at `[R, B]`."""
    flat = flatten(value, 1)
    return flat.expand(index.shape[1], -1).T.gather(0, index)


def _is_parallel(relaxation: Relaxation) -> bool:
    lower, upper = relaxation.lower, relaxation.upper
    return len(lower.terms) == 1 and lower.terms[0] is upper.terms[0] and isinstance(lower.terms[0], Diagonal)
