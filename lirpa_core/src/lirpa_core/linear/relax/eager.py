"""The relaxation pass over dense coefficients, and sums over them, in pieces that stay in the cache.

On a CPU a new tensor that is larger than the cache costs several times what is computed in it, because its memory has
to be fetched and cleared. Where nobody looks on, so that every step may write where it likes, rows are therefore taken
a few at a time.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lirpa_core.devices import is_cpu, is_traced
from lirpa_core.linear.shapes import broadcast_shapes

#: Elements of a piece. Its temporaries, and what is read and written with it, stay in a cache of a megabyte.
PIECE = 2**17


def unobserved(*tensors: Tensor | None) -> bool:
    """Whether neither autograd, nor a transform of `torch.func`, nor the compiler looks on, and all is on the CPU."""
    if torch.is_grad_enabled() or is_traced() or not is_cpu(*tensors):
        return False
    return torch._C._functorch.maybe_current_level() is None  # there is no public way to ask


def relax_halves(positive: Tensor, negative: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """`positive·lower + negative·upper`; `positive` is a temporary of the caller's and may be overwritten.

    In place this takes half the time on a CPU, as no new memory has to be fetched.
    """
    if (
        positive.dtype == lower.dtype == upper.dtype
        and unobserved(positive)
        and broadcast_shapes(positive.shape, lower.shape) == positive.shape
    ):
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


def relax_pass(
    A: Tensor,
    slopes: tuple[Tensor, Tensor],
    biases: tuple[Tensor | None, Tensor | None],
    *,
    mirrored: bool,
) -> tuple[Tensor, Tensor | None]:
    """The whole relaxation pass of `A`, or of `[A; −A]`: read once and written once, with the sums over biases.

    Only for tensors of one type that are `unobserved`.

    Args:
        A: `[R, B or 1, n]`.
        slopes: Of the lower and the upper lines, `[B or 1, n]`.
        biases: Of the lower and the upper lines, `[B or 1, n]`; None stands for zero.
        mirrored: Whether `−A` is relaxed too.

    Returns:
        Coefficients `[R, B, n]`, or `[2R, B, n]` if mirrored, and the sums `[R, B]` or `[2R, B]`, None for zero.
    """
    low, up = slopes
    rows, each = A.shape[0], A.shape[2]
    batch = max([x.shape[-2] for x in (A, low, up, *biases) if x is not None])
    negated = (-low, -up) if mirrored else slopes
    out = A.new_empty(1 + mirrored, rows, batch, each)
    halves = out.unbind()
    used = [side for side in (0, 1) if biases[side] is not None]
    bias = A.new_empty(1 + mirrored, rows, batch) if used else None
    for part, few in blocks(rows, batch, each):
        whole = part.stop - part.start == rows and few.stop - few.start == batch
        found = relax_into(
            A if whole else A[part, few] if A.shape[1] > 1 else A[part],
            slopes if whole else (_of(low, few), _of(up, few)),
            negated if whole else (_of(negated[0], few), _of(negated[1], few)),
            halves if whole else [half[part, few] for half in halves],
        )
        if bias is None:
            continue
        for i, (signs, times) in enumerate((((0, 1), 1), ((1, 0), -1))[: 1 + mirrored]):
            sums = [_weighted(found[signs[side]], _of(biases[side], few)) for side in used]  # type: ignore[arg-type]
            total = sums[0] if len(sums) == 1 else sums[0] + sums[1]
            torch.mul(total, times, out=bias[i] if whole else bias[i, part, few])
    return out.view(-1, batch, each), None if bias is None else bias.view(-1, batch)


def _weighted(A: Tensor, value: Tensor) -> Tensor:
    """`Σ A·value` of a piece `[r, b, n]` and `[b, n]` or `[1, n]`: `[r, b]`."""
    if value.shape[0] == 1:
        return A @ value[0]
    total: Tensor = torch.linalg.vecdot(A, value)
    return total


def _of(side: Tensor, few: slice) -> Tensor:
    """Some examples of a value `[B or 1, n]`."""
    return side[few] if side.shape[0] > 1 else side


def pieces(rows: int, each: int) -> list[slice]:
    """Consecutive rows of `each` elements, as many at a time as a piece holds."""
    step = max(1, PIECE // max(1, each))
    return [slice(start, min(start + step, rows)) for start in range(0, rows, step)]


def blocks(rows: int, batch: int, each: int) -> list[tuple[slice, slice]]:
    """Rows and examples of `each` elements, as many at a time as a piece holds; rows first, which share lines."""
    parts = pieces(rows, each)
    examples = pieces(batch, each * rows) if len(parts) == 1 else pieces(batch, PIECE)
    return [(part, few) for few in examples for part in parts]


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
    each = rows * A.shape[2]
    if each >= PIECE // 2:  # a product with a vector is fastest, but one for each example
        for b in range(batch):
            sums[:, b] = _sums(A[:, b], value[b], absolute)
        return sums
    for few in pieces(batch, each):
        part = A[:, few]
        sums[:, few] = torch.linalg.vecdot(part.abs() if absolute else part, value[few])
    return sums


def _sums(A: Tensor, value: Tensor, absolute: bool) -> Tensor:
    """`A @ value` for a matrix `[R, n]`, or `|A| @ value`."""
    if not absolute:
        return A @ value
    parts = [A[part].abs() @ value for part in pieces(A.shape[0], A.shape[1])]
    return parts[0] if len(parts) == 1 else torch.cat(parts)
