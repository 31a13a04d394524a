"""Concrete evaluation of a graph: constant folding during bounds, and the replay after capture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lirpa_core.errors import InputError
from lirpa_core.graph import Graph, Node, NodeKind, Ref
from lirpa_core.rules.call import Call, Const
from lirpa_core.rules.index_ranges import ids_out_of_range


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
    except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
        raise InputError(f"{node}: the model itself fails here: {error}") from error
    except (IndexError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "out of bounds" not in str(error):
            raise
        ids, table = (call.arguments.get(name) for name in ("indices", "weight"))
        message: str | None = None
        if isinstance(ids, Const) and isinstance(table, Const):
            message = ids_out_of_range(ids.value, table.value.shape[-2])
        raise InputError(f"{node}: {message or error}") from error


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


@dataclass(frozen=True, eq=False)
class StateReader:
    """Where a graph's parameters and buffers live in the model, found once and read at every call.

    Attributes:
        owners: `(node name, path, module, attribute)` of every parameter and buffer.
        lifted: Tensors that capture lifted out of the code, by node name.
    """

    owners: tuple[tuple[str, str, nn.Module, str], ...]
    lifted: Mapping[str, Tensor]

    @classmethod
    def of(cls, graph: Graph, model: nn.Module) -> StateReader:
        """Find the owners of a graph's parameters and buffers."""
        owners = []
        for node in graph.nodes:
            if node.kind in (NodeKind.PARAMETER, NodeKind.BUFFER):
                module, _, attribute = node.path.rpartition(".")
                owners.append((node.name, node.path, model.get_submodule(module), attribute))
        lifted = {n.name: graph.constants[n.path] for n in graph.nodes if n.kind is NodeKind.CONSTANT}
        return cls(tuple(owners), lifted)

    def read(self, instead: Mapping[str, Const]) -> dict[str, Const | Tensor]:
        """The tensors as they are now, by node name; those in `instead`, by buffer path, stand in for a module's own."""
        found: dict[str, Const | Tensor] = dict(self.lifted)
        for name, path, module, attribute in self.owners:
            if path in instead:
                found[name] = instead[path]
                continue
            # `getattr` asks every dictionary of the module in turn.
            value: Tensor | None = module._parameters.get(attribute)
            if value is None:
                value = module._buffers.get(attribute)
            found[name] = getattr(module, attribute) if value is None else value
        return found


def parameter_leaves(
    graph: Graph, model: nn.Module, instead: Mapping[str, Const] | None = None
) -> dict[str, Const]:
    """Current values of all parameters, buffers and lifted constants, read from the live module.

    Args:
        graph: The graph.
        model: The live module.
        instead: Values of buffers that stand in for the module's own, by buffer path.
    """
    values = StateReader.of(graph, model).read(instead or {})
    return {name: Const(value) if isinstance(value, Tensor) else value for name, value in values.items()}
