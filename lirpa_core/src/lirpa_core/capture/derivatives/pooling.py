"""Derivatives of the derivative of max pooling, which PyTorch computes by an operator that is given something else than what was pooled."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch.fx import Graph, Node

from lirpa_core.capture.source import source_of
from lirpa_core.errors import UnsupportedOperatorError

aten = torch.ops.aten

#: Whose results have the elements of their first operand in the same order.
_IN_ORDER: frozenset[Any] = frozenset(
    {
        aten.view.default, aten.reshape.default, aten._unsafe_view.default, aten.alias.default, aten.detach.default,
        aten.clone.default, aten.squeeze.dim, aten.squeeze.dims, aten.squeeze.default, aten.unsqueeze.default,
        aten.expand.default,
    }
)  # fmt: skip


def refuse_other_operands(graph: Graph) -> None:
    """Refuse the gradients of max pooling that are not told what was pooled.

    PyTorch's kernel finds the largest elements by their positions and reads of its operand nothing but the shape, so forward
    differentiation gives it a tangent. Bounds find the largest elements in the operand.

    Args:
        graph: The trace of a model that differentiates.

    Raises:
        UnsupportedOperatorError: If there is such a gradient.
    """
    for node in graph.nodes:
        if node.target is not aten.max_pool2d_with_indices_backward.default:
            continue
        pooled = _pooled(node.args[-1])
        if pooled is None or _in_order(pooled) is not _in_order(node.args[1]):
            raise UnsupportedOperatorError(
                "the derivative of a derivative of max pooling, or of a maximum along a dimension, at "
                f"{source_of(node.meta)} cannot be bounded. Differentiate once, or put average pooling or "
                "torch.logsumexp in its place."
            )


def _pooled(indices: Any) -> Any:
    """What the positions of maxima were found in."""
    chosen = _in_order(indices)
    if not isinstance(chosen, Node) or chosen.target is not operator.getitem:
        return None
    pooling = chosen.args[0]
    known = isinstance(pooling, Node) and pooling.target is aten.max_pool2d_with_indices.default
    return pooling.args[0] if known else None  # type: ignore[union-attr]  # known says that it is a node


def _in_order(value: Any) -> Any:
    """Where the elements of a value come from, in the same order."""
    while isinstance(value, Node) and (value.target in _IN_ORDER or _moves_nothing(value)):
        value = value.args[0]
    return value


def _moves_nothing(node: Node) -> bool:
    """Whether a permutation moves dimensions of one element only."""
    if node.target is not aten.permute.default:
        return False
    source, dims = node.args
    assert isinstance(source, Node)
    shape = source.meta["val"].shape
    moved = [d % len(shape) for d in dims if shape[d] > 1]  # type: ignore[union-attr, operator]
    return moved == sorted(moved)
