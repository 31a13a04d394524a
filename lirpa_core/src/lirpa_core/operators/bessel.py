"""The Bessel function `J₀`: its range, by the slope that it has at most; no lines.

`|J₀′| = |J₁| ≤ 0.5819` and `−0.4028 ≤ J₀ ≤ 1` (NIST Handbook of Mathematical Functions, 10.14 and table 10.21). A box is cut in
equal parts, on each of which the value in the middle is off by half of its width times that slope. From 5 on PyTorch's kernel is off
by 3.8e-7 in float64, measured against Arb.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lirpa_core.linear.interval import Interval
from lirpa_core.linear.relaxation import Affine, Relaxation
from lirpa_core.linear.rounding import Accuracy
from lirpa_core.plugins import OperatorRegistry
from lirpa_core.rules.call import Call
from lirpa_core.rules.general import General
from lirpa_core.rules.off_by import OffBy

_STEEPEST, _LEAST = 0.58187, -0.40276
_ERROR = 2.0**-20
_PARTS = 64


class _J0(torch.autograd.Function):
    """`J₀` with the derivative `−J₁`, which PyTorch's own does not have: bounds would be constants for the gradient."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        value: Tensor = torch.special.bessel_j0(x)
        return value

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *up: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        slope: Tensor = -torch.special.bessel_j1(x)
        return up[0] * slope


def _bound(call: Call, inputs: tuple[Interval, ...]) -> Interval:
    (x,) = inputs
    shares = (torch.arange(_PARTS, dtype=x.lower.dtype, device=x.lower.device) + 0.5) / _PARTS
    shares = shares.reshape(-1, *[1] * x.lower.dim())
    middles = x.lower * (1 - shares) + x.upper * shares
    values: Tensor = _J0.apply(middles)  # type: ignore[no-untyped-call]
    reach = (x.upper - x.lower) / (2 * _PARTS) * _STEEPEST
    return Interval((values.amin(0) - reach).clamp(_LEAST, 1), (values.amax(0) + reach).clamp(_LEAST, 1))


def _affine(call: Call, inputs: tuple[Interval, ...]) -> Relaxation:
    box = _bound(call, inputs)
    return Relaxation(Affine((None,), box.lower), Affine((None,), box.upper))


def _accuracy(call: Call) -> Accuracy:
    """Middles are rounded relative to the operand, whose error the slope is below one of."""
    return Accuracy(64, absolute=True, unit=True)


BESSEL_J0 = OffBy(General(("self",), _bound, _affine, precision=_accuracy), lambda call: 0.0, _ERROR)


def register(registry: OperatorRegistry) -> None:
    """Register this file's rule."""
    registry.register(torch.ops.aten.special_bessel_j0.default, BESSEL_J0)
