"""Affine bounds of one operator in terms of its perturbed operands."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lirpa_core.linear.operators import LinearOp


@dataclass(frozen=True, eq=False)
class Affine:
    """`y = Σᵢ termsᵢ(xᵢ) + bias`, for every example.

    Attributes:
        terms: One linear operator a perturbed operand (slot); None where the slot does not enter.
        bias: `[B, *S]` (a leading one is shared by all examples), or None for zero.
        infinite: `[B, *S]`: ±∞ where the bias is infinite, and zero elsewhere (there the bias itself is zero);
            None, the usual case: it is finite everywhere. See `linear.infinite`.
    """

    terms: tuple[LinearOp | None, ...]
    bias: Tensor | None = None
    infinite: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Relaxation:
    """Affine functions below and above an operator, on the box of its operands.

    An operator that is itself affine gives the same object twice: `Relaxation.exactly(affine)`.

    Attributes:
        lower: The function below.
        upper: The function above.
        error: Of an affine operator, what rounding may make of it on its way through coefficients, `[B, *S]`; None for
            nothing, or where rounding is not accounted for.
        underflow: What any row may lose to underflow, whatever its coefficients are, `[B]`; None likewise.
    """

    lower: Affine
    upper: Affine
    error: Tensor | None = None
    underflow: Tensor | None = None

    @classmethod
    def exactly(cls, affine: Affine) -> Relaxation:
        """The relaxation of an operator that is affine itself."""
        return cls(affine, affine)

    @property
    def exact(self) -> bool:
        """Whether the operator is affine, so that nothing is lost and signs need no split."""
        return self.lower is self.upper
