"""Sets around the nominal input, with members that are exact: rational numbers that surely belong to the set."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import torch
from torch import Tensor

from lirpa_core.perturbations import Perturbation, PerturbationLpNorm

#: What a computed deviation is shortened by, so that it belongs to the set whatever its rounding was.
_SHORTER = 1 - Fraction(1, 2**40)

NORMS = (math.inf, math.inf, math.inf, 2.0, 1.0, 5.0, 1.5)


@dataclass(frozen=True)
class SetSpec:
    """A ball, perhaps in a box, or a box. Its numbers are exact in the type of the case.

    Args:
        norm: The exponent.
        eps: Radius; None for a box.
        lower: Limits of each element, or None.
        upper: Likewise.
    """

    norm: float
    eps: float | None
    lower: tuple[float, ...] | None = None
    upper: tuple[float, ...] | None = None

    def perturbation(self, dtype: torch.dtype, more: Sequence[SetSpec] = ()) -> Perturbation:
        """The set as lirpa knows it; with others of the same norm, which have the same of radius and box, those of a batch.

        Args:
            dtype: The type.
            more: Sets of the examples that follow.
        """
        every = [self, *more]
        lower, upper = (
            None if any(v is None for v in ends) else torch.tensor(ends, dtype=dtype)
            for ends in ([s.lower for s in every], [s.upper for s in every])
        )
        eps = self.eps if not more or self.eps is None else torch.tensor([s.eps for s in every], dtype=dtype)
        return PerturbationLpNorm(eps, self.norm, x_L=lower, x_U=upper)

    def source(self, dtype: str) -> str:
        """Python that makes it."""
        arguments = [] if self.eps is None else [f"eps={self.eps!r}, norm={_number(self.norm)}"]
        for name, ends in (("x_L", self.lower), ("x_U", self.upper)):
            if ends is not None:
                arguments.append(f"{name}=torch.tensor([{list(ends)}], dtype={dtype})")
        return f"PerturbationLpNorm({', '.join(arguments)})"

    def smaller(self) -> Iterator[SetSpec]:
        """Simpler sets: without the box, in the largest norm, of radius one."""
        if self.eps is None:
            return
        if self.lower is not None:
            yield replace(self, lower=None, upper=None)
        if self.norm != math.inf:
            yield replace(self, norm=math.inf)
        if self.eps not in (0.0, 1.0):
            yield replace(self, eps=1.0)

    def corners(self, x: Sequence[float]) -> list[tuple[Fraction, ...]]:
        """Extreme members, at most 40, and the nominal point where it belongs to the set."""
        n = len(x)
        if self.eps is None:
            ends = [
                (Fraction(a), Fraction(b)) for a, b in zip(self.lower or (), self.upper or (), strict=True)
            ]
            return list(itertools.islice(itertools.product(*ends), 32))
        centre = tuple(map(Fraction, x))
        signs = itertools.product((-1, 1), repeat=n) if math.isinf(self.norm) else ()
        moves = [*itertools.islice(signs, 32)]
        moves += [tuple(s if i == k else 0 for k in range(n)) for i in range(n) for s in (-1, 1)]
        radius = Fraction(self.eps)
        return [centre, *(self._kept(x, [s * radius for s in move]) for move in moves)]

    def members(self, x: Sequence[float], z: Tensor) -> list[tuple[Fraction, ...]]:
        """Exact members close to what was computed.

        Args:
            x: The nominal point.
            z: Deviations from it inside of the ball around zero, or members of a box, in float64: `[n, width]`.
        """
        rows: list[list[float]] = z.tolist()
        if self.eps is None:
            return [self._clipped([Fraction(v) for v in row]) for row in rows]
        return [self._kept(x, [Fraction(v) * _SHORTER for v in row]) for row in rows]

    def search(self, x: Tensor, more: Sequence[SetSpec] = ()) -> tuple[Perturbation, Tensor]:
        """Sets to search in float64, and their nominal points: balls around zero, or the boxes: `[B, width]`.

        Args:
            x: The examples.
            more: Sets of those behind the first.
        """
        if self.eps is None:
            return self.perturbation(torch.float64, more), x
        balls = [replace(s, lower=None, upper=None) for s in more]
        return replace(self, lower=None, upper=None).perturbation(torch.float64, balls), torch.zeros_like(x)

    def _kept(self, x: Sequence[float], move: Sequence[Fraction]) -> tuple[Fraction, ...]:
        # Towards the nominal point, which lies in the box, so that what is in the ball stays there.
        return self._clipped([Fraction(a) + d for a, d in zip(x, move, strict=True)])

    def _clipped(self, z: Sequence[Fraction]) -> tuple[Fraction, ...]:
        out = list(z)
        if self.lower is not None:
            out = [max(v, Fraction(end)) for v, end in zip(out, self.lower, strict=True)]
        if self.upper is not None:
            out = [min(v, Fraction(end)) for v, end in zip(out, self.upper, strict=True)]
        return tuple(out)


def _number(value: float) -> str:
    return 'float("inf")' if math.isinf(value) else repr(value)


def draw_set(shape: random.Random, draw: random.Random, x: Sequence[float], eps: float) -> SetSpec:
    """A ball, a ball in a box that holds its centre, or a box.

    Args:
        shape: Where the kind of set comes from.
        draw: Where its numbers come from.
        x: The nominal point.
        eps: Size, in float32's numbers.
    """
    kind, norm = shape.random(), shape.choice(NORMS)
    if kind < 0.7:
        return SetSpec(norm, eps)
    if kind < 0.85:
        low = tuple(v if draw.random() < 0.5 else -abs(v) * 2 for v in x)
        up = tuple(v if draw.random() < 0.2 else abs(v) * 2 for v in x)
        return SetSpec(norm, eps, low, up)
    return SetSpec(
        math.inf,
        None,
        tuple(v if draw.random() < 0.3 else min(v, v * 2, -v) for v in x),
        tuple(v if draw.random() < 0.3 else max(v, v * 2, -v) for v in x),
    )
