"""Planes of a product of two perturbed factors (McCormick 1976, Math. Programming 10): their mean, and their mixtures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lirpa_core.linear.interval import Interval
from lirpa_core.linear.operators import Diagonal, LinearOp
from lirpa_core.linear.relaxation import Affine, Relaxation
from lirpa_core.rules.base import Slope
from lirpa_core.rules.call import Call


@dataclass(frozen=True, eq=False)
class Product:
    """A product both of whose factors are perturbed: what its planes are chosen from.

    Attributes:
        call: The call.
        inputs: Bounds of the operands, one a slot, None where the rule does not read them.
        left: Slot of the first factor.
        right: Slot of the second factor.
        x: Box of the first factor, `[B, *S_left]`.
        y: Box of the second factor, `[B, *S_right]`.
        operator: `(slot, value) -> LinearOp`: the operator in one factor with the other fixed at a value,
            `[1 or B, *S]`.
    """

    call: Call
    inputs: tuple[Interval | None, ...]
    left: int
    right: int
    x: Interval
    y: Interval
    operator: Callable[[int, Tensor], LinearOp]

    def of_left(self, y: Tensor) -> LinearOp:
        """The operator in the first factor, with the second fixed at `y`."""
        return self.operator(self.left, y)

    def of_right(self, x: Tensor) -> LinearOp:
        """The operator in the second factor, with the first fixed at `x`."""
        return self.operator(self.right, x)

    def affine(self, of_left: LinearOp, of_right: LinearOp, bias: Tensor) -> Affine:
        """An affine function of the two factors."""
        terms: list[LinearOp | None] = [None] * len(self.call.shapes)
        terms[self.left], terms[self.right] = of_left, of_right
        return Affine(tuple(terms), bias)


def mean_planes(product: Product) -> Relaxation:
    """The mean of McCormick's two planes on each side (McCormick 1976, Math. Programming 10).

    The same slopes below and above, the smallest worst-case gap, and one pass over the coefficients instead of two.
    """
    x, y = product.x, product.y
    of_left = product.of_left(y.midpoint)
    center, radius = of_left.apply(x.midpoint), product.of_left(y.radius).apply(x.radius)
    below = product.affine(of_left, product.of_right(x.midpoint), -center - radius)
    return Relaxation(below, Affine(below.terms, -center + radius))


@dataclass(frozen=True)
class Mixture:
    """Planes of a product that an optimizer may choose from: mixtures of McCormick's, with shares from −1 to 1.

    Attributes:
        slopes: The shares that may be moved, at the values of the rule's own planes.
        planes: The planes with given shares, sound for any.
    """

    slopes: Callable[[Product], tuple[Slope, ...]]
    planes: Callable[[Product, Sequence[Tensor]], Relaxation]


def shares_of_outputs(product: Product) -> tuple[Slope, ...]:
    """A share below and one above each output, at zero, the mean of two planes; nothing where a box is a point."""
    moves = product.of_left(product.y.radius).apply(product.x.radius) > 0
    start = torch.zeros_like(moves, dtype=product.call.dtype)
    end = moves.to(start.dtype)
    return (Slope(start, -end, end),) * 2


def planes_of_outputs(product: Product, shares: Sequence[Tensor]) -> Relaxation:
    """Mixtures of McCormick's planes with a share `[B, *S]` for each output, below and above.

    With midpoints `c` and radii `r`, and the share `m`, `f(x, y) ≥ f(x, c_y) − m f(x, r_y) + f(c_x, y) − m f(r_x, y) + …`:
    `m = 1` and `m = −1` are McCormick's two planes below, and likewise above.
    """
    x, y, shape = product.x, product.y, product.call.shape
    of_left, left_radius = product.of_left(y.midpoint), product.of_left(y.radius)
    of_right, right_radius = product.of_right(x.midpoint), product.of_right(x.radius)
    center, radius = of_left.apply(x.midpoint), left_radius.apply(x.radius)
    from_left, from_right = left_radius.apply(x.midpoint), right_radius.apply(y.midpoint)

    def side(sign: int, share: Tensor) -> Affine:
        m = share.clamp(-1, 1)
        return product.affine(
            of_left + Diagonal(-sign * m, shape) @ left_radius,
            of_right + Diagonal(-m, shape) @ right_radius,
            m * (sign * from_left + from_right) - center - sign * radius,
        )

    return Relaxation(side(1, shares[0]), side(-1, shares[1]))


#: The shares of every product that says nothing else.
MIXTURE = Mixture(shares_of_outputs, planes_of_outputs)
