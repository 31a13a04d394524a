"""Nodes that take the place of another one."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.fx import Node

from lirpa_core.capture.quiet import quiet
from lirpa_core.plugins import Pattern

if TYPE_CHECKING:
    from torch.export import ExportedProgram

aten = torch.ops.aten


class CannotBuildError(Exception):
    """What was found is not replaced."""


def constant(kind: Any, value: Any) -> Any:
    """A number or dimensions, as the functions of a pattern take them.

    Raises:
        CannotBuildError: There are several dimensions where one is expected.
    """
    if kind is int:
        if not isinstance(value, tuple) or len(value) != 1:
            raise CannotBuildError
        return value[0]
    return value


class _Function(nn.Module):
    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self._function = function

    def forward(self, *tensors: Tensor) -> Tensor:
        return self._function(*tensors)


@dataclass(eq=False)
class Builder:
    """Makes nodes before a node, and puts the last of them in its place.

    Attributes:
        graph: The graph.
        node: The node that is to be replaced.
        exported: Programs of what patterns become, by pattern, shapes, types and constants; more are added.
        made: The nodes, in order.
    """

    graph: torch.fx.Graph
    node: Node
    exported: dict[Hashable, ExportedProgram]
    made: list[Node] = field(default_factory=list)

    def call(self, target: Any, *args: Any, **kwargs: Any) -> Node:
        """A new node."""
        with self.graph.inserting_before(self.node):
            node = self.graph.call_function(target, args, kwargs)
        node.meta = {name: value for name, value in self.node.meta.items() if name != "val"}
        with torch.no_grad():
            node.meta["val"] = target(*_values(args), **_values(kwargs))
        self.made.append(node)
        return node

    def scaled(self, node: Node, factor: float) -> Node:
        """A node times a number."""
        return node if factor == 1 else self.call(aten.mul.Tensor, node, factor)

    def inline(self, pattern: Pattern, arguments: Mapping[str, Any]) -> Node:
        """The nodes of what a pattern becomes.

        Raises:
            CannotBuildError: torch cannot export it for these arguments.
        """
        tensors = {name: value for name, value in arguments.items() if isinstance(value, Node)}
        constants = {name: value for name, value in arguments.items() if name not in tensors}
        like = [node.meta["val"] for node in tensors.values()]
        kinds = tuple([(tuple(x.shape), x.dtype, x.device) for x in like])
        key = (pattern, kinds, tuple(constants.items()))
        if key not in self.exported:
            self.exported[key] = _exported(pattern, like, list(tensors), constants)
        program = self.exported[key]
        placeholders = [n for n in program.graph.nodes if n.op == "placeholder"]
        if len(placeholders) != len(tensors):  # it makes a constant of its own
            raise CannotBuildError
        inner: dict[Node, Any] = dict(zip(placeholders, tensors.values(), strict=True))
        for node in program.graph.nodes:
            if node.op == "call_function":
                args, kwargs = torch.fx.node.map_arg((node.args, node.kwargs), lambda n: inner[n])
                inner[node] = self.call(node.target, *args, **kwargs)
        (result,) = next(n for n in program.graph.nodes if n.op == "output").args[0]
        found: Node = inner[result]
        return found

    def inputs(self) -> list[Node]:
        """What the new nodes read."""
        read = {n: None for node in self.made for n in node.all_input_nodes}
        return [n for n in read if n not in self.made]

    def undo(self) -> None:
        """Remove the new nodes."""
        for node in reversed(self.made):
            self.graph.erase_node(node)
        self.made.clear()

    def take(self, last: Node) -> None:
        """Make the old node what the last new one is; it keeps its name, which may be an output's."""
        if last not in self.made or last is not self.made[-1]:
            last = self.call(aten.clone.default, last)
        self.node.target, self.node.args, self.node.kwargs = last.target, last.args, last.kwargs
        self.made.remove(last)
        self.graph.erase_node(last)


def _values(arguments: Any) -> Any:
    return torch.fx.node.map_arg(arguments, lambda n: n.meta["val"])


def _exported(
    pattern: Pattern, like: list[Tensor], names: list[str], constants: Mapping[str, Any]
) -> ExportedProgram:
    def function(*tensors: Tensor) -> Tensor:
        return pattern.becomes(**dict(zip(names, tensors, strict=True)), **constants)

    example = tuple([torch.zeros(tuple(x.shape), dtype=x.dtype, device=x.device) for x in like])
    try:
        with quiet():
            return torch.export.export(_Function(function), example, strict=False)
    except Exception as error:
        raise CannotBuildError from error
