"""What `topk` returns, written back to where it was: a choice by a mask, `where(among_topk(x), x, otherwise)`.

As two facts, where each of the values goes and how large it is, the bounds of neither know of the other.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.fx import Node

from lirpa_core.capture.inlining import inlined, put_in_place
from lirpa_core.capture.reached import reached_by_anything

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from lirpa_core.capture.recording import Recorded

aten = torch.ops.aten


def write_out_order(program: ExportedProgram | Recorded) -> None:
    """Write out, in place, every `scatter` of what `topk` of something that an input reaches returns, or of a number."""
    nodes = [n for n in program.graph.nodes if n.target in (aten.scatter.src, aten.scatter.value)]
    if not nodes:
        return
    reached = reached_by_anything(program)
    for node in nodes:
        given = _of_topk(node)
        if given is None:
            continue
        x, arguments, value = given
        if x not in reached:
            continue
        (found,) = inlined(_chosen(*arguments, value), [node.args[0], x], node)
        put_in_place(program, node, found)
        program.graph.erase_node(node)


def _chosen(k: int, dim: int, largest: bool, value: float | None) -> Callable[[Tensor, Tensor], list[Tensor]]:
    def chosen(otherwise: Tensor, x: Tensor) -> list[Tensor]:
        mask = torch.ops.lirpa.among_topk.default(x, k, dim, largest)
        return [torch.where(mask, x if value is None else value, otherwise)]

    return chosen


def _of_topk(node: Node) -> tuple[Node, tuple[int, int, bool], float | None] | None:
    """What the positions that are written to are the first `k` of, and the number that is written; None for other calls."""
    if len(node.args) < 4 or node.kwargs:
        return None
    given: list[Any] = list(node.args)
    otherwise, dim, index, source = given
    topk = _result(index, 1)
    if topk is None or topk.target is not aten.topk.default or not isinstance(otherwise, Node):
        return None
    of_topk: list[Any] = list(topk.args)
    defaults: list[Any] = [-1, True, True]
    x, k, along, largest, _ = [*of_topk, *defaults[len(of_topk) - 2 :]]
    if topk.kwargs or not isinstance(x, Node) or not isinstance(dim, int):
        return None
    shape, own = otherwise.meta["val"].shape, x.meta["val"]
    if shape != own.shape or otherwise.meta["val"].dtype != own.dtype or own.dim() == 0:
        return None
    if (along - dim) % own.dim():
        return None
    if node.target is aten.scatter.value:
        return (x, (k, along, largest), source) if isinstance(source, int | float) else None
    return (x, (k, along, largest), None) if _same(_result(source, 0), topk) else None


def _same(one: Node | None, other: Node) -> bool:
    """Whether two calls are one, or the same one made twice, which capture has not merged yet."""
    if one is None or one is other:
        return one is other
    return (one.target, one.args, one.kwargs) == (other.target, other.args, other.kwargs)


def _result(value: Any, position: int) -> Node | None:
    """The node with several results that a value is the one at a position of."""
    if isinstance(value, Node) and value.target is operator.getitem and value.args[1] == position:
        found = value.args[0]
        return found if isinstance(found, Node) else None
    return None
