"""Tensors that processes share: what can be gathered, how parts are joined, and whether two processes hold the same."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree  # the public torch.utils.pytree is not in all supported versions

from lirpa_core.errors import InputError

#: How many bytes take part in a fingerprint at a time: each takes some 32 bytes of memory.
_PART = 2**20


def joined(parts: Sequence[Any]) -> Any:
    """Tensors of consecutive rows as those of all rows, nested as each part is."""
    leaves, specs = zip(*[pytree.tree_flatten(part) for part in parts], strict=True)
    joint = [None if xs[0] is None else torch.cat(xs) for xs in zip(*leaves, strict=True)]
    return pytree.tree_unflatten(joint, specs[0])


def fingerprint(tensors: Iterable[Tensor]) -> int:
    """A number that tells tensors of other values, very likely, from these, also those in another order."""
    total = 0
    for t in tensors:
        raw = t.detach().contiguous().reshape(-1).view(torch.uint8)
        for start in range(0, raw.numel(), _PART):
            part = raw[start : start + _PART].to(torch.int64)
            # sums of integers wrap, in any order
            total = (total * 1000003 + int((part * _weights(part)).sum())) % 2**64
        total = (total * 1000003 + raw.numel()) % 2**64
    return total


def _weights(part: Tensor) -> Tensor:
    """A number for each place, as SplitMix64 draws them (Steele, Lea and Flood 2014); multiples would not tell swapped bytes."""
    z = (torch.arange(part.numel(), dtype=torch.int64, device=part.device) + 1) * -7046029254386353131
    for shift, factor in ((30, -4658895280553007687), (27, -7723592293110705685)):
        z = (z ^ (z >> shift)) * factor
    return z ^ (z >> 31)


def checked(found: tuple[Any, ...], examples: int) -> tuple[Any, ...]:
    """What a function found about some examples, if it can be gathered.

    Raises:
        InputError: It is something else than tensors with these examples first, or has a gradient.
    """
    for x in pytree.tree_leaves(found):
        if x is None:
            continue
        if not isinstance(x, Tensor) or x.dim() < 1 or x.shape[0] != examples:
            what = f"a tensor of shape {list(x.shape)}" if isinstance(x, Tensor) else f"{x!r}"
            raise InputError(
                f"of {examples} examples the function returned {what}; expected tensors with these examples first, "
                f"[{examples}, ...]."
            )
        refuse_gradient(x)
    return found


def refuse_gradient(*tensors: Tensor | None) -> None:
    """Check that nobody expects a gradient through what processes gather.

    Raises:
        InputError: One of the tensors has a gradient.
    """
    if torch.is_grad_enabled() and any([t is not None and t.requires_grad for t in tensors]):
        raise InputError(
            "bounds that processes share have no gradients. Compute them inside of torch.no_grad(); to train, wrap "
            "lirpa_training.CertifiedLoss(model, ...) in torch.nn.parallel.DistributedDataParallel."
        )
