"""Rule of `lirpa_nlp::softmax_weighted_sum`: values mixed by the probabilities of a softmax, whose scores may be known."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lirpa_core.graph import Argument, Node, Ref, Shape
from lirpa_core.linear import Affine, Interval, Relaxation
from lirpa_core.linear.operators import LinearOp, align, sum_to
from lirpa_core.operators import MatMul
from lirpa_core.plugins import OperatorRegistry
from lirpa_core.rules import Bilinear, Call, Const, Mixture, Product, Slope
from lirpa_core.rules.relaxations import mixed, shares_at
from lirpa_ops_nlp.operators import masked_softmax, projected_product, softmax_weighted_sum
from lirpa_ops_nlp.projections import PROJECTED_PRODUCT, product_of_projections
from lirpa_ops_nlp.vertices import CHUNK, largest_weighted_sum

aten = torch.ops.aten


def weighted_sum_range(call: Call, inputs: tuple[Interval, ...]) -> Interval | None:
    """Bounds of `weights @ value` with `weights ≥ 0` and rows that sum to one (or are zero throughout).

    Exact for weights anywhere in their box whose sum is one, a fractional knapsack; and where the scores are
    known that the weights are a softmax of, for scores anywhere in theirs, see `vertices`.
    """
    i = call.slots.get("weights")
    if i is None:
        return None
    p, v = inputs[i], _values(call, inputs)
    shape = (-1, *call.shape)
    lower, upper = _cheapest(p, v.lower), -_cheapest(p, -v.upper)
    found = Interval(lower.reshape(shape), upper.reshape(shape))
    scores = _scores(call, inputs)
    if scores is None:
        return found
    rank = max(scores.lower.dim(), v.lower.dim()) - 1
    low, up = align(scores.lower, 1, rank), align(scores.upper, 1, rank)
    least = -largest_weighted_sum(low, up, align(-v.lower, 1, rank))
    most = largest_weighted_sum(low, up, align(v.upper, 1, rank))
    return found.intersect(Interval(least.reshape(shape), most.reshape(shape)))


def weighted_sum_planes(product: Product) -> Relaxation:
    """McCormick's planes that multiply the values by the least weights.

    That the sum of the weights is one allows to take a constant from the values, for each output the mean
    weighted by the widths of the weights: what is left for the weights' own planes to multiply is smaller.
    """
    (below, _), (above, _) = _both_planes(product)
    return Relaxation(below, above)


def _both_planes(product: Product) -> tuple[tuple[Affine, Affine], tuple[Affine, Affine]]:
    """McCormick's two planes below and the two above, first those with the least weights."""
    p, v = product.x, product.y
    width, alive = p.width, (p.upper > 0).any(-1, keepdim=True)
    total = width.sum(-1, keepdim=True)
    mean = torch.where(total > 0, width / torch.where(total > 0, total, 1), 1 / p.width.shape[-1])
    shift = product.of_left(v.midpoint).apply(torch.where(alive, mean, 0))
    low, up = product.of_right(p.lower), product.of_right(p.upper)

    def plane(end: Tensor, of_values: LinearOp, at: Tensor) -> Affine:
        base = product.of_left(end)
        return product.affine(Shifted(base, end, shift), of_values, shift - base.apply(at))

    return (
        (plane(v.lower, low, p.lower), plane(v.upper, up, p.upper)),
        (plane(v.upper, low, p.lower), plane(v.lower, up, p.upper)),
    )


def weighted_sum_shares(product: Product) -> tuple[Slope, ...]:
    """The shares of the two planes below and of the two above each output."""
    batch = max(product.x.lower.shape[0], product.y.lower.shape[0])
    first = torch.zeros(batch, *product.call.shape, dtype=torch.int64, device=product.x.lower.device)
    return (shares_at(first, 2, product.x.lower.dtype),) * 2


def weighted_sum_planes_with(product: Product, shares: Sequence[Tensor]) -> Relaxation:
    """The mixtures of McCormick's planes with given shares."""
    below, above = _both_planes(product)
    return Relaxation(mixed(below, shares[0]), mixed(above, shares[1]))


def _scores(call: Call, inputs: tuple[Interval, ...]) -> Interval | None:
    """The box of the scores, of the weights' shape; −∞ at both ends where a score is left out."""
    i, j = call.slots.get("scores"), call.slots.get("weights")
    if i is None or j is None:
        return None
    low, up, keep, shape = inputs[i].lower, inputs[i].upper, call["keep"], (-1, *call.shapes[j])
    if isinstance(keep, Const):
        kept = align(keep.value if keep.batched else keep.value[None], 1, len(call.shapes[i])) != 0
        low, up = torch.where(kept, low, -math.inf), torch.where(kept, up, -math.inf)
    return Interval(low.reshape(shape), up.reshape(shape))


def _values(call: Call, inputs: tuple[Interval, ...]) -> Interval:
    slot = call.slots.get("value")
    if slot is not None:
        return inputs[slot]
    fixed: Const = call["value"]
    value = fixed.value if fixed.batched else fixed.value[None]
    return Interval(value, value)


def _cheapest(p: Interval, cost: Tensor) -> Tensor:
    """`min Σⱼ pⱼ costⱼ` over `p` in its box with sum one (rows that are zero: zero): `[B, .., q, d]`.

    All weights at their lower ends, and what is missing given to the cheapest first.

    Args:
        p: Weights `[B, .., q, n]`.
        cost: `[B, .., n, d]`.
    """
    rank = max(p.lower.dim(), cost.dim()) - 1
    low, up, cost = align(p.lower, 1, rank), align(p.upper, 1, rank), align(cost, 1, rank)
    ordered, order = cost.mT.sort(-1)  # [B, .., d, n]
    outer = (
        math.prod(torch.broadcast_shapes(low.shape[:-2], cost.shape[:-2])) * cost.shape[-1] * cost.shape[-2]
    )
    step = max(1, CHUNK // max(1, outer))
    parts = [
        _fill(low[..., k : k + step, :], up[..., k : k + step, :], ordered, order)
        for k in range(0, low.shape[-2], step)
    ]
    return torch.cat(parts, -2)


def _fill(low: Tensor, up: Tensor, ordered: Tensor, order: Tensor) -> Tensor:
    alive = (up > 0).any(-1, keepdim=True)
    missing = torch.where(alive, 1 - low.sum(-1, keepdim=True), 0).clamp(min=0)
    q, d = low.shape[-2], order.shape[-2]
    lead = torch.broadcast_shapes(low.shape[:-2], order.shape[:-2])
    shape = (*lead, q, d, low.shape[-1])
    positions = order.unsqueeze(-3).expand(shape)
    room = (up - low).unsqueeze(-2).expand(shape).gather(-1, positions)
    before = room.cumsum(-1) - room
    given = (missing.unsqueeze(-1) - before).clamp(min=0).minimum(room)
    base = low.unsqueeze(-2).expand(shape).gather(-1, positions)
    return ((base + given) * ordered.unsqueeze(-3)).sum(-1)


@dataclass(frozen=True, eq=False)
class Shifted(LinearOp):
    """`p ↦ p @ values − (Σⱼ pⱼ)·shift`.

    Attributes:
        base: `p ↦ p @ values`.
        values: `[B, .., n, d]`.
        shift: `[B, .., q, d]`, the shape of the output.
    """

    base: LinearOp
    values: Tensor
    shift: Tensor

    @property
    def in_shape(self) -> Shape:
        return self.base.in_shape

    @property
    def out_shape(self) -> Shape:
        return tuple(self.shift.shape[1:])

    @property
    def fan_in(self) -> int:
        return 2 * self.in_shape[-1] + 2

    @property
    def fan_out(self) -> int:
        return 2 * self.base.fan_out + 2

    def magnitude(self, x: Tensor, lead: int = 1) -> Tensor:
        total = align(x.sum(-1, keepdim=True), lead, self.shift.dim() - 1)
        return self.base.magnitude(x, lead) + total * self.shift.abs()

    def apply(self, x: Tensor, lead: int = 1) -> Tensor:
        total = align(x.sum(-1, keepdim=True), lead, self.shift.dim() - 1)
        return self.base.apply(x, lead) - total * self.shift

    def apply_abs(self, x: Tensor, lead: int = 1) -> Tensor:
        rank = self.shift.dim() - 1
        W = (align(self.values, 1, rank).unsqueeze(-3) - self.shift.unsqueeze(-2)).abs()  # [B, .., q, n, d]
        return (align(x, lead, rank).unsqueeze(-2) @ W).squeeze(-2)

    def transpose(self, A: Tensor) -> Tensor:
        total = (A * self.shift).sum(-1, keepdim=True)
        return self.base.transpose(A) - sum_to(total, (*self.in_shape[:-1], 1), lead=2)


WEIGHTED_SUM = Bilinear(
    "weights",
    "value",
    fixed=MatMul("weights", "value").operator,
    ranges=weighted_sum_range,
    planes=weighted_sum_planes,
    mixture=Mixture(weighted_sum_shares, weighted_sum_planes_with),
    context=("scores",),
)


#: Operators whose result has rows of probabilities, and the argument that says along which dimension.
_SOFTMAXES = {
    aten.softmax.int: "dim",
    aten._softmax.default: "dim",
    aten._safe_softmax.default: "dim",
    masked_softmax: None,
}


def weighted_sum_of_softmax(node: Node, before: Mapping[str, Node]) -> Node | None:
    """A matrix product whose left factor is a softmax over its last dimension is a weighted sum.

    Only views that keep the last dimension may stand in between.
    """
    left, right = node.arguments[0].value, node.arguments[1].value
    if not isinstance(left, Ref) or not isinstance(right, Ref):
        return None
    weights = before[left.name]
    shape = weights.shape
    if len(shape) < 2 or len(before[right.name].shape) < 2:
        return None
    last = shape[-1]
    while weights.target in _VIEWS and weights.inputs:
        weights = before[weights.inputs[0]]
        if not weights.shape or weights.shape[-1] != last:
            return None
    if weights.target not in _SOFTMAXES:
        return None
    name = _SOFTMAXES[weights.target]
    dim = -1 if name is None else next(a.value for a in weights.arguments if a.name == name)
    if dim not in (-1, len(weights.shape) - 1):
        return None
    given = {a.name: a.value for a in weights.arguments}
    known = math.prod(shape) == math.prod(weights.shape)  # repeated by no view
    arguments = (
        Argument("weights", left),
        Argument("value", right),
        Argument("scores", given["self"] if known else None),
        Argument("keep", given.get("keep") if known else None),
    )
    return dataclasses.replace(node, target=softmax_weighted_sum, arguments=arguments)


def known_product(node: Node, before: Mapping[str, Node]) -> Node | None:
    """What is known of the factors of a matrix product: probabilities, or projections."""
    return weighted_sum_of_softmax(node, before) or product_of_projections(node, before)


_VIEWS = frozenset({aten.view.default, aten.reshape.default, aten._unsafe_view.default, aten.expand.default})


def register(registry: OperatorRegistry) -> None:
    """Register what may take the place of a matrix product."""
    registry.register(softmax_weighted_sum, WEIGHTED_SUM)
    registry.register(projected_product, PROJECTED_PRODUCT)
    for op in (aten.matmul.default, aten.bmm.default):
        registry.fuse(op, known_product)
