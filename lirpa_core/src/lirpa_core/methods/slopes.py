"""Slopes as free variables: relaxations with given slopes, and the search for the best ones.

A line is sound whatever its slope is, because its intercept follows from the slope. So the slopes of all lines are
free variables, and every step of an optimiser gives a bound that holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from lirpa_core.linear.interval import Interval
from lirpa_core.linear.relaxation import Relaxation
from lirpa_core.methods.slope_search import SlopeSearch
from lirpa_core.problem.problem import Problem
from lirpa_core.problem.relaxations import Relax, Relaxations, by_rule
from lirpa_core.progress import OutOfTime
from lirpa_core.rules.base import Slope

#: Values of the slopes of a node's relaxation, one tensor `[B, *P]` for each that its rule states.
Slopes: TypeAlias = tuple[Tensor, ...]


def with_slopes(chosen: Mapping[str, Slopes], others: Relaxations | None = None) -> Relax:
    """Relaxations with given slopes by node name, and the rules' own for all other nodes.

    Args:
        chosen: The slopes.
        others: A table of the other nodes' relaxations on the same intervals, for passes that differ in slopes alone.
    """

    def relax(problem: Problem, name: str, inputs: tuple[Interval | None, ...]) -> Relaxation:
        if name not in chosen:
            return by_rule(problem, name, inputs) if others is None else others[name]
        return problem.rules[name].relax_with(problem.calls[name], inputs, chosen[name])

    return relax


@dataclass(frozen=True, eq=False)
class FreeSlope:
    """One slope of every element of a node, as a position in the range worth a try.

    Attributes:
        default: The rule's own slope `[B, *P]`, kept where the range is a single slope.
        least: Lower end of the range.
        span: Its length; zero where there is nothing to choose.
        position: The variable, from 0 to 1; it requires a gradient only if some element has a choice, as the line above
            a ReLU has not.
    """

    default: Tensor
    least: Tensor
    span: Tensor
    position: Tensor

    @classmethod
    def of(cls, slope: Slope, batch: int) -> FreeSlope:
        """A variable that starts at the rule's own slope."""
        shape = (batch, *slope.start.shape[1:])
        default, least, greatest = (
            k.detach().expand(shape) for k in (slope.start, slope.least, slope.greatest)
        )
        least, greatest = least.minimum(default), greatest.maximum(default)
        span = torch.where((greatest - least).isfinite(), greatest - least, 0)
        position = torch.where(span > 0, (default - least) / torch.where(span > 0, span, 1), 0)
        return cls(default, least, span, position.requires_grad_(bool((span > 0).any())))

    def folded(self, copies: int) -> FreeSlope:
        """The variable of each of so many copies of all examples, `[copies * B, *P]`."""
        each = [1] * (self.default.dim() - 1)
        default, least, span, position = (
            k.detach().repeat(copies, *each) for k in (self.default, self.least, self.span, self.position)
        )
        return FreeSlope(default, least, span, position.requires_grad_(self.has_choice))

    @property
    def has_choice(self) -> bool:
        """Whether there is anything to choose."""
        return self.position.requires_grad

    def slope(self) -> Tensor:
        """The slope at the present position, `[B, *P]`."""
        return self.slope_at(self.position) if self.has_choice else self.default

    def slope_at(self, position: Tensor) -> Tensor:
        """The slope at a position, `[B, *P]`."""
        return torch.where(self.span > 0, self.least + self.span * position, self.default)


#: The variables of nodes, and the intervals that they were made for.
KnownSlopes: TypeAlias = dict[str, tuple[tuple[Interval | None, ...], "tuple[FreeSlope, ...]"]]


def free_slopes(
    problem: Problem,
    intervals: Mapping[str, Interval],
    node: str,
    known: KnownSlopes | None = None,
    *,
    cheap: bool = False,
) -> dict[str, tuple[FreeSlope, ...]]:
    """Variables for all operators on the way to a node, at their rules' default slopes.

    Args:
        problem: The problem.
        intervals: Intervals of the nodes that rules read.
        node: The node.
        known: Variables that have been made for these intervals or others, to be used again and added to.
        cheap: Whether to leave out those of costly rules.
    """
    relaxations = Relaxations(problem, intervals)
    needed = problem.ancestors(node)
    free: dict[str, tuple[FreeSlope, ...]] = {}
    for name, call in problem.calls.items():
        if name not in needed or (cheap and problem.rules[name].costly):
            continue
        boxes = relaxations.operand_intervals(name)
        made = None if known is None else known.get(name)
        if made is not None and all([a is b for a, b in zip(made[0], boxes, strict=True)]):
            variables = made[1]
        else:
            with torch.no_grad():
                slopes = problem.rules[name].slopes(
                    call, tuple([None if x is None else x.detach() for x in boxes])
                )
            variables = tuple(FreeSlope.of(slope, problem.batch) for slope in slopes)
            if known is not None:
                known[name] = boxes, variables
        if any(variable.has_choice for variable in variables):
            free[name] = variables
    return free


def climb(
    free: Mapping[str, tuple[FreeSlope, ...]],
    bound: Callable[[Mapping[str, Slopes]], Tensor],
    search: SlopeSearch,
    told: Callable[[float], None] = lambda share: None,
    copies: int = 1,
) -> tuple[Tensor, dict[str, Slopes]]:
    """Raise bounds by moving slopes up the gradient, with Adam (Kingma and Ba 2015), projected onto their ranges.

    Args:
        free: The variables, by node name.
        bound: Lower bounds `[copies * R, B]` for given slopes of `copies * B` examples.
        search: Settings.
        told: Is told after each step which share of the steps is done; `OutOfTime` from it ends the search.
        copies: How often each example occurs; the `R` rows of each copy share its slopes.

    Returns:
        The best bounds `[copies * R, B]`, and the slopes that gave them, without gradient: those of each copy and
        example's best step, by the sum of its rows.
    """
    positions = Positions(free)
    ascent = Ascent.at(positions.start)
    best: Tensor | None = None
    record = torch.empty(0)  # the sums of the bounds that `kept` gives, `[copies, B]`
    kept = positions.start
    for step in range(search.iteration + 1):
        here = ascent.position.requires_grad_()
        value = bound(positions.slopes(here))
        found = value.detach()
        sums = found.reshape(copies, -1, found.shape[-1]).sum(1)
        if best is None:
            best, record = found, sums
        else:
            best, better = torch.where(found > best, found, best), sums > record
            record = torch.where(better, sums, record)
            kept = positions.replaced(kept, here.detach(), better.flatten())
        if step == search.iteration or not value.requires_grad:
            break
        try:
            told((step + 1) / (search.iteration + 1))
        except OutOfTime:
            break
        gradient: Tensor | None = torch.autograd.grad(value.sum(), here, allow_unused=True)[0]
        if gradient is None:  # what gradients there are do not come from slopes
            break
        ascent = ascent.step(gradient, search.lr_alpha * search.lr_decay**step)
    assert best is not None
    return best, {name: tuple([_fixed(k) for k in found]) for name, found in positions.slopes(kept).items()}


class Positions:
    """All variables of a search as one vector, so that a step of the optimiser is a step for all of them.

    Args:
        free: The variables, by node name.
    """

    def __init__(self, free: Mapping[str, tuple[FreeSlope, ...]]) -> None:
        self._free = free
        self._moving = [v for variables in free.values() for v in variables if v.has_choice]
        self._sizes = [v.position.numel() for v in self._moving]
        self.start = torch.cat([v.position.detach().flatten() for v in self._moving])  # [n]

    def slopes(self, positions: Tensor) -> dict[str, Slopes]:
        """The slopes at these positions, `[n]`, by node name."""
        parts = iter(positions.split(self._sizes))
        return {
            name: tuple(
                [
                    v.slope_at(next(parts).view_as(v.position)) if v.has_choice else v.default
                    for v in variables
                ]
            )
            for name, variables in self._free.items()
        }

    def replaced(self, old: Tensor, new: Tensor, better: Tensor) -> Tensor:
        """The new positions of those examples that are better, `[B]`, and the old ones of others."""
        count = better.shape[0]
        chosen = [
            torch.where(better.unsqueeze(1), n.view(count, -1), o.view(count, -1)).flatten()
            for o, n in zip(old.split(self._sizes), new.split(self._sizes), strict=True)
        ]
        return torch.cat(chosen)


@dataclass(frozen=True, eq=False)
class Ascent:
    """A state of the optimiser (Adam, Kingma and Ba 2015) on positions between 0 and 1.

    Attributes:
        position: Where it is, `[n]`.
        mean: The mean of gradients so far, decaying.
        square: The mean of their squares, likewise.
        steps: How many steps it has taken.
    """

    position: Tensor
    mean: Tensor
    square: Tensor
    steps: int

    @classmethod
    def at(cls, position: Tensor) -> Ascent:
        """The state before the first step."""
        return cls(position, torch.zeros_like(position), torch.zeros_like(position), 0)

    def step(self, gradient: Tensor, size: float) -> Ascent:
        """The state after a step up the gradient, at most about `size` long in each coordinate, kept in range."""
        steps, (first, second) = self.steps + 1, _MOMENTS
        mean = torch.lerp(gradient, self.mean, first)
        square = torch.lerp(gradient.square(), self.square, second)
        spread = (square / (1 - second**steps)).sqrt()
        told = (
            spread > 0
        ) & spread.isfinite()  # a gradient whose square underflows or overflows moves nothing
        move = torch.where(told, mean / torch.where(told, spread, 1), 0)
        position = (self.position.detach() + move * (size / (1 - first**steps))).clamp_(0, 1)
        return Ascent(position, mean, square, steps)


#: How much of the means of gradients and of their squares a step leaves.
_MOMENTS = 0.9, 0.999


def _fixed(slope: Tensor) -> Tensor:
    """A slope without gradient; the same object where it had none."""
    return slope.detach() if slope.requires_grad else slope
