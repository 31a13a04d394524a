"""Coefficients of specification rows over one node's value: the interface of every structure."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor

from lirpa_core.graph import Shape
from lirpa_core.linear.operators import LinearOp
from lirpa_core.linear.relax.eager import unobserved, weighted_sums
from lirpa_core.linear.relax.gathering import take_rows

#: From so many coefficients of an example on, sums over them are taken example by example.
_LARGE = 2**14
#: What belongs to the lower and to the upper side.
Sides: TypeAlias = tuple[Tensor, Tensor]
OptionalSides: TypeAlias = tuple[Tensor | None, Tensor | None]


class Coefficients(ABC):
    """`R` linear forms over the value of a node, for each of `B` examples.

    A structure stores them any way it likes; `to_dense` is its meaning and its oracle in tests. A new structure is a
    subclass of `StructuredCoefficients`, which has a dense default for everything else.
    """

    @property
    @abstractmethod
    def rows(self) -> int:
        """Number of rows `R`."""

    @property
    @abstractmethod
    def batch(self) -> int:
        """Number of examples `B`; one means shared by all."""

    @property
    @abstractmethod
    def shape(self) -> Shape:
        """Shape `S` of one example of the value."""

    @property
    def numel(self) -> int:
        """How many numbers the coefficients are, as they are stored."""
        return self.rows * self.batch * math.prod(self.shape)

    @property
    def reads_single_elements(self) -> bool:
        """Whether every row reads at most one element of the value.

        Over any set, the minimum of such a row is that over the elementwise hull of the set, `split_dot` of its ends.
        """
        return False

    @abstractmethod
    def to_dense(self) -> Tensor:
        """The coefficients themselves, `[R, B, *S]`."""

    @abstractmethod
    def dense(self) -> Coefficients:
        """The same coefficients, stored in full."""

    @abstractmethod
    def dot(self, value: Tensor) -> Tensor:
        """`Σ A·value`: `[R, B]` for a value `[B, *S]`."""

    @abstractmethod
    def split_dot(self, lower: Tensor | None, upper: Tensor | None) -> Tensor:
        """`Σ A⁺·lower + A⁻·upper`: `[R, B]` for values `[B, *S]`; the minimum over a box.

        None stands for zero, and saves the pass over that half; not both.
        """

    def midpoint_radius(self, midpoint: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
        """`Σ A·midpoint` and `Σ |A|·radius`, `[R, B]` each, for a box `[B, *S]` (`radius` not negative)."""
        return self.dot(midpoint), self.dual_norm(1, radius)

    @abstractmethod
    def dual_norm(self, q: float, weight: Tensor | None = None) -> Tensor:
        """`‖weight · A‖_q` over `S`: `[R, B]`; `weight` broadcasts against `[B, *S]`."""

    @abstractmethod
    def scale(self, factor: Tensor) -> Coefficients:
        """Multiply elementwise by a factor `[B, *S]`."""

    def relax(self, lower: Tensor, upper: Tensor) -> Coefficients:
        """`A⁺·lower + A⁻·upper`, elementwise, for slopes `[B, *S]`, in one fused pass."""
        return self.relax_affine((lower, upper), (None, None))[0]

    @abstractmethod
    def relax_affine(self, slopes: Sides, biases: OptionalSides) -> tuple[Coefficients, Tensor | None]:
        """Through lines below and above each element, in one fused pass.

        Args:
            slopes: Of the lower and the upper lines, two of `[B, *S]`.
            biases: Of the lower and the upper lines, `[B, *S]`; None stands for zero.

        Returns:
            `A⁺·lower + A⁻·upper` of the slopes, and its sum of the biases, `[R, B]` or None for zero.
        """

    def relax_mirrored(self, slopes: Sides, biases: OptionalSides) -> tuple[Coefficients, Tensor | None]:
        """`relax_affine` of the rows `[A; −A]`."""
        return self.with_negated().relax_affine(slopes, biases)

    @abstractmethod
    def split(self) -> tuple[Coefficients, Coefficients]:
        """`(A⁺, A⁻)`."""

    @abstractmethod
    def negate(self) -> Coefficients:
        """`−A`."""

    @abstractmethod
    def with_negated(self) -> Coefficients:
        """The rows `[A; −A]`, `2R` of them."""

    @abstractmethod
    def take(self, start: int, stop: int) -> Coefficients:
        """Rows `start` to `stop`."""

    @abstractmethod
    def pick(self, index: Tensor) -> Coefficients:
        """Rows at `index` `[R', B]`, for each example its own."""

    @abstractmethod
    def sum_to(self, shape: Shape) -> Coefficients:
        """Undo broadcasting of the value from `shape` to `S`."""

    @abstractmethod
    def squeeze(self, dim: int) -> Coefficients:
        """Drop dimension `dim` of `S`, whose size is one."""

    def add(self, other: Coefficients) -> Coefficients | None:
        """The sum with other coefficients in a structure of one's own, or None where this one does not know how."""
        return None


#: `(op, A) -> A`: backpropagates structured coefficients through a linear operator; None: cannot here.
Kernel = Callable[[LinearOp, Any], "Coefficients | None"]


def add(a: Coefficients, b: Coefficients) -> Coefficients:
    """The sum of coefficients; asks both structures before it goes dense."""
    result = a.add(b)
    if result is None:
        result = b.add(a)
    if result is None:
        result = a.dense().add(b.dense())
    assert result is not None
    return result


def numbers(A: Coefficients) -> int:
    """How many numbers a few rows are: as stored, but not more than written out.

    What a structure shares between all of its rows would be counted for each few of them otherwise.
    """
    return min(A.numel, A.rows * A.batch * math.prod(A.shape))


def bilinear_sum(A: Tensor, value: Tensor) -> Tensor:
    """`Σ_S A·value` for `[R, B, *S]` and `[B, *S]` with broadcasting leading ones: `[R, B]`."""
    flat = A.unsqueeze(-1) if A.dim() == 2 else A.flatten(2)  # [R, B, n]
    v = value.unsqueeze(-1) if value.dim() == 1 else value.flatten(1)  # [B, n]
    if flat.dtype != v.dtype:  # products of matrices do not promote, as sums do
        wide = torch.promote_types(flat.dtype, v.dtype)
        flat, v = flat.to(wide), v.to(wide)
    if flat.shape[1] == 1 and v.shape[0] == 1:
        return flat @ v[0]
    if flat.shape[1] == 1:
        return flat[:, 0] @ v.T
    if v.shape[0] == 1:
        return flat @ v[0]
    if flat.shape[0] * flat.shape[2] >= _LARGE and unobserved(flat):
        return weighted_sums(flat, v)
    dot: Tensor = torch.linalg.vecdot(flat, v)  # several times faster than einsum, which calls bmm here
    return dot


def absolute_sum(A: Tensor, value: Tensor) -> Tensor:
    """`Σ_S |A|·value`, like `bilinear_sum`."""
    if A.dim() > 2 and value.dim() > 1 and A.dtype == value.dtype and A.numel() >= _LARGE and unobserved(A):
        return weighted_sums(A.flatten(2), value.flatten(1), absolute=True)
    return bilinear_sum(A.abs(), value)


def picked(x: Tensor, index: Tensor) -> Tensor:
    """Rows of `[R, B or 1, *S]` at `index` `[R', B]`, for each example its own: `[R', B, *S]`."""
    if index.shape[1] == 1:
        return take_rows(x, index[:, 0])
    if x.shape[1] == 1:
        return take_rows(x[:, 0], index)
    example = torch.arange(x.shape[1], device=x.device)
    if x.is_contiguous() and unobserved(x):
        return take_rows(x.flatten(0, 1), index * x.shape[1] + example)
    return x[index, example]


def flatten(x: Tensor, lead: int) -> Tensor:
    """`[*L, *S]` to `[*L, n]` with `lead` leading dimensions; a scalar `S` gives `n = 1`."""
    return x.unsqueeze(-1) if x.dim() == lead else x.flatten(lead)
