"""The dispatch table that sends structured coefficients through linear operators."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from lirpa_core.linear.coefficients.base import Coefficients, Kernel, add
from lirpa_core.linear.coefficients.dense import DenseCoefficients
from lirpa_core.linear.infinite import plus, split_dot_infinite
from lirpa_core.linear.operators import Diagonal, LinearOp
from lirpa_core.linear.relaxation import Relaxation


class Kernels(Protocol):
    """Where kernels are found: a registry, or any table of them."""

    def find_kernel(self, op_key: object, structure_type: type[Coefficients]) -> Kernel | None:
        """The kernel for an operator's key and a structure, None where coefficients go dense."""


def backpropagate(op: LinearOp, A: Coefficients, kernels: Kernels) -> Coefficients:
    """Coefficients over the output of `op` become coefficients over its input.

    A registered kernel for this operator and structure goes first; else the coefficients go dense.

    Args:
        op: The operator, `S_in` to `S_out`.
        A: `[R, B, *S_out]`.
        kernels: Where kernels are found.

    Returns:
        `[R, B, *S_in]`.
    """
    if isinstance(op, Diagonal):
        return A.scale(op.slope).sum_to(op.shape)
    kernel = kernels.find_kernel(op.key, type(A))
    if kernel is not None:
        result = kernel(op, A)
        if result is not None:
            return result
    return DenseCoefficients(op.transpose(A.to_dense()))


def backpropagate_relaxation(
    relaxation: Relaxation, A: Coefficients, kernels: Kernels, *, mirrored: bool = False
) -> tuple[list[Coefficients | None], Tensor | None]:
    """Coefficients through a relaxation, for lower bounds: `A⁺` takes its lower side, `A⁻` its upper.

    Args:
        relaxation: Affine functions below and above an operator.
        A: Coefficients over the operator's output, `[R, B, *S]`.
        kernels: Where kernels are found.
        mirrored: Whether the rows stand for `[A; −A]`, of which the result is then.

    Returns:
        Coefficients by operand, and the bias `[R, B]`, None for zero.
    """
    lower, upper = relaxation.lower, relaxation.upper
    if len(lower.terms) == 1:
        low, up = lower.terms[0], upper.terms[0]
        if isinstance(low, Diagonal) and isinstance(up, Diagonal) and low is not up:
            relax = A.relax_mirrored if mirrored else A.relax_affine
            relaxed, bias = relax((low.slope, up.slope), (lower.bias, upper.bias))
            if mirrored and (lower.infinite is not None or upper.infinite is not None):
                A = A.with_negated()
            if lower.infinite is not None or upper.infinite is not None:
                bias = plus(bias, split_dot_infinite(A, lower.infinite, upper.infinite))
            return [relaxed.sum_to(low.shape)], bias
    A = A.with_negated() if mirrored else A
    bias = None if lower.bias is None and upper.bias is None else A.split_dot(lower.bias, upper.bias)
    if lower.infinite is not None or upper.infinite is not None:
        bias = plus(bias, split_dot_infinite(A, lower.infinite, upper.infinite))
    terms: list[Coefficients | None] = []
    halves: tuple[Coefficients, Coefficients] | None = None
    for low, up in zip(lower.terms, upper.terms, strict=True):
        if low is up:  # the same slopes below and above, as for products: signs need no split
            terms.append(None if low is None else backpropagate(low, A, kernels))
            continue
        if isinstance(low, Diagonal) and isinstance(up, Diagonal):
            terms.append(A.relax(low.slope, up.slope).sum_to(low.shape))
            continue
        halves = halves or A.split()
        parts = [
            backpropagate(t, half, kernels)
            for t, half in zip((low, up), halves, strict=True)
            if t is not None
        ]
        terms.append(parts[0] if len(parts) == 1 else add(parts[0], parts[1]) if parts else None)
    return terms, bias
