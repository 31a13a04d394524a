"""The operator `lirpa::sparsemax`, the projection onto probabilities (Martins and Astudillo 2016), and its rule.

`p = relu(x − τ(x))`, where `τ` is such that `p` sums to one. For every set `S` of elements `Σ_S (xᵢ − τ) ≤ 1`, and with
equality for the support: `τ(x) = max_S (Σ_S xᵢ − 1) / |S|`, convex, and rising by at most as much as any element does. So
`p_j` rises in `x_j` and falls in all others, which gives its exact range; any `S` gives a plane below `τ`, and a plane
`g · x + b` is above it for `b = max_k (max_{|S| = k} max_x (Σ_S xᵢ / k − g · x) − 1 / k)`, where the maximum over `S` takes the
`k` elements that gain most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lirpa_core.linear.interval import Interval
from lirpa_core.linear.relaxation import Affine, Relaxation
from lirpa_core.linear.rounding import Accuracy, gamma
from lirpa_core.operators.order import RankMatrix
from lirpa_core.plugins import OperatorRegistry
from lirpa_core.rules.base import Slope
from lirpa_core.rules.call import Call
from lirpa_core.rules.general import General


def _margins(x: Tensor) -> Tensor:
    """`x − τ(x)` along the last dimension; less than it is, but negative, for elements one below the largest or more."""
    z = (x - x.amax(-1, keepdim=True)).clamp(min=-1)
    k = torch.arange(1, x.shape[-1] + 1, dtype=x.dtype, device=x.device)
    return z - ((z.sort(-1, descending=True).values.cumsum(-1) - 1) / k).amax(-1, keepdim=True)


def _sparsemax(self: Tensor, dim: int) -> Tensor:
    """Sparsemax along a dimension."""
    return torch.relu(_margins(self.movedim(dim, -1))).movedim(-1, dim)


_LIBRARY = torch.library.Library("lirpa", "FRAGMENT")
_LIBRARY.define("sparsemax(Tensor self, int dim) -> Tensor")
for _key in ("CompositeImplicitAutograd", "FuncTorchBatchedDecomposition"):  # the latter for `vmap`
    _LIBRARY.impl("sparsemax", _sparsemax, _key)


def _along(call: Call) -> int:
    return int(call["dim"]) % len(call.shape)


def _extreme(own: Tensor, others: Tensor) -> Tensor:
    """Margins of each element at one end, with all others at the other end, `[B, *lines, n]`."""
    diagonal = torch.eye(own.shape[-1], dtype=torch.bool, device=own.device)
    each = torch.where(diagonal, own.unsqueeze(-2), others.unsqueeze(-2))  # [.., j, i]
    largest = each.amax(-1, keepdim=True)
    beyond = (own - largest.squeeze(-1) + 1).clamp(max=0)  # what `_margins` cuts off counts for a chord
    return _margins(each).diagonal(dim1=-2, dim2=-1) + beyond


def _bound(call: Call, inputs: tuple[Interval, ...]) -> Interval:
    """Each element at one end, all others at the other one."""
    lower, upper = (end.movedim(_along(call) + 1, -1) for end in (inputs[0].lower, inputs[0].upper))
    ends = (torch.relu(_extreme(own, rest)) for own, rest in ((lower, upper), (upper, lower)))
    low, up = (end.movedim(-1, _along(call) + 1) for end in ends)
    return Interval(low, up.clamp(max=1))


@dataclass(frozen=True, eq=False)
class _Planes:
    """For every element a plane below, `rows · x + under`, and one above, `steep · (rows · x + over)`, lines last.

    Attributes:
        rows: `[B, *lines, n, n]`.
        under: `[B, *lines, n]`.
        steep: Likewise.
        over: Likewise.
        low: The least value, which is another plane below.
        up: The greatest value.
        lower_share: Share of the sloped plane below that is better at the middle of the box: all or nothing.
        upper_share: Likewise above.
    """

    rows: Tensor
    under: Tensor
    steep: Tensor
    over: Tensor
    low: Tensor
    up: Tensor
    lower_share: Tensor
    upper_share: Tensor

    @classmethod
    def of(cls, call: Call, x: Interval) -> _Planes:
        dim = _along(call) + 1
        lower, upper = x.lower.movedim(dim, -1), x.upper.movedim(dim, -1)
        box = _bound(call, (x,))
        low, up = box.lower.movedim(dim, -1), box.upper.movedim(dim, -1)
        middle = lower / 2 + upper / 2
        support = (_margins(middle) > 0).to(lower.dtype)  # the largest is always in it
        count = support.sum(-1, keepdim=True)
        g = support / count
        least, most = _extreme(lower, upper).clamp(max=0), torch.relu(_extreme(upper, lower))
        steep = torch.where(least < 0, most / torch.where(least < 0, most - least, 1), torch.ones_like(most))
        rows = torch.eye(lower.shape[-1], dtype=lower.dtype, device=lower.device) - g.unsqueeze(-2)
        under, over = -_intercept(lower, upper, g).expand(low.shape), 1 / count - least
        here = middle - (g * middle).sum(-1, keepdim=True)
        lower_share, upper_share = here + under > low, steep * (here + over) < up
        return cls(rows, under, steep, over, low, up, lower_share.to(low.dtype), upper_share.to(low.dtype))


def _affine(call: Call, inputs: tuple[Interval, ...], slopes: Sequence[Tensor] | None = None) -> Relaxation:
    """Mixtures of the sloped planes and the ends of the range; all of the better one by default."""
    planes, dim = _Planes.of(call, inputs[0]), _along(call)
    shares = (planes.lower_share, planes.upper_share)
    if slopes is not None:
        given = [slope.clamp(0, 1).movedim(dim + 1, -1) for slope in slopes]
        shares = given[0], given[1]

    def side(share: Tensor, slope: Tensor, bias: Tensor, end: Tensor) -> Affine:
        total = slope * bias + (1 - share) * end
        op = RankMatrix(slope.unsqueeze(-1) * planes.rows, dim, (call.shapes[0], call.shape))
        return Affine((op,), total.movedim(-1, dim + 1))

    return Relaxation(
        side(shares[0], shares[0], planes.under, planes.low),
        side(shares[1], shares[1] * planes.steep, planes.over, planes.up),
    )


def _intercept(lower: Tensor, upper: Tensor, g: Tensor) -> Tensor:
    """The least `b` with `τ(x) ≤ g · x + b` on a box, for `g ≥ 0` that sum to one, `[.., 1]`; rounded upwards."""
    n = lower.shape[-1]
    top = upper.amax(-1, keepdim=True)
    lower, upper = lower - top, upper - top  # both sides move alike
    k = torch.arange(1, n + 1, dtype=lower.dtype, device=lower.device).unsqueeze(-1)  # [n, 1]
    w = -g * lower  # what an element outside of S gives
    rate = 1 / k - g.unsqueeze(-2)  # [.., k, i]
    v = torch.maximum(rate * lower.unsqueeze(-2), rate * upper.unsqueeze(-2))
    gain = (v - w.unsqueeze(-2)).sort(-1, descending=True).values.cumsum(-1)
    best = gain.diagonal(dim1=-2, dim2=-1) + w.sum(-1, keepdim=True) - 1 / k.squeeze(-1)
    size = (v.abs() + w.abs().unsqueeze(-2)).sum((-2, -1)).unsqueeze(-1) + 1
    return best.amax(-1, keepdim=True) + gamma(4 * n + 16, lower.dtype) * size.detach()


def _choices(call: Call, inputs: tuple[Interval, ...]) -> tuple[Slope, ...]:
    """Shares of the sloped planes, below and above; the rest is the end of the range."""
    planes = _Planes.of(call, inputs[0])
    moves = (inputs[0].upper > inputs[0].lower).any(_along(call) + 1, keepdim=True)
    found = []
    for share in (planes.lower_share, planes.upper_share):
        start = share.movedim(-1, _along(call) + 1)
        found.append(Slope(start, torch.where(moves, 0, start), torch.where(moves, 1, start)))
    return tuple(found)


def _refuse(call: Call) -> str | None:
    if not call.shape:
        return "sparsemax of a number is one; leave it out"
    return "scores may be infinite; leave out what is masked" if call.infinite else None


SPARSEMAX = General(
    ("self",),
    _bound,
    _affine,
    refuse=_refuse,
    precision=lambda call: Accuracy(64 + 4 * call.shape[_along(call)], unit=True),
    choices=_choices,
    affine_with=_affine,
)


def register(registry: OperatorRegistry) -> None:
    """Register this file's rule."""
    registry.register(torch.ops.lirpa.sparsemax.default, SPARSEMAX)
