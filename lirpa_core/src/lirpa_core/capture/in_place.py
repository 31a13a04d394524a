"""Operators that write into what they read, before a program's nodes are looked at as values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.fx import Node

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from lirpa_core.capture.recording import Recorded

#: Operators made of others whose result never shares memory with an operand. Of others of this kind it is not known.
_FRESH = frozenset(
    {
        "conv1d", "conv2d", "conv3d", "linear", "batch_norm", "layer_norm", "group_norm", "instance_norm", "softmax",
        "conv_transpose1d", "conv_transpose2d", "conv_transpose3d",
    }
)  # fmt: skip


def make_new(program: ExportedProgram | Recorded) -> set[Node]:
    """Exchange, in place, what writes into its operand for what returns a new tensor, where nobody reads the operand later.

    Returns:
        Nodes whose values are other ones at another time: what is written into after all, and what may share memory with it.
    """
    nodes = list(program.graph.nodes)
    for node in nodes:
        if _writes(node):
            _make_new(node)
    if not any(_writes(node) for node in nodes):
        return set()
    sharing = {node: {node} for node in nodes}
    for node in nodes:
        if _shares(node) and node.op != "output":
            for source in node.all_input_nodes:
                joined = sharing[node] | sharing[source]
                sharing.update(dict.fromkeys(joined, joined))
    return {n for node in nodes if _writes(node) for n in (node, *sharing[node])}


def _writes(node: Node) -> bool:
    if node.target is torch.ops.aten.detach_.default:  # which changes no value
        return False
    return isinstance(node.target, torch._ops.OpOverload) and bool(node.target._schema.is_mutable)


def _make_new(node: Node) -> None:
    target = _new_result(node.target)
    if target is None or not node.args or node.kwargs.get("out") is not None:
        return
    source = node.args[0]
    if not isinstance(source, Node):
        return
    # Where only the shape is written, nobody else sees it.
    values = not _writes_shape_only(node.target)
    if values and (not _is_fresh(source) or any(_shares(user) for user in source.users if user is not node)):
        return
    position = {n: i for i, n in enumerate(node.graph.nodes)}
    if any(position[user] > position[node] for user in source.users):
        return
    with torch.no_grad():
        made = target(*_values(node.args), **_values(node.kwargs))
    old = (source if values else node).meta.get("val")
    if (
        isinstance(made, Tensor)
        and isinstance(old, Tensor)
        and made.dtype == old.dtype
        and made.shape == old.shape
    ):
        node.target = target


def _new_result(op: Any) -> Any:
    """The operator of the same name and arguments that returns a new tensor."""
    name = op._schema.name.partition("::")[2]
    if op.namespace != "aten" or not name.endswith("_"):
        return None
    packet = getattr(torch.ops.aten, name[:-1], None)
    found = getattr(packet, op._overloadname, None)
    if found is None or found._schema.is_mutable:
        return None
    if _returns_alias(found) and not _writes_shape_only(op):
        return None
    same = [a.name for a in found._schema.arguments] == [a.name for a in op._schema.arguments]
    return found if same else None


def _writes_shape_only(op: Any) -> bool:
    return torch.Tag.inplace_view in op.tags


def _returns_alias(op: Any) -> bool:
    return any(r.alias_info is not None for r in op._schema.returns)


def _is_fresh(node: Node) -> bool:
    """Whether a node's value shares memory with no other one."""
    op: Any = node.target
    return node.op == "call_function" and isinstance(op, torch._ops.OpOverload) and not _shares(node)


def _shares(node: Node) -> bool:
    """Whether a node's value may share memory with what it reads."""
    op: Any = node.target
    if node.op != "call_function" or not isinstance(op, torch._ops.OpOverload) or _returns_alias(op):
        return True
    composed = torch._C._dispatch_has_kernel_for_dispatch_key(op.name(), "CompositeImplicitAutograd")
    return composed and op._schema.name.partition("::")[2] not in _FRESH


def _values(arguments: Any) -> Any:
    return torch.fx.node.map_arg(arguments, lambda n: n.meta["val"])
