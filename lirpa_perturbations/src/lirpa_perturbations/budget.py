"""Budgets that count: how many pixels, words or features may change."""

from __future__ import annotations

import torch
from torch import Tensor

from lirpa_core.errors import PerturbationError

#: A number of changes: one for all examples, or an integer tensor `[B]`.
Count = int | Tensor


def parse_count(name: str, value: object) -> Count:
    """A whole number of at least zero, or a tensor of such.

    Raises:
        PerturbationError: Naming the argument.
    """
    wrong = f"{name} must be a whole number of at least 0, or a tensor of one an example"
    if isinstance(value, Tensor):
        if value.dim() > 1 or value.numel() == 0 or value.is_complex() or value.dtype == torch.bool:
            raise PerturbationError(f"{wrong}, not a {value.dtype} of shape {list(value.shape)}")
        counts = value.detach()
        if bool((counts < 0).any() | (counts != counts.long()).any()):
            raise PerturbationError(f"{wrong}, but holds {counts.tolist()}")
        return int(counts) if counts.dim() == 0 else counts.long()
    if isinstance(value, (bool, str, bytes)):
        raise PerturbationError(f"{wrong}, not {value!r}")
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise PerturbationError(f"{wrong}, not {value!r}") from error
    if not number >= 0 or not number.is_integer():
        raise PerturbationError(f"{wrong}, but is {number:g}")
    return int(number)


def require_count(name: str, count: Count, x: Tensor, most: int | None = None, unit: str = "") -> None:
    """Refuse counts for another number of examples than `x` `[B, *S]` has, or above `most`.

    Raises:
        PerturbationError: Naming the argument.
    """
    if isinstance(count, Tensor) and count.shape[0] not in (1, x.shape[0]):
        raise PerturbationError(f"{name} has {count.shape[0]} elements for {x.shape[0]} examples")
    largest = int(count.max()) if isinstance(count, Tensor) else count
    if most is not None and largest > most:
        raise PerturbationError(f"{name} is {largest}, but there are only {most} {unit}")


def counts(count: Count, device: torch.device) -> Tensor:
    """`[B]`, or `[1]` where shared."""
    return count.to(device) if isinstance(count, Tensor) else torch.full((1,), count, device=device)


def top_sum(gains: Tensor, count: Count) -> Tensor:
    """Sum of the `count` largest of each row: `[..., B, G]` to `[..., B]`."""
    if isinstance(count, int):
        return gains.topk(min(count, gains.shape[-1]), dim=-1).values.sum(-1)
    limit = counts(count, gains.device).unsqueeze(-1)
    ordered = gains.topk(min(int(limit.max()), gains.shape[-1]), dim=-1).values
    rank = torch.arange(ordered.shape[-1], device=gains.device)
    return torch.where(rank < limit, ordered, 0).sum(-1)


def top_mask(gains: Tensor, count: Count) -> Tensor:
    """Which elements of each row are among its `count` largest: boolean, `[..., B, G]`."""
    order = gains.argsort(dim=-1, descending=True)
    rank = torch.arange(gains.shape[-1], device=gains.device).expand_as(gains)
    chosen = rank < counts(count, gains.device).unsqueeze(-1)
    return torch.zeros_like(gains, dtype=torch.bool).scatter(-1, order, chosen)


def show_count(count: Count) -> str:
    """A count in few words."""
    return str(count) if isinstance(count, int) else str(count.tolist())
