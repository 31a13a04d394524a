"""Rule of `lirpa_nlp::projected_product`: a product of two projections, as the scores `(W x)ᵀ (V y)` are.

McCormick's planes know the box of each factor only, and so lose `Σ_d r(Wx)_d r(Vy)_d` with `r` the radius. But the
factors come from a smaller secret: around `x₀` and `y₀`, what is not linear is `δxᵀ (WᵀV) δy`, whose size is
at most `r(x)ᵀ |WᵀV| r(y)`. Signs cancel in `WᵀV` that `|W|ᵀ|V|` adds up; for weights of random signs the loss
shrinks by about the root of the number of features.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lirpa_core.graph import Argument, Node, NodeKind, Ref
from lirpa_core.linear import Affine, Interval, Relaxation
from lirpa_core.linear.operators import align
from lirpa_core.operators import MatMul
from lirpa_core.problem import evaluate_node
from lirpa_core.rules import MIXTURE, Bilinear, Call, Const, Mixture, Product, Slope, mean_planes
from lirpa_core.rules.relaxations import mixed, shares_at
from lirpa_ops_nlp.operators import projected_product

aten = torch.ops.aten

#: Elements that the matrices `WᵀV` of all heads may have; larger ones are not worth their memory.
_LARGEST = 2**24


@dataclass(frozen=True, eq=False)
class Projection:
    """One factor in terms of what it is projected from.

    Attributes:
        value: The factor at the centre of the source's box, `[B, *H, T, d]`.
        weight: `[*H, d, D]`.
        center: Centre of the source, `[B, *H, T, D]`.
        radius: Radius of the source, `[B, *H, T, D]`.
    """

    value: Tensor
    weight: Tensor
    center: Tensor
    radius: Tensor


def projected_range(call: Call, inputs: tuple[Interval, ...]) -> Interval | None:
    """The exact product of the factors' boxes, and the sources' linear part and rest, intersected."""
    own = _MATMUL.ranges(call, inputs)
    if own is None or not _is_known(call):
        return own
    left, right = _projections(call, inputs)
    center = left.value @ right.value.mT
    radius = _rest(left, right)
    radius = radius + left.radius @ (right.value @ left.weight).abs().mT
    radius = radius + (left.value @ right.weight).abs() @ right.radius.mT
    shape = (-1, *call.shape)
    return own.intersect(Interval((center - radius).reshape(shape), (center + radius).reshape(shape)))


def projected_planes(product: Product) -> Relaxation | None:
    """The linear part at a pair of points, and the size of the rest.

    The points are the centres of the factors' own boxes with McCormick's rest, or the images of the sources'
    centres with the smaller of both rests: for each matrix of the product what leaves less in all.
    """
    call, x, y = product.call, product.x, product.y
    if not _is_known(call):
        return None
    left, right = _projections(call, product.inputs)
    images = (
        left.value.reshape(-1, *call.shapes[product.left]),
        right.value.mT.reshape(-1, *call.shapes[product.right]),
    )
    own = x.radius @ y.radius
    reach = (images[0] - x.midpoint).abs() + x.radius, (images[1] - y.midpoint).abs() + y.radius
    rest = _rest(left, right).reshape(-1, *call.shape).minimum(reach[0] @ reach[1])
    take = rest.flatten(1).sum(1) <= own.flatten(1).sum(1)

    def chosen(new: Tensor, old: Tensor) -> Tensor:
        return torch.where(take.reshape(-1, *[1] * (new.dim() - 1)), new, old)

    at, rest = (chosen(images[0], x.midpoint), chosen(images[1], y.midpoint)), chosen(rest, own)
    of_left = product.of_left(at[1])
    base = -of_left.apply(at[0])
    below = product.affine(of_left, product.of_right(at[0]), base - rest)
    return Relaxation(below, Affine(below.terms, base + rest))


def projected_shares(product: Product) -> tuple[Slope, ...]:
    """The shares of the rule's own planes, and of McCormick's two, below and above each output."""
    batch = max(product.x.lower.shape[0], product.y.lower.shape[0])
    first = torch.zeros(batch, *product.call.shape, dtype=torch.int64, device=product.x.lower.device)
    return (shares_at(first, 3, product.x.lower.dtype),) * 2


def projected_planes_with(product: Product, shares: Sequence[Tensor]) -> Relaxation:
    """The mixtures of these planes with given shares."""
    own = projected_planes(product) or mean_planes(product)
    one = torch.ones(1, *product.call.shape, dtype=product.x.lower.dtype, device=product.x.lower.device)
    first, second = (MIXTURE.planes(product, (share, share)) for share in (one, -one))
    return Relaxation(
        mixed((own.lower, first.lower, second.lower), shares[0]),
        mixed((own.upper, first.upper, second.upper), shares[1]),
    )


def _projections(call: Call, inputs: tuple[Interval | None, ...]) -> tuple[Projection, Projection]:
    left, right = call.shapes[call.slots["left"]], call.shapes[call.slots["right"]]
    return (
        _projection(call, "left", inputs, (*left[:-2], left[-2], left[-1])),
        _projection(call, "right", inputs, (*right[:-2], right[-1], right[-2])),
    )


def _known_sources(call: Call) -> tuple[str, ...]:
    return ("left_source", "right_source") if _is_known(call) else ()


_PARTS = tuple(f"{side}_{part}" for side in ("left", "right") for part in ("source", "weight", "bias"))


def _is_known(call: Call) -> bool:
    """Whether the projections are constant, and the sources are not."""
    moving = (call.slot(f"{side}_source") is not None for side in ("left", "right"))
    names = (f"{side}_{part}" for side in ("left", "right") for part in ("weight", "bias"))
    parts = (call[name] for name in names)
    return all(moving) and all(p is None or (isinstance(p, Const) and not p.batched) for p in parts)


def _projection(
    call: Call, side: str, inputs: tuple[Interval | None, ...], shape: tuple[int, ...]
) -> Projection:
    """Args: `shape` is that of the factor, its features last: `[*H, T, d]`."""
    slot = call.slot(f"{side}_source")
    assert slot is not None
    source = inputs[slot]
    assert source is not None
    rank = len(call.shape)
    tokens = torch.tensor(call[f"{side}_rows"], device=source.lower.device).reshape(shape[:-1])
    features = torch.tensor(call[f"{side}_features"], device=source.lower.device).reshape(
        *shape[:-2], shape[-1]
    )
    weight, bias = call[f"{side}_weight"].value, call[f"{side}_bias"]
    width = weight.shape[-1]
    center, radius = (
        align(x.reshape(x.shape[0], -1, width)[:, tokens], 1, rank) for x in (source.midpoint, source.radius)
    )
    W = align((weight * float(call[f"{side}_scale"]))[features], 0, rank)  # [*H, d, D]
    value = center @ W.mT
    if bias is not None:
        value = value + align((bias.value * float(call[f"{side}_scale"]))[features], 0, rank - 1).unsqueeze(
            -2
        )
    return Projection(value, W, center, radius)


def _rest(left: Projection, right: Projection) -> Tensor:
    """`r(x)ᵀ |WᵀV| r(y)` for every pair of rows."""
    return left.radius @ (left.weight.mT @ right.weight).abs() @ right.radius.mT


_MATMUL = MatMul("left", "right")
PROJECTED_PRODUCT = Bilinear(
    "left",
    "right",
    fixed=_MATMUL.operator,
    ranges=projected_range,
    planes=projected_planes,
    mixture=Mixture(projected_shares, projected_planes_with),
    context=_PARTS,
    reads_context=_known_sources,
)


# ---------------------------------------------------------------------- finding it in a graph


@dataclass(frozen=True)
class _Origin:
    """Where the elements of a factor come from.

    Attributes:
        linear: The linear layer.
        rows: Which row of the layer's input, `[*H, T]`.
        features: Which feature of the layer's output, `[*H, d]`.
        scale: By which they were multiplied on the way.
    """

    linear: Node
    rows: Tensor
    features: Tensor
    scale: float


def product_of_projections(node: Node, before: Mapping[str, Node]) -> Node | None:
    """A matrix product both of whose factors are rearranged outputs of linear layers."""
    refs = node.arguments[0].value, node.arguments[1].value
    if not all(isinstance(r, Ref) and len(before[r.name].shape) >= 2 for r in refs):
        return None
    left, right = (_origin(r.name, before, columns) for r, columns in zip(refs, (False, True), strict=True))
    if left is None or right is None:
        return None
    heads = torch.broadcast_shapes(left.features.shape[:-1], right.features.shape[:-1])
    widths = [before[_argument(o.linear, "weight").name].shape[-1] for o in (left, right)]
    if math.prod((*heads, *widths)) > _LARGEST:
        return None
    arguments = [Argument("left", refs[0]), Argument("right", refs[1])]
    for side, origin in (("left", left), ("right", right)):
        arguments += [
            Argument(f"{side}_source", _argument(origin.linear, "input")),
            Argument(f"{side}_weight", _argument(origin.linear, "weight")),
            Argument(f"{side}_bias", _argument(origin.linear, "bias")),
            Argument(f"{side}_rows", tuple(origin.rows.flatten().tolist())),
            Argument(f"{side}_features", tuple(origin.features.flatten().tolist())),
            Argument(f"{side}_scale", origin.scale),
        ]
    return dataclasses.replace(node, target=projected_product, arguments=tuple(arguments))


def _argument(node: Node, name: str) -> Any:
    return next(a.value for a in node.arguments if a.name == name)


def _origin(name: str, before: Mapping[str, Node], columns: bool) -> _Origin | None:
    """Follow a factor back to a linear layer, then send the numbers of its output's elements forward again."""
    way: list[Node] = []
    node, scale = before[name], 1.0
    while node.target is not aten.linear.default:
        factor = _scalar(node)
        if factor is None and node.target not in _MOVES:
            return None
        if factor is None:
            way.append(node)
        else:
            scale, way = scale * factor, [*way, node]
        node = before[node.inputs[0]]
    positions = Const(torch.arange(math.prod(node.shape)).reshape(node.shape))
    for step in reversed(way):
        if _scalar(step) is None:
            positions = evaluate_node(step, {step.inputs[0]: positions})
    numbers, width = positions.value.mT if columns else positions.value, node.shape[-1]
    rows, features = numbers // width, numbers % width
    if not bool((rows == rows[..., :1]).all()) or not bool((features == features[..., :1, :]).all()):
        return None
    return _Origin(node, rows[..., 0], features[..., 0, :], scale)


def _scalar(node: Node) -> float | None:
    """The number by which a node multiplies its operand."""
    if node.kind is not NodeKind.OPERATOR or len(node.inputs) != 1:
        return None
    values = [a.value for a in node.arguments if not isinstance(a.value, Ref)]
    if not values or not isinstance(values[0], (int, float)):
        return None
    if node.target in {aten.mul.Tensor, aten.mul.Scalar}:
        return float(values[0])
    return 1 / values[0] if node.target in {aten.div.Tensor, aten.div.Scalar} and values[0] else None


#: Operators that move elements of one operand about.
_MOVES = frozenset(
    {
        aten.reshape.default, aten.view.default, aten._unsafe_view.default, aten.expand.default,
        aten.transpose.int, aten.permute.default, aten.t.default, aten.mT.default, aten.movedim.int,
        aten.unsqueeze.default, aten.squeeze.dim, aten.squeeze.dims, aten.squeeze.default,
        aten.select.int, aten.slice.Tensor, aten.split.Tensor, aten.split_with_sizes.default, aten.chunk.default,
        aten.unbind.int, aten.unflatten.int, aten.flatten.using_ints, aten.narrow.default,
    }
)  # fmt: skip
