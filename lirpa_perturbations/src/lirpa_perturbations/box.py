"""The box that changed elements may range over: limits of values, as most threat models have them."""

from __future__ import annotations

import torch
from torch import Tensor

from lirpa_core.errors import PerturbationError
from lirpa_core.perturbations import Limit, broadcasts, examples_first, parse_limit, require_ordered, show

#: Allowance for rounding, in units of the spacing of floats.
ULPS = 32


def parse_box(x_L: object, x_U: object) -> tuple[Limit, Limit]:
    """Both limits, finite and ordered.

    Raises:
        PerturbationError: Naming the limit that is wrong.
    """
    limits = []
    for name, value in (("x_L", x_L), ("x_U", x_U)):
        limit = parse_limit(name, value)
        if limit is None:
            raise PerturbationError(f"{name} must be a number or a tensor, not None")
        if not bool(torch.as_tensor(limit).detach().isfinite().all()):
            raise PerturbationError(f"{name} must be finite, but is {show(limit)}")
        limits.append(limit)
    require_ordered(*(torch.as_tensor(limit).detach() for limit in limits))
    return limits[0], limits[1]


def align(limit: Limit, batch_dim: int | None, ndim: int) -> Limit:
    """A limit with its examples first, as `Perturbation.aligned` asks."""
    return examples_first(limit, batch_dim, ndim) if isinstance(limit, Tensor) else limit


def like(limit: Limit, x: Tensor) -> Tensor:
    """A limit in the precision and on the device of `x`: 0.1 in float64 is not 0.1 in float32."""
    return torch.as_tensor(limit, dtype=x.dtype, device=x.device)


def slack(*magnitudes: Tensor) -> Tensor:
    """What rounding may have done to a value, given all values that it came from."""
    largest = magnitudes[0].detach().abs()
    for magnitude in magnitudes[1:]:
        largest = largest.maximum(magnitude.detach().abs())
    return ULPS * torch.finfo(largest.dtype).eps * largest


def require_inside(x: Tensor, x_L: Limit, x_U: Limit) -> None:
    """Refuse limits that do not broadcast to `x` `[B, *S]`, and nominal values outside of them.

    Raises:
        PerturbationError: Naming the limit.
    """
    for name, limit, side in (("x_L", x_L, 1), ("x_U", x_U, -1)):
        if isinstance(limit, Tensor) and not broadcasts(limit, x):
            raise PerturbationError(
                f"{name} has shape {list(limit.shape)}, which does not broadcast to the perturbed "
                f"tensor's {list(x.shape)} (examples first)"
            )
        centre = x.detach()
        wall = like(limit, centre).detach().expand_as(centre)
        outside = side * (wall - centre) > slack(centre, wall)
        if bool(outside.any()):
            raise PerturbationError(
                f"the nominal value lies outside the box at {int(outside.sum())} elements: the first is "
                f"{centre[outside][0].item():.9g} with {name} = {wall[outside][0].item():.9g}; "
                f"clamp it, or give other limits"
            )


def walls(x: Tensor, x_L: Limit, x_U: Limit) -> tuple[Tensor, Tensor]:
    """The box around `x` `[B, *S]`, widened to hold `x` where rounding has put it outside."""
    lower, upper = like(x_L, x), like(x_U, x)
    return torch.where(x < lower, x, lower), torch.where(x > upper, x, upper)


def random_in(lower: Tensor, upper: Tensor, n: int, generator: torch.Generator | None) -> Tensor:
    """Random points `[n, B, *S]` of a box `[B, *S]`: interior ones, corners, and some of both."""
    shape = (n, *lower.shape)
    t = torch.rand(shape, dtype=lower.dtype, device=lower.device, generator=generator)
    kind = torch.arange(n, device=lower.device).reshape(-1, *[1] * lower.dim()) % 3
    t = torch.where(kind == 0, t, torch.where(kind == 1, t.round(), (2 * t - 0.5).clamp(0, 1)))
    return (lower * (1 - t) + upper * t).maximum(lower).minimum(upper)


def nearer_by(x: Tensor, moved: Tensor, z: Tensor) -> Tensor:
    """How much nearer to `z` an element gets by a move from `x`: `|z - x|² - |z - moved|²`, without cancellation.

    What a nearest point is chosen by, where a budget lets only some elements move.
    """
    return (moved - x) * (2 * z - x - moved)
