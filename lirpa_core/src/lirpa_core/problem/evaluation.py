"""Concrete evaluation of a graph: constant folding during bounds, and the replay after capture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lirpa_core.errors import InputError
from lirpa_core.graph import Graph, Node, NodeKind, Ref
from lirpa_core.rules.call import Call, Const

#: What to say about the id of a row, see `out_of_range`.
ID_OUT_OF_RANGE = "the id {wrong} is out of range: the table has {count} rows, so ids run from 0 to {last}."


def bind_constants(node: Node, values: Mapping[str, Const]) -> Mapping[str, Any]:
    """The node's arguments with every reference replaced by the value behind it."""

    def bind(value: Any) -> Any:
        if isinstance(value, Ref):
            return values[value.name]
        if isinstance(value, tuple):
            return tuple(bind(v) for v in value)
        return value

    return {a.name: bind(a.value) for a in node.arguments}


def evaluate_node(node: Node, values: Mapping[str, Const]) -> Const:
    """Run one operator on concrete values."""
    call = Call(node, bind_constants(node, values), (), ())
    try:
        return Const(call.evaluate(()), call.has_batched_constants)
    except (IndexError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "out of bounds" not in str(error):
            raise
        ids, table = (call.arguments.get(name) for name in ("indices", "weight"))
        message: str | None = None
        if isinstance(ids, Const) and isinstance(table, Const):
            message = ids_out_of_range(ids.value, table.value.shape[-2])
        raise InputError(f"{node}: {message or error}") from error


def out_of_range(numbers: Tensor, count: int, message: str) -> str | None:
    """What to say about a number that is none of `0 .. count − 1`, or None. Waits for the device.

    Args:
        numbers: Whole numbers.
        count: How many are allowed.
        message: What to say, with `{wrong}`, `{count}` and `{last}` where numbers belong.
    """
    low, high = (int(numbers.min()), int(numbers.max())) if numbers.numel() else (0, 0)
    if low >= 0 and high < count:
        return None
    return message.format(wrong=low if low < 0 else high, count=count, last=count - 1)


def ids_out_of_range(ids: Tensor, rows: int) -> str | None:
    """What to say about ids that no row of a table has, or None."""
    return out_of_range(ids, rows, ID_OUT_OF_RANGE)


def require_in_range(call: Call, numbers: Tensor, count: int, message: str) -> None:
    """Refuse a call that looks something up where there is nothing; not while `torch.compile` traces.

    Args:
        call: The call.
        numbers: See `out_of_range`.
        count: See `out_of_range`.
        message: See `out_of_range`.

    Raises:
        InputError: Naming the node, the number and the range.
    """
    if torch.compiler.is_compiling():
        return
    found = out_of_range(numbers, count, message)
    if found is not None:
        raise InputError(f"{call.node}: {found}")


def evaluate(nodes: Iterable[Node], leaves: Mapping[str, Const]) -> dict[str, Const]:
    """Run operators in order; leaves are given.

    Returns:
        The value of every leaf and node, `[*S]`, or `[B, *S]` where it differs between examples.
    """
    values = dict(leaves)
    for node in nodes:
        if node.kind is NodeKind.OPERATOR:
            values[node.name] = evaluate_node(node, values)
    return values


def parameter_leaves(
    graph: Graph, model: nn.Module, instead: Mapping[str, Const] | None = None
) -> dict[str, Const]:
    """Current values of all parameters, buffers and lifted constants, read from the live module.

    Args:
        graph: The graph.
        model: The live module.
        instead: Values of buffers that stand in for the module's own, by buffer path.
    """
    given = instead or {}
    found: dict[str, Const] = {}
    for node in graph.nodes:
        if node.kind in (NodeKind.PARAMETER, NodeKind.BUFFER, NodeKind.CONSTANT):
            stand_in = given.get(node.path) if node.kind is NodeKind.BUFFER else None
            found[node.name] = stand_in or Const(_live(node, graph, model))
    return found


def _live(node: Node, graph: Graph, model: nn.Module) -> Tensor:
    if node.kind is NodeKind.CONSTANT:
        return graph.constants[node.path]
    owner, _, name = node.path.rpartition(".")
    value = getattr(model.get_submodule(owner), name)
    assert isinstance(value, torch.Tensor)
    return value
