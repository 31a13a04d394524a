"""The methods that the fuzz tries: those that are registered, and CROWN with what an optimizer may choose drawn at random."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lirpa_core.linear import Interval, Relaxation
from lirpa_core.methods import CROWN, FreeSlope, Method, Problem, Relax, by_rule
from lirpa_testing.methods.names import method_names


@dataclass(frozen=True)
class DrawnSlopes:
    """Relaxations whose slopes and shares are anywhere in the ranges that rules state: all of them have to be sound.

    Each is drawn from a seed, the operator's name and the example's own intervals: a third of them at an end of the range, the
    others inside. So an example has the same ones alone and in a batch.

    Args:
        seed: Of the draws.
    """

    seed: int

    def __call__(self, problem: Problem, name: str, inputs: tuple[Interval | None, ...]) -> Relaxation:
        """The relaxation of a node."""
        rule, call = problem.rules[name], problem.calls[name]
        slopes = rule.slopes(call, tuple([None if x is None else x.detach() for x in inputs]))
        free = [FreeSlope.of(slope, problem.batch) for slope in slopes]
        if not any(slope.has_choice for slope in free):
            return by_rule(problem, name, inputs)
        generator = torch.Generator().manual_seed(zlib.crc32(f"{self.seed} {name}".encode()))
        turn = _turns([x for x in inputs if x is not None], problem.batch)  # [B]
        chosen = []
        for slope in free:
            drawn = torch.rand(slope.default.shape[1:], generator=generator, dtype=torch.float64)
            drawn = (drawn + turn.reshape(-1, *[1] * drawn.dim())) % 1
            position = (drawn * 1.5 - 0.25).clamp(0, 1).to(slope.default.dtype)
            chosen.append(slope.slope_at(position))
        return rule.relax_with(call, inputs, tuple(chosen))


def _turns(inputs: list[Interval], batch: int) -> Tensor:
    """A number from 0 to 1 of each example, from the digits of its intervals, `[B]`."""
    total = torch.zeros(batch, dtype=torch.int64)
    for x in inputs:
        for end in (x.lower, x.upper):
            digits = end.detach().double().flatten(1).contiguous().view(torch.int64) % 1_000_003
            total = total + digits.sum(1)
    return (total % 1_000_003) / 1_000_003


@dataclass(frozen=True)
class Drawn(CROWN):
    """CROWN with relaxations of drawn slopes.

    Attributes:
        relax: The relaxations.
    """

    relax: Relax = field(default_factory=lambda: DrawnSlopes(0))

    name = "CROWN, drawn"
    aliases = ("drawn",)
    summary = "CROWN with slopes drawn at random"


def fuzzed_methods() -> tuple[str, ...]:
    """Names of all methods that the fuzz tries: the registered ones and `Drawn`."""
    return (*method_names(), Drawn.name)


def method_of(name: str, seed: int = 0) -> str | Method:
    """The method of a name, as `compute_bounds` takes it.

    Args:
        name: Of `fuzzed_methods`.
        seed: Of drawn slopes.
    """
    return Drawn(DrawnSlopes(seed)) if name == Drawn.name else name
