"""Special functions: inverse error function, logarithm of the gamma function, entropy; positions in a sorted list."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lirpa_core.operators.activation.domains import unless_above, unless_from, unless_strictly_within
from lirpa_core.plugins import OperatorRegistry
from lirpa_core.rules.call import Call, Const
from lirpa_core.rules.unary import CONCAVE, CONVEX, Arc, Curve, Jump, Unary

#: Where the gamma function is least, among positive numbers (OEIS A030169).
_LEAST_GAMMA = 1.4616321449683623


def _erfinv_slope(x: Tensor) -> Tensor:
    return math.sqrt(math.pi) / 2 * torch.erfinv(x).square().exp()


def _erfinv_touch(k: Tensor) -> Tensor:
    return torch.erf((k * (2 / math.sqrt(math.pi))).clamp(min=1).log().sqrt())


ERFINV = Curve(
    rounding="relative",
    f=torch.erfinv,
    df=_erfinv_slope,
    arcs=(
        Arc(CONCAVE, end=0.0, inverse=lambda k: -_erfinv_touch(k)),
        Arc(CONVEX, start=0.0, inverse=_erfinv_touch),
    ),
    monotone=1,
    outside=unless_strictly_within(1),
    inside=0.0,
)


def _inverse_digamma(k: Tensor) -> Tensor:
    """Where the digamma function is `k` (Minka 2000, "Estimating a Dirichlet distribution", appendix C)."""
    k = k.detach()
    x = torch.where(k >= -2.22, k.clamp(max=700).exp() + 0.5, -1 / (k.clamp(max=-1) + 0.5772156649015329))
    for _ in range(5):
        x = x - (torch.digamma(x) - k) / torch.polygamma(1, x)
    return x


LGAMMA = Curve(
    f=torch.lgamma,
    df=torch.digamma,
    arcs=(Arc(CONVEX, inverse=_inverse_digamma),),
    extrema=(_LEAST_GAMMA,),
    shape=CONVEX,
    outside=unless_above(0),
)

ENTR = Curve(
    f=torch.special.entr,
    df=lambda x: -x.log() - 1,
    arcs=(Arc(CONCAVE, inverse=lambda k: (-1 - k).exp()),),
    extrema=(math.exp(-1),),
    shape=CONCAVE,
    outside=unless_from(0),
    singular=(0.0,),
)

# ---------------------------------------------------------------------- positions in a sorted list


def position(call: Call) -> Curve:
    """`bucketize` and `searchsorted`: how many of some sorted constants are below a number (or equal, with `right`)."""
    given: Const = call["boundaries"] if "boundaries" in call.arguments else call["sorted_sequence"]
    steps = given.value
    right = bool(call["right"]) or call.arguments.get("side") == "right"

    def f(x: Tensor) -> Tensor:
        return torch.searchsorted(steps.to(x.dtype), x.detach().contiguous(), right=right).to(x.dtype)

    jumps = tuple(Jump(at, float(i), float(i + 1)) for i, at in enumerate(steps.unbind(0)))
    return Curve(rounding="exact", f=f, df=torch.zeros_like, corners=jumps, monotone=1)


def _refuse_list(call: Call) -> str | None:
    given = call.arguments.get("boundaries", call.arguments.get("sorted_sequence"))
    if not isinstance(given, Const) or given.batched or given.value.dim() != 1:
        return "the sorted numbers must be one constant list, the same for all examples"
    return None if call.arguments.get("sorter") is None else "a sorter has no rule: sort the numbers before"


def register(registry: OperatorRegistry) -> None:
    """Register the rules of this file."""
    aten = torch.ops.aten
    registry.register(aten.erfinv.default, Unary(ERFINV))
    registry.register(aten.lgamma.default, Unary(LGAMMA))
    registry.register(aten.special_entr.default, Unary(ENTR))
    registry.register(aten.bucketize.Tensor, Unary(position, refuse=_refuse_list))
    registry.register(aten.searchsorted.Tensor, Unary(position, operands=("self",), refuse=_refuse_list))
