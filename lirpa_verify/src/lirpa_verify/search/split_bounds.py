"""Bounds of subproblems by a network's bounds over the whole set, limited where neurons are split.

Bounds of inner nodes stay those of the whole set, intersected with the limits of split neurons and what follows from
those by interval arithmetic; a subproblem in which none is left is empty. The search for slopes and multipliers runs in
float32, which is twice as fast as float64; the bound itself is computed in float64 and rounds outward.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.api import functional
from lirpa_core.linear import AffineForm, Interval
from lirpa_core.methods import Problem, Relaxations, free_slopes, with_slopes
from lirpa_verify.region import Region
from lirpa_verify.search.ascent import Batch, Choice, evaluate, maximise
from lirpa_verify.search.constraints import Constraints
from lirpa_verify.search.leaves import solve
from lirpa_verify.search.neurons import Neurons
from lirpa_verify.search.quick_lines import QuickLines
from lirpa_verify.search.slope_table import Free, SlopeTable
from lirpa_verify.search.subproblems import Subproblems
from lirpa_verify.task import Task

#: Subproblems keep their slopes in this type: any value is sound.
_KEPT = torch.float16


@dataclass(frozen=True, eq=False)
class Bounded:
    """A batch of bounded subproblems.

    Attributes:
        parts: Those that are not empty, with their multipliers and slopes.
        index: Which ones these are, `[B']`.
        lower: Lower bounds of their violations' margins, `[B']`.
        form: The linear bounds behind them.
        low: Lower bounds of the neurons, `[B', N]`.
        high: Upper bounds.
    """

    parts: Subproblems
    index: Tensor
    lower: Tensor
    form: AffineForm
    low: Tensor
    high: Tensor


@dataclass(frozen=True, eq=False)
class SplitBounds:
    """What all subproblems of a search share.

    Attributes:
        task: The task.
        rows: Numbers of the rows of each wanted violation, `[G, R]`; repeated where others have more.
        exact: The network in float64.
        quick: The network in float32.
        neurons: The neurons that can be split.
        intervals: Bounds of all nodes over the whole set, `[1, *S]`.
        table: Which slopes subproblems keep.
        units: About the size of coefficients over each neuron, `[N]`.
        offsets: What neurons are where everything before them is zero, `[1, N]`; zero where that is not known.
    """

    task: Task
    rows: Tensor
    exact: BoundedModule
    quick: BoundedModule
    neurons: Neurons
    intervals: Mapping[str, Interval]
    table: SlopeTable
    units: Tensor
    offsets: Tensor

    @classmethod
    def of(
        cls,
        task: Task,
        wanted: list[int],
        exact: BoundedModule,
        quick: BoundedModule,
        intervals: Mapping[str, Interval],
    ) -> SplitBounds | None:
        """What a search over a network's neurons needs; None where there are none.

        Args:
            task: The task.
            wanted: Numbers of the violations to exclude.
            exact: The network in float64.
            quick: The network in float32.
            intervals: Bounds of all its nodes over the whole set.
        """
        problem = exact.problem(task.region.bounded())
        (output,) = functional.output_names(problem)
        neurons = Neurons.of(problem, intervals)
        if neurons is None:
            return None
        each = [task.rows.groups[g].nonzero().flatten() for g in wanted]
        most = max(len(r) for r in each)
        rows = torch.stack([r[torch.arange(most) % len(r)] for r in each])
        table = SlopeTable.of(free_slopes(problem, intervals, output))
        units = torch.ones(neurons.lower.shape[1])
        offsets = _offsets(problem, intervals, neurons)
        first = cls(task, rows, exact, quick, neurons, intervals, table, units, offsets)
        return replace(first, units=first._sizes_of_coefficients())

    @property
    def activations(self) -> list[str]:
        """The nodes behind neurons."""
        return [layer.activation for layer in self.neurons.layers]

    def roots(self, margins: Tensor) -> Subproblems:
        """One subproblem for each violation, with the rules' own slopes."""
        problem = self.exact.problem(self.task.region.bounded())
        (output,) = functional.output_names(problem)
        free = free_slopes(problem, self.intervals, output)
        slopes = self.table.kept(free, torch.zeros(1, self.table.width, dtype=_KEPT))
        return Subproblems.roots(margins, slopes[0])

    def bound(self, parts: Subproblems, iterations: int, enough: Tensor) -> Bounded:
        """Bound subproblems.

        Args:
            parts: The subproblems.
            iterations: Steps of the optimiser.
            enough: Bounds that are good enough, `[B]`.
        """
        problem = self._problem(self.exact, len(parts), torch.float64)
        low, high = parts.limits(self.neurons.lower, self.neurons.upper)
        with torch.no_grad():
            given = {**self.intervals, **self.neurons.intervals(low, high)}
            intervals = functional.intervals(problem, given)
        alive = _alive(intervals, len(parts)).nonzero().flatten()
        if len(alive) < len(parts):
            parts, enough, low, high = parts[alive], enough[alive], low[alive], high[alive]
            intervals = {name: _picked(x, alive) for name, x in intervals.items()}
            problem = self._problem(self.exact, len(parts), torch.float64)
        if not len(parts):
            return Bounded(parts, alive, parts.worst, AffineForm({}, parts.worst), low, high)
        choice = maximise(*self._quick(parts, intervals), iterations, enough.float())
        batch = self._batch(problem, parts, intervals)
        parts = replace(
            parts,
            beta=choice.beta.detach().to(parts.beta.dtype),
            slopes=self.table.kept(choice.slopes, parts.slopes),
        )
        with torch.no_grad():
            free = free_slopes(problem, intervals, batch.output)
            exact = self._choice(batch, free, parts, choice.weights)
            lower, form = evaluate(batch, exact, self.activations)
        return Bounded(parts, alive, lower, form, low, high)

    def settled(self, part: Subproblems) -> tuple[Tensor, Tensor] | None:
        """What a linear program makes of one subproblem in which no neuron is left to be split.

        Returns:
            A lower bound of its margin, `[1]`, and the point where the program is lowest, `[n]`; None where there is no
            such program, or no solution.
        """
        box = self.task.region.single_box()
        if box is None or not self.neurons.kinked:
            return None
        problem = self._problem(self.exact, 1, torch.float64)
        given = {
            **self.intervals,
            **self.neurons.intervals(*part.limits(self.neurons.lower, self.neurons.upper)),
        }
        with torch.no_grad():
            batch = self._batch(problem, part, functional.intervals(problem, given))
            leaf = solve(replace(batch, problem=replace(problem, outward=False)), box[0][0], box[1][0])
            if leaf is None:
                return None
            free = free_slopes(problem, batch.intervals, batch.output)
            choice = self._choice(batch, free, replace(part, beta=leaf.beta), leaf.weights)
            lower, _ = evaluate(batch, choice)
        return lower, leaf.point

    def tried(self, parts: Subproblems) -> Tensor:
        """Bounds of subproblems with the slopes and multipliers that they have, `[B]`; to compare, not to prove."""
        low, high = parts.limits(self.neurons.lower, self.neurons.upper)
        with torch.no_grad():
            found, _ = evaluate(*self._quick(parts, {**self.intervals, **self.neurons.intervals(low, high)}))
        return found.to(parts.worst.dtype)

    def slopes_in_limits(self, parts: Subproblems) -> tuple[Tensor, Tensor]:
        """How fast bounds grow with the lower and with the upper bounds of neurons, `[B, N]` each."""
        sides = parts.limits(self.neurons.lower, self.neurons.upper)
        low, high = (side.float().requires_grad_() for side in sides)
        batch, _ = self._quick(parts, {**self.intervals, **self.neurons.intervals(*sides)})
        choice = self._choice(batch, free_slopes(batch.problem, batch.intervals, batch.output), parts)
        moving = {**batch.intervals, **self.neurons.intervals(low, high)}
        with torch.enable_grad():
            value, _ = evaluate(replace(batch, intervals=moving, relax=with_slopes), choice)
            found = torch.autograd.grad(value.sum(), [low, high], allow_unused=True)
        first, second = (
            torch.zeros_like(side) if g is None else g for side, g in zip(sides, found, strict=True)
        )
        return first.to(parts.worst.dtype), second.to(parts.worst.dtype)

    def _sizes_of_coefficients(self) -> Tensor:
        """Of each neuron, the mean size of the coefficients over its node for any violation."""
        parts = self.roots(torch.full((len(self.rows),), -torch.inf, dtype=torch.float64))
        with torch.no_grad():
            problem = self._problem(self.exact, len(parts), torch.float64)
            batch = self._batch(problem, parts, self.intervals)
            free = free_slopes(problem, self.intervals, batch.output)
            names = [layer.name for layer in self.neurons.layers]
            _, form = evaluate(batch, self._choice(batch, free, parts), names)
        means = [form.at_nodes[name].to_dense().abs().mean() for name in names]
        sizes = torch.cat([m.expand(layer.size) for m, layer in zip(means, self.neurons.layers, strict=True)])
        return torch.where(sizes > 0, sizes, 1.0)

    def _quick(self, parts: Subproblems, intervals: Mapping[str, Interval]) -> tuple[Batch, Choice]:
        """Subproblems in float32, rounded to nearest, and where their slopes and multipliers stand."""
        problem = replace(self._problem(self.quick, len(parts), torch.float32), outward=False)
        batch = self._batch(problem, parts, {name: _converted(x) for name, x in intervals.items()})
        lines = QuickLines.of(problem, batch.intervals, batch.output)
        return replace(batch, relax=lines.with_slopes), self._choice(batch, lines.free, parts)

    def _batch(self, problem: Problem, parts: Subproblems, intervals: Mapping[str, Interval]) -> Batch:
        own, rows = self.task.rows, self.rows[parts.violation]  # [B, R]
        return Batch(
            problem,
            intervals,
            own.coefficients[rows].transpose(0, 1).to(problem.dtype),
            own.constants[rows].T.to(problem.dtype),
            Constraints.of(self.neurons, parts, self.units, problem.dtype),
        )

    def _choice(self, batch: Batch, free: Free, parts: Subproblems, weights: Tensor | None = None) -> Choice:
        dtype = batch.rows.dtype
        if weights is None:
            weights = torch.zeros(len(parts), self.rows.shape[1])
        return Choice(
            self.table.placed(free, parts.slopes), parts.beta.to(dtype).clone(), weights.detach().to(dtype)
        )

    def _problem(self, model: BoundedModule, batch: int, dtype: torch.dtype) -> Problem:
        return model.problem(copies(self.task.region, batch, dtype))


def copies(region: Region, batch: int, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """A set for each example of a batch."""
    inputs = []
    for x, set_ in zip(region.nominal, region.perturbations, strict=True):
        many = x.expand(batch, *x.shape[1:]).to(dtype)
        if set_ is None:
            inputs.append(many)
        elif set_.is_box:
            hull = set_.hull(x)
            low, high = (side.expand_as(many).to(dtype) for side in (hull.lower, hull.upper))
            inputs.append(BoundedTensor(many.clamp(low, high), PerturbationLpNorm(x_L=low, x_U=high)))
        else:
            inputs.append(
                BoundedTensor(many, set_.map_tensors(lambda t: t.to(dtype) if t.is_floating_point() else t))
            )
    return tuple(inputs)


def _offsets(problem: Problem, intervals: Mapping[str, Interval], neurons: Neurons) -> Tensor:
    """The biases of neurons, `[1, N]`, where these are affine in what is before them."""
    relaxations = Relaxations(problem, intervals)
    found = []
    for layer in neurons.layers:
        relaxation = relaxations[layer.name]
        bias = relaxation.lower.bias if relaxation.exact else None
        if bias is None:
            bias = neurons.lower.new_zeros(1, *layer.shape)
        found.append(bias.detach()[:1].expand(1, *layer.shape).reshape(1, -1))
    return torch.cat(found, 1)


def _alive(intervals: Mapping[str, Interval], batch: int) -> Tensor:
    """Which subproblems have a box at every node, `[B]`; of a neuron below its lower bound there is none."""
    alive = torch.ones(batch, dtype=torch.bool)
    for x in intervals.values():
        if x.has_ends and x.lower.shape[0] == batch:
            alive &= ~(x.lower > x.upper).flatten(1).any(1)
    return alive


def _picked(x: Interval, index: Tensor) -> Interval:
    if x.known_midpoint_radius is not None and not x.has_ends:
        middle, radius = (v if v.shape[0] == 1 else v[index] for v in x.known_midpoint_radius)
        return Interval.from_midpoint_radius(middle, radius)
    return Interval(*(v if v.shape[0] == 1 else v[index] for v in (x.lower, x.upper)))


def _converted(x: Interval) -> Interval:
    return Interval(x.lower.float(), x.upper.float())
