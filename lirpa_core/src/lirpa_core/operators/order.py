"""Order statistics: sorted values, the largest few, the k-th smallest, medians, and what their positions select.

The k-th smallest of `n` numbers never decreases in any of them, so its range over a box runs from the k-th smallest lower end
to the k-th smallest upper end. It is at most the maximum of any `k` of the numbers, and at least the minimum of any
`n − k + 1` (David and Nagaraja, *Order Statistics*, 3rd ed., sec. 1.1): planes of maxima and minima bound it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lirpa_core.graph import Argument, Node, Ref, Shape
from lirpa_core.linear.infinite import separated
from lirpa_core.linear.interval import Interval
from lirpa_core.linear.operators import OpOfShapes
from lirpa_core.linear.relaxation import Affine, Relaxation
from lirpa_core.operators.positions import with_positions
from lirpa_core.operators.possible_ranks import possible_ranks
from lirpa_core.plugins import OperatorRegistry
from lirpa_core.rules.call import Call
from lirpa_core.rules.general import General
from lirpa_core.rules.relaxations.maximum import maximum_planes
from lirpa_core.rules.selection import Candidates, Selection

aten = torch.ops.aten

#: Elements are compared by a number between their ends, so far from the end that counts; as for maxima.
_SHARE = 0.25


@dataclass(frozen=True, eq=False)
class RankMatrix(OpOfShapes):
    """A matrix for every line: `y_r = Σⱼ weight[r, j] · x_j`.

    Attributes:
        weight: `[B, *lines, m, n]`, where `lines` is the operand's shape without its dimension.
        dim: The dimension of the operand; None: all of them are one line.
        shapes: Shapes of the operand and of the result.
    """

    weight: Tensor
    dim: int | None
    shapes: tuple[Shape, Shape]

    @property
    def fan_in(self) -> int:
        return self.weight.shape[-1]

    @property
    def fan_out(self) -> int:
        return self.weight.shape[-2]

    def apply(self, x: Tensor, lead: int = 1) -> Tensor:
        return self._times(self.weight, x, lead)

    def apply_abs(self, x: Tensor, lead: int = 1) -> Tensor:
        return self._times(self.weight.abs(), x, lead)

    def transpose(self, A: Tensor) -> Tensor:
        m = self.weight.shape[-2]
        if self.dim is None:
            lines = A.reshape(*A.shape[:2], m)
        else:
            kept = (*self.in_shape[: self.dim], m, *self.in_shape[self.dim + 1 :])
            lines = A.reshape(*A.shape[:2], *kept).movedim(self.dim + 2, -1)
        found = (self.weight.mT @ lines.unsqueeze(-1)).squeeze(-1)
        if self.dim is None:
            return found.reshape(*found.shape[:2], *self.in_shape)
        return found.movedim(-1, self.dim + 2)

    def _times(self, weight: Tensor, x: Tensor, lead: int) -> Tensor:
        found = (weight @ _lines(x, self.dim, lead).unsqueeze(-1)).squeeze(-1)
        return _back(found, self.dim, lead, self.out_shape)


def _lines(x: Tensor, dim: int | None, lead: int) -> Tensor:
    """`[*L, B, *S]` to `[*L, B, *lines, n]`."""
    return x.reshape(*x.shape[:lead], -1) if dim is None else x.movedim(dim + lead, -1)


def _back(x: Tensor, dim: int | None, lead: int, shape: Shape) -> Tensor:
    """`[*L, B, *lines, m]` to `[*L, B, *shape]`."""
    moved = x if dim is None else x.movedim(-1, dim + lead)
    return moved.reshape(*moved.shape[:lead], *shape)


def _dim(call: Call) -> int | None:
    """The dimension that is ordered; None where all elements are one line."""
    rank = len(call.shapes[0])
    return call["dim"] % rank if "dim" in call.arguments and rank else None


def ranks(call: Call) -> list[int]:
    """For every element of the result along the line, how many numbers are below it, if none are equal."""
    dim = _dim(call)
    n = math.prod(call.shapes[0]) if dim is None else call.shapes[0][dim]
    given = call.arguments
    if "descending" in given:
        return list(range(n))[:: -1 if given["descending"] else 1]
    if "largest" in given:
        return list(range(n - 1, n - 1 - given["k"], -1)) if given["largest"] else list(range(given["k"]))
    return [given["k"] - 1 if "k" in given else (n - 1) // 2]


def _bound(call: Call, inputs: tuple[Interval, ...]) -> Interval:
    """The order statistics of the ends, exactly the range."""
    (x,) = inputs
    dim, chosen = _dim(call), ranks(call)

    def pick(end: Tensor) -> Tensor:
        return _back(_lines(end, dim, 1).sort(-1).values[..., chosen], dim, 1, call.shape)

    return Interval(pick(x.lower), pick(x.upper))


def _affine(call: Call, inputs: tuple[Interval, ...]) -> Relaxation:
    """The upper plane of the maximum of the `k` elements that reach least high, and the mirror image.

    The largest has the lower plane of the maximum, and the smallest the upper one of the minimum.
    """
    (x,) = inputs
    dim = _dim(call)
    lower, upper = _lines(x.lower, dim, 1), _lines(x.upper, dim, 1)  # [B, *lines, n]
    rank = torch.tensor(ranks(call), device=lower.device).unsqueeze(-1)  # [m, 1]
    low_end, high_end = (_key(call, *ends) for ends in ((lower, upper), (upper, lower)))
    least = _place(high_end).unsqueeze(-2) <= rank  # [B, *lines, m, n]
    greatest = _place(low_end).unsqueeze(-2) >= rank
    over = maximum_planes(*(torch.where(least, end.unsqueeze(-2), -math.inf) for end in (lower, upper)))
    under = maximum_planes(*(torch.where(greatest, -end.unsqueeze(-2), -math.inf) for end in (upper, lower)))
    shapes = call.shapes[0], call.shape
    largest = maximum_planes(lower, upper).below.unsqueeze(-2)
    smallest = maximum_planes(-upper, -lower).below.unsqueeze(-2)

    def side(weight: Tensor, bias: Tensor, at_end: Tensor, end: Tensor) -> Affine:
        weight = torch.where(at_end, end, weight)
        bias = torch.where(at_end.squeeze(-1), 0, bias)
        return Affine(
            (RankMatrix(weight, dim, shapes),), *separated(_back(bias, dim, 1, call.shape), call.infinite)
        )

    return Relaxation(
        side(under.above, -under.bias, rank == lower.shape[-1] - 1, largest),
        side(over.above, over.bias, rank == 0, smallest),
    )


def _key(call: Call, near: Tensor, far: Tensor) -> Tensor:
    """A number between two ends, by which elements are compared; the near end itself where an end is infinite."""
    key = near * (1 - _SHARE) + far * _SHARE
    return torch.where(near.isfinite() & far.isfinite(), key, near) if call.infinite else key


def _place(key: Tensor) -> Tensor:
    """The place of each element in the order of the keys along the last dimension."""
    return key.argsort(dim=-1, stable=True).argsort(dim=-1)


def _modes(call: Call, inputs: tuple[Interval, ...]) -> tuple[Candidates, ...]:
    """The smallest of the most frequent numbers: one that another one may equal, or the least if all differ."""
    (x,) = inputs
    shape, dim = call.shapes[0] or (1,), _dim(call) or 0
    lower, upper = (end.reshape(end.shape[0], *shape).movedim(dim + 1, -1) for end in (x.lower, x.upper))
    ranks = possible_ranks(lower, upper)
    possible = (ranks.least < ranks.greatest) | (ranks.least == 0)
    numbers = torch.arange(math.prod(shape), device=lower.device).reshape(shape).movedim(dim, -1)
    n = shape[dim]
    return (
        Candidates(
            "self", numbers.reshape(*call.shape, n), possible.reshape(possible.shape[0], *call.shape, n)
        ),
    )


def _refuse_mode(call: Call) -> str | None:
    return (
        "the position of the most frequent number has no rule, only its value"
        if call.node.output == 1
        else None
    )


def _refuse(call: Call) -> str | None:
    if call.arguments.get("sorted", True) is False:
        return "sorted=False leaves open in which order the values come; pass sorted=True"
    return None


# ---------------------------------------------------------------------- by position


def select_by_position(node: Node, nodes: Mapping[str, Node]) -> Node | None:
    """`gather(x, dim, sort(x, dim).indices)` is `sort(x, dim).values`; likewise for whatever gives positions in `x`."""
    given = {a.name: a.value for a in node.arguments}
    x = given["self"]
    positions = _positions(given["index"], nodes)
    while isinstance(x, Ref) and _keeps_all(nodes[x.name], nodes):
        x = nodes[x.name].arguments[0].value
    if positions is None or positions.target not in (*_POSITIONED, *_EXTREMA):
        return None
    if not isinstance(x, Ref) or positions.arguments[0].value != x:
        return None
    there = {a.name: a.value for a in positions.arguments}
    rank = len(nodes[x.name].shape)
    if not rank or there.get("dim") is None or (there["dim"] - given["dim"]) % rank:
        return None
    if positions.output == 1 and len(positions.shape) == rank:
        if not there.get("keepdim", True):
            return None
        return dataclasses.replace(
            node, target=positions.target, arguments=positions.arguments, output=0, origin="gather"
        )
    if positions.target in _EXTREMA and there.get("keepdim"):
        arguments = (Argument("self", x), Argument("dim", (there["dim"],)), Argument("keepdim", True))
        return dataclasses.replace(
            node, target=_EXTREMA[positions.target], arguments=arguments, origin="gather"
        )
    return None


def _positions(index: object, nodes: Mapping[str, Node]) -> Node | None:
    """What gives positions, behind what `take_along_dim` does to make them fit."""
    node = nodes.get(index.name) if isinstance(index, Ref) else None
    while node is not None:
        inner = node.arguments[0].value if node.arguments else None
        before = nodes.get(inner.name) if isinstance(inner, Ref) else None
        if before is None or not (_keeps_all(node, nodes) or _wraps(node, before, nodes)):
            return node
        node = before
    return None


def _keeps_all(node: Node, nodes: Mapping[str, Node]) -> bool:
    """Whether a node is an `expand` to the shape that there was."""
    before = node.arguments[0].value if node.arguments else None
    return (
        node.target is aten.expand.default
        and isinstance(before, Ref)
        and nodes[before.name].shape == node.shape
    )


def _wraps(node: Node, before: Node, nodes: Mapping[str, Node]) -> bool:
    """Whether a node is the remainder by the length of the line, which changes no position along it."""
    if node.target is not aten.remainder.Scalar:
        return False
    while _keeps_all(before, nodes):
        before = nodes[before.arguments[0].value.name]
    if before.target not in (*_POSITIONED, *_EXTREMA):
        return False
    there = {a.name: a.value for a in before.arguments}
    x = there["self"]
    shape = nodes[x.name].shape if isinstance(x, Ref) else ()
    if not shape or there.get("dim") is None:
        return False
    return bool(node.arguments[1].value >= shape[there["dim"]])


def quantile(
    self: Tensor,
    q: Tensor | float,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
) -> Tensor:
    """Interpolated between neighbours of the sorted values; `q` is constant."""
    x = self.reshape(-1) if dim is None or self.dim() == 0 else self.movedim(dim, -1)
    values = torch.sort(x, -1).values
    share = q if isinstance(q, Tensor) else torch.full((), q, dtype=self.dtype, device=self.device)
    place = share.reshape(-1) * (x.shape[-1] - 1)  # [q]
    below, above = place.floor(), place.ceil()
    weight = {
        "linear": place - below,
        "midpoint": (above - below) / 2,
        "lower": 0 * place,
        "higher": above - below,
    }.get(interpolation)
    if weight is None:
        below = above = place.round()
        weight = 0 * place
    low, high = (values.index_select(-1, p.to(torch.int64)) for p in (below, above))  # [.., q]
    found = low * (1 - weight) + high * weight
    if keepdim and dim is None:
        found = found.reshape(*[1] * self.dim(), -1)
    elif keepdim and dim is not None and self.dim():
        found = found.unsqueeze(dim % self.dim())
    found = found.movedim(-1, 0)
    return found if share.dim() else found.squeeze(0)


#: Operators whose second result says where the first lies.
_POSITIONED = frozenset(
    {
        aten.sort.default, aten.sort.stable, aten.topk.default, aten.kthvalue.default, aten.median.dim, aten.max.dim,
        aten.min.dim,
    }
)  # fmt: skip

#: Operators that give a position alone, and the operator of the value there.
_EXTREMA = {aten.argmax.default: aten.amax.default, aten.argmin.default: aten.amin.default}

ORDER: Sequence[torch._ops.OpOverload] = (
    aten.sort.default,
    aten.sort.stable,
    aten.topk.default,
    aten.kthvalue.default,
    aten.median.default,
    aten.median.dim,
    aten.nanmedian.default,
    aten.nanmedian.dim,
)


def register(registry: OperatorRegistry) -> None:
    """Register this file's rules and fusion."""
    rule = with_positions(
        General(("self",), _bound, _affine, refuse=_refuse), lambda call: (_dim(call), ranks(call)), _refuse
    )
    for op in ORDER:
        registry.register(op, rule)
    registry.register(aten.mode.default, Selection(("self",), _modes, refuse=_refuse_mode))
    registry.fuse(aten.gather.default, select_by_position)
    for op in (aten.quantile.default, aten.quantile.scalar):
        registry.decompose(op, quantile)
