"""The relaxation pass over dense coefficients, and sums over them, in pieces that stay in the cache.

On a CPU a new tensor that is larger than the cache costs several times what is computed in it, because its memory has
to be fetched and cleared. Where nobody looks on, so that every step may write where it likes, rows are therefore taken
a few at a time.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

#: Elements of a piece. Its temporaries, and what is read and written with it, stay in a cache of a megabyte.
PIECE = 2**16


def unobserved(*tensors: Tensor | None) -> bool:
    """Whether neither autograd, nor a transform of `torch.func`, nor the compiler looks on, and all is on the CPU."""
    if torch.compiler.is_compiling() or torch.is_grad_enabled():
        return False
    if any([t is not None and t.device.type != "cpu" for t in tensors]):
        return False
    return torch._C._functorch.maybe_current_level() is None  # there is no public way to ask


def relax_halves(positive: Tensor, negative: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """`positive·lower + negative·upper`; `positive` is a temporary of the caller's and may be overwritten.

    In place this takes half the time on a CPU, as no new memory has to be fetched.
    """
    whole = torch.broadcast_shapes(positive.shape, lower.shape) == positive.shape
    if whole and positive.dtype == lower.dtype == upper.dtype and unobserved(positive):
        return positive.mul_(lower).addcmul_(negative, upper)
    return torch.addcmul(positive * lower, negative, upper)


def relax_into(
    A: Tensor, slopes: tuple[Tensor, Tensor], negated: tuple[Tensor, Tensor], out: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """Coefficients through lines below and above, written where they belong.

    Exact, since one of the products is zero.

    Args:
        A: Coefficients.
        slopes: Of the lower and the upper lines, broadcastable to `A`.
        negated: The same, negated.
        out: Where `A⁺·lower + A⁻·upper` goes and, if there is a second one, the same of `−A`.

    Returns:
        `A⁺` and `A⁻`.
    """
    positive, negative = torch.relu(A), A.clamp(max=0)
    torch.mul(positive, slopes[0], out=out[0]).addcmul_(negative, slopes[1])
    for mirrored in out[1:]:  # (−A)⁺ is −A⁻
        torch.mul(negative, negated[0], out=mirrored).addcmul_(positive, negated[1])
    return positive, negative


def pieces(rows: int, each: int) -> list[slice]:
    """Consecutive rows of `each` elements, as many at a time as a piece holds."""
    step = max(1, PIECE // max(1, each))
    return [slice(start, min(start + step, rows)) for start in range(0, rows, step)]


def blocks(rows: int, batch: int, each: int) -> list[tuple[slice, slice]]:
    """Rows and examples of `each` elements, as many at a time as a piece holds."""
    examples = pieces(batch, each)
    return [
        (part, few) for part in pieces(rows, each * (examples[0].stop if examples else 1)) for few in examples
    ]


def weighted_sums(A: Tensor, value: Tensor, *, absolute: bool = False) -> Tensor:
    """`Σ A·value`, or of `|A|`, over the last dimension: `[R, B]` for `[R, B, n]` and `[B, n]`, either batch one.

    Only for tensors of one type that are `unobserved`.
    """
    rows, batch = A.shape[0], max(A.shape[1], value.shape[0])
    if A.shape[1] == 1:
        return _sums(A[:, 0], value.T, absolute)
    if value.shape[0] == 1:
        return _sums(A.flatten(0, 1), value.T, absolute).view(rows, batch)
    sums = A.new_empty(rows, batch)
    for b in range(batch):
        sums[:, b] = _sums(A[:, b], value[b], absolute)
    return sums


def _sums(A: Tensor, value: Tensor, absolute: bool) -> Tensor:
    """`A @ value` for a matrix `[R, n]`, or `|A| @ value`."""
    if not absolute:
        return A @ value
    parts = [A[part].abs() @ value for part in pieces(A.shape[0], A.shape[1])]
    return parts[0] if len(parts) == 1 else torch.cat(parts)
