"""What a linear operator can do, and how operators are put together."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lirpa_core.graph import Shape
from lirpa_core.linear.interval import Interval


class LinearOp(ABC):
    """A linear map from one example's `S_in` to its `S_out`, possibly different in each example.

    Operators form an algebra: `f + g`, `f - g`, `-f`, `f @ g` (first `g`, then `f`), `abs(f)` and `f.T`. The results
    are operators too; nothing is written out as a matrix before somebody needs its absolute values.
    """

    @property
    @abstractmethod
    def in_shape(self) -> Shape:
        """`S_in`."""

    @property
    @abstractmethod
    def out_shape(self) -> Shape:
        """`S_out`."""

    @property
    def key(self) -> Any:
        """The class, or the ATen operator, by which kernels for structured coefficients are looked up."""
        return type(self)

    @property
    def monomial(self) -> bool:
        """Whether no row and no column of the matrix has more than one coefficient other than zero.

        Where one of two operators is so, `|f g| = |f| |g|`.
        """
        return False

    @property
    def fan_in(self) -> int:
        """At least as many products as an output is computed from."""
        return math.prod(self.in_shape)

    @property
    def fan_out(self) -> int:
        """At least as many products as an input enters, which is what `transpose` sums."""
        return math.prod(self.out_shape)

    @property
    def splits_ends(self) -> bool:
        """Whether `apply_split` and `interval` compute an end from ends alone, without midpoint and radius."""
        return False

    def magnitude(self, x: Tensor, lead: int = 1) -> Tensor:
        """Like `apply_abs`, or larger: the size of the numbers that `apply` adds up on its way."""
        return self.apply_abs(x, lead)

    @abstractmethod
    def apply(self, x: Tensor, lead: int = 1) -> Tensor:
        """`[*L, B, *S_in]` to `[*L, B, *S_out]`, with `lead` leading dimensions, batch included."""

    @abstractmethod
    def apply_abs(self, x: Tensor, lead: int = 1) -> Tensor:
        """Like `apply`, with every coefficient replaced by its absolute value."""

    @abstractmethod
    def transpose(self, A: Tensor) -> Tensor:
        """Coefficients over the output become coefficients over the input: `[R, B, *S_out]` to `[R, B, *S_in]`."""

    def midpoint_radius(self, midpoint: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
        """`W·midpoint` and `|W|·radius`, from `[B, *S_in]` to `[B, *S_out]`; either may have a leading one."""
        return self.apply(midpoint), self.apply_abs(radius)

    def interval(self, x: Interval, bias: Tensor | None = None) -> Interval:
        """Exact bounds of `W·x + bias` on a box; the bias is added to the midpoint, once instead of at either end.

        Args:
            x: The box, `[B, *S_in]`.
            bias: `[1 or B, *S_out]`.
        """
        midpoint, radius = self.midpoint_radius(*x.midpoint_radius())
        return Interval.from_midpoint_radius(midpoint if bias is None else midpoint + bias, radius)

    def apply_split(self, lower: Tensor, upper: Tensor, lead: int = 1) -> tuple[Tensor, Tensor]:
        """`(W⁺·lower + W⁻·upper, W⁺·upper + W⁻·lower)`, in two passes over `W` rather than four."""
        middle, spread = Interval(lower, upper).midpoint_radius()
        center, radius = self.apply(middle, lead), self.apply_abs(spread, lead)
        return center - radius, center + radius

    def apply_end(self, lower: Tensor, upper: Tensor, lead: int = 1, *, upper_end: bool = False) -> Tensor:
        """One of the two tensors that `apply_split` gives: the first, or the second for `upper_end`."""
        return self.apply_split(lower, upper, lead)[1 if upper_end else 0]

    def matrix(self, dtype: torch.dtype, device: torch.device | None = None) -> Tensor:
        """All coefficients, `[n, B or 1, *S_out]` with `n` the number of elements of `S_in`."""
        return self.apply(_basis(self.in_shape, dtype, device), 2)

    def __add__(self, other: LinearOp) -> LinearOp:
        return Sum(self, other)

    def __sub__(self, other: LinearOp) -> LinearOp:
        return Sum(self, Negative(other))

    def __neg__(self) -> LinearOp:
        return Negative(self)

    def __matmul__(self, inner: LinearOp) -> LinearOp:
        return Composition(self, inner)

    def __abs__(self) -> LinearOp:
        return Absolute(self)

    @property
    def T(self) -> LinearOp:  # noqa: N802 (the name that PyTorch and NumPy have for it)
        """The transpose as an operator from `S_out` to `S_in`."""
        return Transpose(self)


class OpOfShapes(LinearOp):
    """An operator that keeps its shapes, because its weights do not tell them.

    Attributes:
        shapes: `S_in` and `S_out`; a field of the subclass.
    """

    shapes: tuple[Shape, Shape]

    @property
    def in_shape(self) -> Shape:
        return self.shapes[0]

    @property
    def out_shape(self) -> Shape:
        return self.shapes[1]


@dataclass(frozen=True, eq=False)
class _SameSize(LinearOp):
    """An operator whose coefficients have the absolute values of another's."""

    base: LinearOp

    @property
    def in_shape(self) -> Shape:
        return self.base.in_shape

    @property
    def out_shape(self) -> Shape:
        return self.base.out_shape

    @property
    def monomial(self) -> bool:
        return self.base.monomial

    @property
    def fan_in(self) -> int:
        return self.base.fan_in

    @property
    def fan_out(self) -> int:
        return self.base.fan_out

    def magnitude(self, x: Tensor, lead: int = 1) -> Tensor:
        return self.base.magnitude(x, lead)

    def apply_abs(self, x: Tensor, lead: int = 1) -> Tensor:
        return self.base.apply_abs(x, lead)


@dataclass(frozen=True, eq=False)
class Negative(_SameSize):
    """`x ↦ −f(x)`."""

    def apply(self, x: Tensor, lead: int = 1) -> Tensor:
        return -self.base.apply(x, lead)

    def transpose(self, A: Tensor) -> Tensor:
        return -self.base.transpose(A)


class _WrittenOut(LinearOp):
    """Operators whose absolute values are not those of their parts, so that the matrix is written out."""

    def apply_abs(self, x: Tensor, lead: int = 1) -> Tensor:
        W = self.matrix(x.dtype, x.device).abs()  # [n, B or 1, *S_out]
        return times_dense(W, x, self.in_shape, lead)


@dataclass(frozen=True, eq=False)
class Sum(_WrittenOut):
    """`x ↦ f(x) + g(x)`."""

    first: LinearOp
    second: LinearOp

    def __post_init__(self) -> None:
        if self.first.in_shape != self.second.in_shape or self.first.out_shape != self.second.out_shape:
            raise ValueError(
                f"a sum needs operators between the same shapes, got {_between(self.first)} and "
                f"{_between(self.second)}"
            )

    @property
    def in_shape(self) -> Shape:
        return self.first.in_shape

    @property
    def out_shape(self) -> Shape:
        return self.first.out_shape

    @property
    def fan_in(self) -> int:
        return self.first.fan_in + self.second.fan_in

    @property
    def fan_out(self) -> int:
        return self.first.fan_out + self.second.fan_out

    def magnitude(self, x: Tensor, lead: int = 1) -> Tensor:
        return self.first.magnitude(x, lead) + self.second.magnitude(x, lead)

    def apply(self, x: Tensor, lead: int = 1) -> Tensor:
        return self.first.apply(x, lead) + self.second.apply(x, lead)

    def transpose(self, A: Tensor) -> Tensor:
        return self.first.transpose(A) + self.second.transpose(A)


@dataclass(frozen=True, eq=False)
class Composition(_WrittenOut):
    """`x ↦ f(g(x))`."""

    outer: LinearOp
    inner: LinearOp

    def __post_init__(self) -> None:
        if self.outer.in_shape != self.inner.out_shape:
            raise ValueError(
                f"a composition needs an operator whose input has the shape of the other's output, got "
                f"{_between(self.outer)} after {_between(self.inner)}"
            )

    @property
    def in_shape(self) -> Shape:
        return self.inner.in_shape

    @property
    def out_shape(self) -> Shape:
        return self.outer.out_shape

    @property
    def monomial(self) -> bool:
        return self.outer.monomial and self.inner.monomial

    @property
    def fan_in(self) -> int:
        return self.outer.fan_in + self.inner.fan_in

    @property
    def fan_out(self) -> int:
        return self.outer.fan_out + self.inner.fan_out

    def magnitude(self, x: Tensor, lead: int = 1) -> Tensor:
        return self.outer.magnitude(self.inner.magnitude(x, lead), lead)

    def apply(self, x: Tensor, lead: int = 1) -> Tensor:
        return self.outer.apply(self.inner.apply(x, lead), lead)

    def apply_abs(self, x: Tensor, lead: int = 1) -> Tensor:
        if self.outer.monomial or self.inner.monomial:
            return self.outer.apply_abs(self.inner.apply_abs(x, lead), lead)
        return super().apply_abs(x, lead)

    def transpose(self, A: Tensor) -> Tensor:
        return self.inner.transpose(self.outer.transpose(A))


@dataclass(frozen=True, eq=False)
class Absolute(_SameSize):
    """The operator whose coefficients are the absolute values of another's."""

    def apply(self, x: Tensor, lead: int = 1) -> Tensor:
        return self.base.apply_abs(x, lead)

    def transpose(self, A: Tensor) -> Tensor:
        W = self.matrix(A.dtype, A.device)  # [n, B or 1, *S_out]
        out = torch.einsum("rbm,nbm->rbn", *_same_batch(A.flatten(2), W.flatten(2)))
        return out.reshape(*out.shape[:2], *self.in_shape)


@dataclass(frozen=True, eq=False)
class Transpose(LinearOp):
    """The transpose of an operator."""

    base: LinearOp

    @property
    def in_shape(self) -> Shape:
        return self.base.out_shape

    @property
    def out_shape(self) -> Shape:
        return self.base.in_shape

    @property
    def monomial(self) -> bool:
        return self.base.monomial

    @property
    def T(self) -> LinearOp:  # noqa: N802
        return self.base

    @property
    def fan_in(self) -> int:
        return self.base.fan_out

    @property
    def fan_out(self) -> int:
        return self.base.fan_in

    def apply(self, x: Tensor, lead: int = 1) -> Tensor:
        rows = x.reshape(-1, *x.shape[lead - 1 :])  # [R, B, *S_in], with R one where `lead` is
        return self.base.transpose(rows).reshape(*x.shape[: lead - 1], -1, *self.out_shape)

    def apply_abs(self, x: Tensor, lead: int = 1) -> Tensor:
        return Transpose(Absolute(self.base)).apply(x, lead)

    def transpose(self, A: Tensor) -> Tensor:
        return self.base.apply(A, 2)


def times_dense(W: Tensor, x: Tensor, in_shape: Shape, lead: int) -> Tensor:
    """A matrix as `LinearOp.matrix` writes it out, applied to `[*L, B, *S_in]`: `[*L, B, *S_out]`."""
    flat = x.reshape(*x.shape[:lead], math.prod(in_shape))
    out = torch.einsum("...bn,nbm->...bm", flat, W.reshape(*W.shape[:2], -1))
    return out.reshape(*out.shape[:-1], *W.shape[2:])


def _basis(shape: Shape, dtype: torch.dtype, device: torch.device | None) -> Tensor:
    n = math.prod(shape)
    return torch.eye(n, dtype=dtype, device=device).reshape(n, 1, *shape)


def _same_batch(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    batch = max(a.shape[1], b.shape[1])
    return a.expand(-1, batch, -1), b.expand(-1, batch, -1)


def _between(op: LinearOp) -> str:
    return f"one from {list(op.in_shape)} to {list(op.out_shape)}"
