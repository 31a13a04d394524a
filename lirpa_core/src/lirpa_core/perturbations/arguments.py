"""Reading what a user passes to a perturbation, with errors that name the argument."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, TypeAlias

import torch
from torch import Tensor

from lirpa_core.devices import unreadable
from lirpa_core.errors import PerturbationError

#: A limit or a radius: one number, or a tensor of them.
Limit: TypeAlias = "float | Tensor"


def parse_exponent(norm: Any) -> float:
    """The exponent of an Lp norm, as a Python float."""
    if isinstance(norm, (str, bytes, bool)):
        raise PerturbationError(f"norm must be a number of at least 1 (math.inf for L∞), not {norm!r}")
    try:
        p = float(norm)
    except (TypeError, ValueError, RuntimeError) as error:
        raise PerturbationError(f"norm must be a number of at least 1, not {norm!r}") from error
    if not p >= 1:
        raise PerturbationError(f"norm must be at least 1, but is {p:g}; for L0 use PerturbationL0Norm")
    return p


def parse_limit(name: str, value: Any) -> Limit | None:
    """A Python float for a number, a floating point tensor for anything that holds several."""
    if value is None:
        return None
    if isinstance(value, Tensor):
        tensor = value
    else:
        if isinstance(value, (str, bytes, bool)):
            raise PerturbationError(f"{name} must be a number or a tensor, not {value!r}")
        with suppress(TypeError, ValueError):
            return float(value)
        try:
            tensor = torch.as_tensor(value)
        except (TypeError, ValueError, RuntimeError) as error:
            given = type(value).__name__
            raise PerturbationError(f"{name} must be a number or a tensor, not {given}") from error
    what = unreadable(tensor)
    if what is not None:
        raise PerturbationError(f"{name} is {what}.")
    if tensor.is_complex() or tensor.dtype == torch.bool:
        raise PerturbationError(f"{name} must be real, but has dtype {tensor.dtype}")
    return tensor if tensor.is_floating_point() else tensor.to(torch.get_default_dtype())


def require_ordered(lower: Tensor, upper: Tensor) -> None:
    """Refuse a box whose lower limits exceed its upper ones."""
    try:
        crossed = lower.to(upper.device) > upper
    except RuntimeError as error:
        raise PerturbationError(
            f"x_L has shape {list(lower.shape)} and x_U {list(upper.shape)}, which do not fit each other"
        ) from error
    if bool(crossed.any()):
        lower, upper = lower.to(upper.device).expand_as(crossed), upper.expand_as(crossed)
        raise PerturbationError(
            f"x_L must not exceed x_U, but does at {int(crossed.sum())} elements: the first has "
            f"x_L = {lower[crossed][0].item():.9g}, x_U = {upper[crossed][0].item():.9g}"
        )


def broadcasts(value: Tensor, x: Tensor) -> bool:
    """Whether a tensor broadcasts to the shape of `x` without enlarging it."""
    if value.dim() > x.dim():
        return False
    pairs = zip(reversed(value.shape), reversed(x.shape), strict=False)
    return all(have in (1, want) for have, want in pairs)


def show(value: Limit) -> str:
    """A number or tensor in few words."""
    if not isinstance(value, Tensor):
        return f"{value:g}"
    if value.numel() == 1:
        return f"{value.item():g}"
    low, high = value.detach().min().item(), value.detach().max().item()
    return f"tensor of shape {list(value.shape)} in [{low:g}, {high:g}]"
