"""One backward step: coefficients through a linear operator or through a relaxation."""

from __future__ import annotations

from torch import Tensor

from lirpa_core.linear.coefficients import Coefficients, DenseCoefficients, add
from lirpa_core.linear.infinite import plus, split_dot_infinite
from lirpa_core.linear.operators import Diagonal, LinearOp
from lirpa_core.linear.relaxation import Relaxation
from lirpa_core.plugins import Registry


def pull(op: LinearOp, A: Coefficients, registry: Registry) -> Coefficients:
    """Coefficients over the output of `op` become coefficients over its input.

    A registered kernel for this operator and structure goes first; else the coefficients go dense.
    """
    if isinstance(op, Diagonal):
        return A.scale(op.slope).sum_to(op.shape)
    kernel = registry.find_kernel(op.key, type(A))
    if kernel is not None:
        result = kernel(op, A)
        if result is not None:
            return result
    return DenseCoefficients(op.transpose(A.to_dense()))


def backpropagate_relaxation(
    relaxation: Relaxation, A: Coefficients, registry: Registry
) -> tuple[list[Coefficients | None], Tensor | None]:
    """Coefficients through a relaxation, for lower bounds: `A⁺` takes its lower side, `A⁻` its upper.

    Returns:
        Coefficients by operand, and the bias `[R, B]`, None for zero.
    """
    lower, upper = relaxation.lower, relaxation.upper
    if len(lower.terms) == 1:
        low, up = lower.terms[0], upper.terms[0]
        if isinstance(low, Diagonal) and isinstance(up, Diagonal) and low is not up:
            relaxed, bias = A.relax_affine((low.slope, up.slope), (lower.bias, upper.bias))
            infinite = split_dot_infinite(A, lower.infinite, upper.infinite)
            return [relaxed.sum_to(low.shape)], plus(bias, infinite)
    bias = None if lower.bias is None and upper.bias is None else A.split_dot(lower.bias, upper.bias)
    bias = plus(bias, split_dot_infinite(A, lower.infinite, upper.infinite))
    terms: list[Coefficients | None] = []
    halves: tuple[Coefficients, Coefficients] | None = None
    for low, up in zip(lower.terms, upper.terms, strict=True):
        if low is up:  # the same slopes below and above, as for products: signs need no split
            terms.append(None if low is None else pull(low, A, registry))
            continue
        if isinstance(low, Diagonal) and isinstance(up, Diagonal):
            terms.append(A.relax(low.slope, up.slope).sum_to(low.shape))
            continue
        halves = halves or A.split()
        parts = [pull(t, half, registry) for t, half in zip((low, up), halves, strict=True) if t is not None]
        terms.append(_sum(parts))
    return terms, bias


def _sum(parts: list[Coefficients]) -> Coefficients | None:
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else add(parts[0], parts[1])
