"""Sparsemax as people write it, `clamp(x − τ, min=0)`, becomes `lirpa::sparsemax`.

With `s` the sorted values and `c` their cumulative sums, the support is where `1 + k·s > c`; `τ` is `(c − 1) / k` at its last
element (a look-up at a counted position, or a sum over the support), or the largest of all `(c − 1) / k` (Martins and Astudillo
2016, "From softmax to sparsemax"). What bounds know of a counted position says nothing of the values there. Sums and
differences are compared as such, so their order does not matter; what is found is evaluated both ways before it is used.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor
from torch.fx import Node

from lirpa_core.capture.inlining import inlined, put_in_place
from lirpa_core.capture.patterns.verification import agree, evaluate
from lirpa_core.capture.reached import reached_by_anything

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from lirpa_core.capture.recording import Recorded

aten = torch.ops.aten

#: A sum of multiples: of nodes, of what has a name here, and under 1 of a number.
_Sum: TypeAlias = dict[Any, float]

_CONVERTED = (
    aten.to.dtype,
    aten._to_copy.default,
    aten.clone.default,
    aten.alias.default,
    aten.detach.default,
)
_CLAMPED = (aten.clamp.default, aten.clamp_min.default)
_DOUBLE_SIDED = {aten.gt.Tensor: 1, aten.ge.Tensor: 1, aten.lt.Tensor: -1, aten.le.Tensor: -1}


def write_sparsemax(program: ExportedProgram | Recorded) -> None:
    """Replace, in place, every sparsemax of something that is perturbed."""
    sorts = [n for n in program.graph.nodes if n.target in (aten.sort.default, aten.topk.default)]
    reached = reached_by_anything(program) if sorts else set()
    for sort in sorts:
        found = _Reading.of(sort, program.constants, reached)
        if found is None:
            continue
        for node in list(program.graph.nodes):
            if node.target in (*_CLAMPED, aten.relu.default) and found.is_sparsemax(node):
                _replace(program, node, found.x, found.dim)


def _replace(program: ExportedProgram | Recorded, node: Node, x: Node, dim: int) -> None:
    (new,) = inlined(lambda x: [torch.ops.lirpa.sparsemax.default(x, dim)], [x], node)
    constants = _values(program.constants, node.graph)
    if agree(node, new, [x], {}, constants):
        put_in_place(program, node, new)
        program.graph.erase_node(node)
    else:
        program.graph.erase_node(new)


def _values(constants: Mapping[str, Any], graph: torch.fx.Graph) -> dict[Node, Any]:
    """Values of what was a constant in the code, by its node."""
    found = {
        n: constants.get(n.name, constants.get(str(n.target))) for n in graph.nodes if n.op == "placeholder"
    }
    return {n: value.item() for n, value in found.items() if isinstance(value, Tensor) and value.numel() == 1}


@dataclass(frozen=True, eq=False)
class _Reading:
    """Sorted values, and what is made of them.

    Attributes:
        x: What is sorted.
        dim: The dimension.
        values: The sorted values.
        counts: Nodes that are 1, 2, .., n along the dimension, and those that are not, as far as they have been asked for.
        reached: Nodes that depend on what may be perturbed.
    """

    x: Node
    dim: int
    values: Node
    reached: set[Node]
    counts: dict[Node, bool] = field(default_factory=dict)

    @classmethod
    def of(cls, sort: Node, constants: Mapping[str, Any], reached: set[Node]) -> _Reading | None:
        """Reads a sort in descending order, or a `topk` of all; None for another one."""
        x = sort.args[0]
        if not isinstance(x, Node) or x not in reached or sort.kwargs:
            return None
        value = x.meta["val"]
        if value.dtype not in (torch.float32, torch.float64) or value.dim() == 0:
            return None
        given: list[Any] = list(sort.args)
        if sort.target is aten.sort.default:
            defaults: list[Any] = [-1, False]
            dim, descending = [*given[1:], *defaults[len(given) - 1 :]]
            whole = bool(descending)
        else:
            defaults = [None, -1, True, True]
            k, dim, largest, ordered = [*given[1:], *defaults[len(given) - 1 :]]
            whole = bool(largest and ordered) and k == value.shape[dim]
        values = next((u for u in sort.users if u.target is operator.getitem and u.args[1] == 0), None)
        if not whole or values is None or not isinstance(dim, int):
            return None
        return cls(x, dim % value.dim() - value.dim(), values, reached)

    def is_sparsemax(self, node: Node) -> bool:
        """Whether a node is what is above `τ`, by how much it is."""
        if node.target in _CLAMPED and (node.kwargs or [*node.args[1:]] not in ([0], [0.0], [0, None])):
            return False
        given = node.args[0]
        if not isinstance(given, Node) or given.meta["val"].shape != self.x.meta["val"].shape:
            return False
        parts = self._sum(given)
        if parts is None or parts.pop(self.x, 0) != 1 or len(parts) != 1:
            return False
        ((threshold, factor),) = parts.items()
        return factor == -1 and isinstance(threshold, Node) and self._is_threshold(threshold)

    def _is_threshold(self, node: Node) -> bool:
        if node.target is aten.amax.default:
            return self._reduces(node) and self._is_ratio(node.args[0], None)
        return self._is_ratio(node, "c of support")

    def _is_ratio(self, node: Any, wanted: str | None) -> bool:
        """Whether a node is `(c − 1) / k`, at the last of the support or everywhere."""
        if not isinstance(node, Node) or node.target is not aten.div.Tensor or node.kwargs:
            return False
        over, under = node.args
        if self._sum(over) != {wanted or "c": 1, 1: -1} or not isinstance(under, Node):
            return False
        return self._counts(under) if wanted is None else self._is_size(_plain(under))

    def _is_size(self, node: Any) -> bool:
        """Whether a node is how many elements the support has."""
        if isinstance(node, Node) and node.target is aten.unsqueeze.default:
            rank = node.meta["val"].dim()
            if node.args[1] % rank - rank != self.dim:
                return False
            node, kept = _plain(node.args[0]), False
        else:
            kept = True
        if not isinstance(node, Node) or node.target is not aten.sum.dim_IntList:
            return False
        return self._reduces(node, kept) and self._is_support(node.args[0])

    def _is_support(self, node: Any) -> bool:
        """Whether a node is where `1 + k · s > c`."""
        node = _plain(node)
        if not isinstance(node, Node) or node.target not in _DOUBLE_SIDED:
            return False
        sides = [self._sum(side) for side in node.args]
        if sides[0] is None or sides[1] is None:
            return False
        sign = _DOUBLE_SIDED[node.target]
        return _added(sides[0], sides[1], sign, -sign) == {"k·s": 1, "c": -1, 1: 1}

    def _reduces(self, node: Node, kept: bool = True) -> bool:
        """Whether a reduction is along the dimension alone, and keeps it or not."""
        arguments: list[Any] = list(node.args)
        defaults: list[Any] = [(), False]
        dims, keepdim, *rest = [*arguments[1:], *defaults[len(arguments) - 1 :]]
        rank = node.args[0].meta["val"].dim()  # type: ignore[union-attr]
        given = dims if isinstance(dims, list | tuple) else [dims]
        return [d % rank - rank for d in given] == [self.dim] and bool(keepdim) is kept and not any(rest)

    def _counts(self, node: Node) -> bool:
        """Whether a node is 1, 2, .., n along the dimension."""
        if node not in self.counts:
            self.counts[node] = self._counted(node)
        return self.counts[node]

    def _counted(self, node: Node) -> bool:
        if node in self.reached:
            return False
        shape = self.x.meta["val"].shape
        try:
            value = evaluate(node, {})
        except KeyError:
            return False
        n = shape[self.dim]
        wanted = torch.arange(1, n + 1).reshape(-1, *[1] * (-self.dim - 1))
        try:
            return bool((value.expand(shape) == wanted).all())
        except RuntimeError:
            return False

    def _sum(self, value: Any) -> _Sum | None:
        """What a node is a sum of; None if the numbers in it are not known."""
        if isinstance(value, bool | int | float):
            return {1: float(value)} if value else {}
        node = _plain(value)
        if not isinstance(node, Node):
            return None
        if node is self.x:
            return {node: 1}
        if node.target in (aten.add.Tensor, aten.sub.Tensor, aten.rsub.Scalar) and not node.kwargs:
            left, right = (self._sum(v) for v in node.args[:2])
            if left is None or right is None or len(node.args) > 2:
                return None
            signs = {aten.add.Tensor: (1, 1), aten.sub.Tensor: (1, -1)}.get(node.target, (-1, 1))
            return _added(left, right, *signs)
        if node.target is aten.cumsum.default and node.args[0] is self.values and not node.kwargs:
            return {"c": 1} if self._along(node.args[1]) else None
        if node.target is aten.mul.Tensor:
            a, b = node.args
            for one, other in ((a, b), (b, a)):
                if one is self.values and isinstance(other, Node) and self._counts(other):
                    return {"k·s": 1}
        if node.target is aten.sum.dim_IntList and self._reduces(node):
            product = node.args[0]
            if isinstance(product, Node) and product.target is aten.mul.Tensor:
                a, b = product.args
                if (a is self.values and self._is_support(b)) or (b is self.values and self._is_support(a)):
                    return {"c of support": 1}
        if node.target is aten.gather.default:
            return self._looked_up(node)
        return {node: 1}

    def _looked_up(self, node: Node) -> _Sum | None:
        source, dim, index = node.args[:3]
        read, place = self._sum(source), self._sum(index)
        if not self._along(dim) or read is None or place is None or place.pop(1, 0) != -1 or len(place) != 1:
            return {node: 1}
        ((size, factor),) = place.items()
        if factor != 1 or read.pop("c", 0) != 1 or set(read) - {1} or not self._is_size(size):
            return {node: 1}
        return {"c of support": 1, **read}

    def _along(self, dim: Any) -> bool:
        rank = self.x.meta["val"].dim()
        return isinstance(dim, int) and dim % rank - rank == self.dim


def _added(left: _Sum, right: _Sum, of_left: float, of_right: float) -> _Sum:
    total = {key: of_left * value for key, value in left.items()}
    for key, value in right.items():
        total[key] = total.get(key, 0.0) + of_right * value
    return {key: value for key, value in total.items() if value != 0}


def _plain(node: Any) -> Any:
    """What a node is a copy of, or a count or a mask as numbers; not what rounds numbers to another type."""
    while isinstance(node, Node) and node.target in _CONVERTED:
        (before, *_) = node.all_input_nodes
        types = {n.meta["val"].dtype for n in (node, before)}
        if len(types) > 1 and all(dtype.is_floating_point for dtype in types):
            return node
        node = before
    return node
