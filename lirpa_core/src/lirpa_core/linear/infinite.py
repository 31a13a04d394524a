"""Infinities of affine functions, such as those of a mask that is added to scores.

A bias is a real number or infinite; coefficients are always real. The infinities are kept apart from the
numbers, as a tensor that is ±∞ where the bias is infinite and zero elsewhere, so that no product ever meets
one. Where a coefficient is zero, what is behind it does not matter: `0 · ±∞ = 0`. Any other coefficient makes
the sum infinite, with the sign of the product; `∞ − ∞` is NaN, which the last check of every bound refuses. A
bias that is NaN, as SiLU of −∞ is, is kept there too, and counts as both infinities at once.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lirpa_core.linear.coefficients.base import Coefficients
from lirpa_core.linear.interval import Interval
from lirpa_core.linear.operators import LinearOp


def separated(bias: Tensor | None, may_be_infinite: bool) -> tuple[Tensor | None, Tensor | None]:
    """A bias as its numbers, zero where it is infinite, and its infinities, zero elsewhere.

    Args:
        bias: `[B, *S]`, or None for zero.
        may_be_infinite: Whether there may be infinities at all; where not, the bias stays as it is.

    Returns:
        Both parts; None stands for zero.
    """
    if bias is None or not may_be_infinite:
        return bias, None
    infinite = ~bias.isfinite()
    return torch.where(infinite, 0, bias), torch.where(infinite, bias.detach(), 0)


def plus(x: Tensor | None, y: Tensor | None) -> Tensor | None:
    """The sum of two of these parts; None stands for zero."""
    if x is None or y is None:
        return y if x is None else x
    return x + y


def split_dot_infinite(A: Coefficients, lower: Tensor | None, upper: Tensor | None) -> Tensor | None:
    """`Σ A⁺·lower + A⁻·upper` of infinities `[B, *S]`: `[R, B]`, each zero, ±∞ or NaN (`∞ − ∞`).

    Args:
        A: The coefficients.
        lower: Infinities on the lower side; None for none.
        upper: Infinities on the upper side; None for none.
    """
    total: Tensor | None = None
    for side, sign in ((lower, 1), (upper, -1)):
        if side is None:
            continue
        rows, zero = A if sign == 1 else A.negate(), side.new_zeros(())
        for end in (torch.inf, -torch.inf):
            # Only terms of one sign are summed, so that a sum is zero only where each of them is.
            met = rows.split_dot(_at(side, end), None) > 0
            total = plus(total, torch.where(met, sign * end, zero))
    return total


def split_dot(A: Coefficients, box: Interval, may_be_infinite: bool) -> Tensor:
    """The minimum of `Σ A·x` over a box that may have infinite ends: `[R, B]`.

    Args:
        A: The coefficients.
        box: `[B, *S]`.
        may_be_infinite: Whether there may be infinities at all.
    """
    if not may_be_infinite:
        return A.split_dot(box.lower, box.upper)
    (lower, below), (upper, above) = separated(box.lower, True), separated(box.upper, True)
    infinite = split_dot_infinite(A, below, above)
    assert infinite is not None
    return A.split_dot(lower, upper) + infinite


def apply_infinite(
    op: LinearOp, lower: Tensor | None, upper: Tensor | None
) -> tuple[Tensor | None, Tensor | None]:
    """Infinities `[B, *S_in]` below and above an operand, as those of an operator's lower and upper form.

    Args:
        op: The operator.
        lower: Infinities of the lower form; None for none.
        upper: Infinities of the upper form; None for none.

    Returns:
        `[B, *S_out]` each, zero, ±∞ or NaN; None for none.
    """
    some = lower if lower is not None else upper
    if some is None:
        return None, None
    none = torch.zeros_like(some)
    lower, upper = none if lower is None else lower, none if upper is None else upper
    falls = op.apply_split(-_at(lower, -torch.inf), _at(upper, torch.inf))
    rises = op.apply_split(_at(lower, torch.inf), -_at(upper, -torch.inf))
    zero = none.new_zeros(())
    low = torch.where(falls[0] < 0, -torch.inf, zero) + torch.where(rises[0] > 0, torch.inf, zero)
    up = torch.where(falls[1] > 0, torch.inf, zero) + torch.where(rises[1] < 0, -torch.inf, zero)
    return low, up


def _at(x: Tensor, end: float) -> Tensor:
    """One where `x` is this infinity or NaN, else zero."""
    return ((x == end) | x.isnan()).to(x.dtype)
