"""`y[mask] = value`, found before operators are decomposed: a choice by `where`, whose shapes do not depend on the mask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.fx import Node

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from lirpa_core.capture.recording import Recorded

aten = torch.ops.aten


def choose_by_masks(program: ExportedProgram | Recorded) -> None:
    """Replace, in place, every assignment of one value, or of one value an entry, to what a boolean mask picks.

    Assignments of as many values as the mask picks stay: their number depends on values.
    """
    graph = program.graph
    for node in list(graph.nodes):
        if node.target not in (aten.index_put_.default, aten.index_put.default):
            continue
        found = _masked(node)
        if found is None:
            continue
        into, mask, value = found
        rank, shape = into.meta["val"].dim(), tuple(mask.meta["val"].shape)
        with graph.inserting_before(node):
            if value.meta["val"].numel() == 1:
                value = _call(node, aten.view.default, value, [])
            if len(shape) < rank:
                mask = _call(node, aten.view.default, mask, [*shape, *[1] * (rank - len(shape))])
            chosen = _call(node, aten.where.self, mask, value, into)
            if node.target is aten.index_put_.default:
                chosen = _call(node, aten.copy_.default, into, chosen)
        node.replace_all_uses_with(chosen)
        graph.erase_node(node)
        chosen.name = node.name  # by which a program names its outputs


def _call(node: Node, target: Any, *args: Any) -> Node:
    made = node.graph.call_function(target, args)
    made.meta = {name: value for name, value in node.meta.items() if name != "val"}
    with torch.no_grad():
        values = [a.meta["val"] if isinstance(a, Node) else a for a in args]
        made.meta["val"] = values[0] if target is aten.copy_.default else target(*values)
    return made


def _masked(node: Node) -> tuple[Node, Node, Node] | None:
    """What is written into, the mask and the value, where an assignment is such a choice."""
    into, indices, value, *rest = node.args
    if (rest and rest[0]) or node.kwargs.get("accumulate"):
        return None
    if not isinstance(indices, (list, tuple)) or len(indices) != 1:
        return None
    nodes = (into, indices[0], value)
    if not all(isinstance(n, Node) and isinstance(n.meta.get("val"), Tensor) for n in nodes):
        return None
    self, mask, given = (n.meta["val"] for n in nodes)  # type: ignore[union-attr]
    if any(isinstance(size, torch.SymInt) for size in given.shape):  # as many as the mask picks
        return None
    if mask.dtype != torch.bool or mask.shape != self.shape[: mask.dim()]:
        return None
    # The picked entries are `[picked, *rest]`: a value without their first dimension is the same for all of them.
    entry = self.shape[mask.dim() :]
    if given.numel() != 1 and given.dim() > len(entry):
        return None
    return nodes  # type: ignore[return-value]
