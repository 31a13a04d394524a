"""Masked softmax, found before operators are decomposed: −∞ is no number that bounds can be computed with.

`scores.masked_fill(mask, -inf).softmax(dim)` is the usual way to leave scores out. Its value is exact,
but the −∞ in between would turn into NaN in every linear bound. So the pair becomes one operator,
`lirpa::masked_softmax`, which a plugin may know and which otherwise leaves the masked scores out of the sum.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch.fx import Node

import lirpa_core.operators.masked_softmax  # noqa: F401  (defines lirpa::masked_softmax)

if TYPE_CHECKING:
    from torch.export import ExportedProgram

aten = torch.ops.aten


def fuse_masked_softmax(program: ExportedProgram) -> None:
    """Replace every softmax of masked scores in a program, in place.

    Where nothing but masked scores is left, PyTorch's softmax is NaN, and this one zero.
    """
    graph = program.graph
    for node in list(graph.nodes):
        if node.target not in (aten.softmax.int, aten._softmax.default) or not _keeps_dtype(node):
            continue
        scores, masks, replaced = node.args[0], [], []
        while (found := _masked(scores)) is not None:
            replaced.append(scores)
            scores, mask = found
            masks.append(mask)
        if not masks:
            continue
        with graph.inserting_before(node):
            mask = masks[0]
            for other in masks[1:]:
                mask = graph.call_function(aten.logical_or.default, (mask, other))
        node.target = (
            torch.ops.lirpa.masked_softmax.default
        )  # the node keeps its name, which may be an output's
        node.args = (scores, mask, node.args[1])
        node.kwargs = {}
        # Not all dead code: what enters and leaves torch.func's transforms has no users, and is what they consist of.
        for old in replaced:
            if not old.users:
                graph.erase_node(old)


def _keeps_dtype(node: Node) -> bool:
    wanted = node.args[2] if len(node.args) > 2 else node.kwargs.get("dtype")
    return not wanted


def _masked(node: Any) -> tuple[Any, Any] | None:
    """Scores and mask, where a node sets masked scores to −∞."""
    if not isinstance(node, Node) or len(node.args) != 3:
        return None
    if node.target is aten.masked_fill.Scalar:
        scores, mask, value = node.args
    elif node.target is aten.where.ScalarSelf:
        mask, value, scores = node.args
    else:
        return None
    shapes = [n.meta["val"].shape if isinstance(n, Node) else None for n in (scores, node)]
    return (scores, mask) if value == -math.inf and shapes[0] == shapes[1] else None
