"""Tensors that processes share: what can be gathered, how parts are joined, and whether two processes hold the same."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree  # the public torch.utils.pytree is not in all supported versions

from lirpa_core.errors import InputError


def joined(parts: Sequence[Any]) -> Any:
    """Tensors of consecutive rows as those of all rows, nested as each part is."""
    leaves, specs = zip(*[pytree.tree_flatten(part) for part in parts], strict=True)
    joint = [None if xs[0] is None else torch.cat(xs) for xs in zip(*leaves, strict=True)]
    return pytree.tree_unflatten(joint, specs[0])


def fingerprint(tensors: Iterable[Tensor]) -> int:
    """A number that tells tensors of other values, very likely, from these."""
    total = 0
    for t in tensors:
        raw = t.detach().contiguous().reshape(-1).view(torch.uint8).to(torch.int64)
        weights = torch.arange(raw.numel(), dtype=torch.int64, device=raw.device) * 6364136223846793005 + 1
        total = (
            total * 1000003 + int((raw * weights).sum()) + raw.numel()
        ) % 2**64  # sums of integers wrap, in any order
    return total


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
