"""Lines under and over the logistic function that support its envelope at a given point."""

from __future__ import annotations

import torch
from torch import Tensor

from lirpa_core.operators import SIGMOID
from lirpa_core.rules.unary import LOWER, UPPER, chord, intercept, tangent_point


def sigmoid_line(low: Tensor, up: Tensor, at: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Slope and intercept of the line that supports the envelope of the logistic function at a point.

    The slope is differentiated with the ends and the point: bounds are not taken at the point alone. The intercept is
    sound for any slope.

    Args:
        low: Lower end of the interval.
        up: Upper end.
        at: The point, inside the interval.
        side: `LOWER` (convex envelope) or `UPPER` (concave envelope).
    """
    k = _upper_slope(low, up, at) if side == UPPER else _upper_slope(-up, -low, -at)
    return k, intercept(SIGMOID, low, up, k, side)


def _upper_slope(low: Tensor, up: Tensor, at: Tensor) -> Tensor:
    (span,) = SIGMOID.spans(low, up, UPPER)
    start = (low, SIGMOID.f(low))
    touch = tangent_point(SIGMOID, span, start, True, UPPER)  # stationary, but for where it is an end
    touch = torch.where(touch >= up.detach(), up, touch)
    slope, valid = chord(start, (touch, SIGMOID.f(touch)))
    straight = valid & (low < 0) & (at < touch)
    return torch.where(straight, slope, SIGMOID.slope(at))


__all__ = ["LOWER", "UPPER", "sigmoid_line"]
