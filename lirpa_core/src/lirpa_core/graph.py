"""The captured program of one example: frozen nodes in topological order.

Data only. How a model becomes a `Graph` is in `capture.export`; what methods do with one is in
`methods`. The nodes are plain frozen dataclasses, because Dynamo refuses to trace `torch.fx.Node`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Any, TypeAlias

import torch
from torch.utils._pytree import TreeSpec  # no public alias exists for the type

Shape: TypeAlias = tuple[int, ...]


class NodeKind(Enum):
    """What a node stands for."""

    INPUT = "input"
    PARAMETER = "parameter"
    BUFFER = "buffer"
    CONSTANT = "constant"
    OPERATOR = "operator"


@dataclass(frozen=True)
class Ref:
    """A reference to another node's value inside a node's arguments."""

    name: str


@dataclass(frozen=True)
class Argument:
    """One named argument of an operator; `value` may hold `Ref`s, also inside tuples."""

    name: str
    value: Any
    keyword_only: bool = False


@dataclass(frozen=True)
class SourceLocation:
    """Where in the user's model a node comes from."""

    file: str | None = None
    line: int | None = None
    code: str | None = None
    module_path: str = ""
    module_type: str = ""

    def __str__(self) -> str:
        module = f"module '{self.module_path}' ({self.module_type})" if self.module_path else ""
        if not self.file:
            return module or "unknown source line"
        code = f" `{self.code}`" if self.code else ""
        return f"{self.file}:{self.line}{code}{f' in {module}' if module else ''}"


@dataclass(frozen=True, eq=False)
class Node:
    """One value of the graph.

    Attributes:
        name: Unique name inside the graph.
        kind: Leaf kind, or `OPERATOR`.
        target: The ATen or custom operator of an operator node, else None.
        path: Parameter or buffer name in the user's module; input name for inputs.
        arguments: The operator's arguments by schema name, defaults filled in.
        output: Which output of a multi-output operator this node is; None for single-output ones.
        shape: Shape of the value for *one example*, the batch dimension kept with size one.
        dtype: Element type of the value.
        source: Where the node comes from, for errors.
        origin: The operator that the model executes, as which this node or a part of it is computed, by its name
            without overload (and with its namespace, if that is not `aten`); empty where that is not known.
    """

    name: str
    kind: NodeKind
    shape: Shape
    dtype: torch.dtype
    target: Any = None
    path: str = ""
    arguments: tuple[Argument, ...] = ()
    output: int | None = None
    source: SourceLocation = field(default_factory=SourceLocation)
    origin: str = ""

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """Names of the nodes read, one entry an occurrence, in the order of the arguments."""
        return tuple(ref.name for argument in self.arguments for ref in iter_refs(argument.value))

    def __str__(self) -> str:
        return f"'{self.name}' ({self.target or self.kind.value}, shape {list(self.shape)}) at {self.source}"


def iter_refs(value: Any) -> Iterator[Ref]:
    """Yield every `Ref` inside an argument value, left to right."""
    if isinstance(value, Ref):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from iter_refs(item)


def paths_of(node: Node) -> Iterator[str]:
    """Paths of the modules that a node is in, from the inside out."""
    path = node.source.module_path
    while path:
        yield path
        path = path.rpartition(".")[0]


@dataclass(frozen=True, eq=False)
class Graph:
    """A whole program of one example.

    Attributes:
        nodes: All nodes, every node after those it reads.
        inputs: Names of the input nodes, in the order of the flattened `(args, kwargs)` of the model.
        outputs: Names of the output nodes, flattened; None where an output is not a tensor.
        input_spec: Tree structure of `(args, kwargs)`.
        output_spec: Tree structure of the model's output.
        input_batch_dims: Per input, the dimension that runs over examples (None: shared by all).
        output_batch_dims: Per output, the dimension that runs over examples (None: shared by all).
            Its size for one example may exceed one, where a model folds the batch into it.
        constants: Tensors that the capture lifted out of the code, by path.
        executed: Whether bounds are to hold for the model as it is executed in its floating-point types, rather than in
            real arithmetic.
        ends: The node that a module of the user's model ends in, by the module's path; None: that of the last node that is in it.
        specialized: Tensors of the model whose values decided what the graph is, besides those that it reads.
        assumed: Where the model checks its values and raises: the graph is the model for inputs that pass.
    """

    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str | None, ...]
    input_spec: TreeSpec
    output_spec: TreeSpec
    input_batch_dims: tuple[int | None, ...]
    output_batch_dims: tuple[int | None, ...]
    constants: Mapping[str, torch.Tensor]
    executed: bool = False
    specialized: tuple[torch.Tensor, ...] = ()
    assumed: tuple[str, ...] = ()
    ends: Mapping[str, str] | None = None

    @cached_property
    def by_name(self) -> Mapping[str, Node]:
        """Nodes by name."""
        return {node.name: node for node in self.nodes}

    @cached_property
    def by_module(self) -> Mapping[str, str]:
        """The node that a module of the user's model ends in, by the module's path."""
        if self.ends is not None:
            return self.ends
        operators = [node for node in self.nodes if node.kind is NodeKind.OPERATOR]
        return {path: node.name for node in operators for path in paths_of(node)}

    def __getitem__(self, name: str) -> Node:
        return self.by_name[name]

    def find(self, name: str) -> Node | None:
        """A node by its own name, or by the path of the module that ends in it."""
        return self.by_name.get(self.by_module.get(name, name))
