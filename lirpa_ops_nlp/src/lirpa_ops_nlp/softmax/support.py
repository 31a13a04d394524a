"""Lines under and over the logistic function that support its envelope at a given point."""

from __future__ import annotations

import torch
from torch import Tensor

from lirpa_core.operators import SIGMOID
from lirpa_core.rules.unary import LOWER, UPPER, chord, intercept, tangent_point


def sigmoid_line(low: Tensor, up: Tensor, at: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Slope and intercept of the line that supports the envelope of the logistic function at a point.

    The slope is not differentiated: where the line is best at `at`, its value there does not depend on
    it to first order. The intercept is sound for any slope.

    Args:
        low: Lower end of the interval.
        up: Upper end.
        at: The point, inside the interval.
        side: `LOWER` (convex envelope) or `UPPER` (concave envelope).
    """
    a, b, x = low.detach(), up.detach(), at.detach()
    k = _upper_slope(a, b, x) if side == UPPER else _upper_slope(-b, -a, -x)
    return k, intercept(SIGMOID, low, up, k, side)


def _upper_slope(low: Tensor, up: Tensor, at: Tensor) -> Tensor:
    (span,) = SIGMOID.spans(low, up, UPPER)
    start = (low, SIGMOID.f(low))
    touch = tangent_point(SIGMOID, span, start, True, UPPER)
    slope, valid = chord(start, (touch, SIGMOID.f(touch)))
    straight = valid & (low < 0) & (at < touch)
    return torch.where(straight, slope, SIGMOID.slope(at))


__all__ = ["LOWER", "UPPER", "sigmoid_line"]
