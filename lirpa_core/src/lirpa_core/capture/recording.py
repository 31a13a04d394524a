"""A program from one run of a model: what `torch.export` gives, without the seconds that importing it takes.

`torch.export` imports PyTorch's compiler, which takes as long as PyTorch itself. A network that a reader has converted from a
file runs the same operators whatever its inputs are, and no line of its code is worth showing, so one run says everything. Where
anything else is met (a value that Python reads, a write, a tensor from elsewhere), the model is left to `torch.export`.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch._dispatch.python import enable_python_dispatcher  # no public name exists
from torch.fx import Graph, GraphModule, Node
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree  # the public torch.utils.pytree is not in all supported versions
from torch.utils._python_dispatch import TorchDispatchMode  # documented, though its module is not public

from lirpa_core.capture.known_values import READ_BY_PYTHON
from lirpa_core.errors import LirpaError

aten = torch.ops.aten

#: Operators whose result, or its size, depends on values, or on random numbers.
_OPEN = frozenset(
    {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape, torch.Tag.nondeterministic_seeded}
)


class _CannotError(Exception):
    """One run does not say what the model is."""


@dataclass(eq=False)
class Recorded:
    """What a run recorded, with the attributes of an `ExportedProgram` that a capture reads.

    Attributes:
        graph_module: The graph.
        graph_signature: What its placeholders and outputs are.
        constants: There are none: every tensor is an input, a parameter or a buffer.
    """

    graph_module: GraphModule
    graph_signature: Any
    constants: Mapping[str, Any] = field(default_factory=dict)

    @property
    def graph(self) -> Graph:
        """The graph of the module."""
        return self.graph_module.graph


def recorded(model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Recorded | None:
    """Run a model once, and record its operators.

    Args:
        model: The model, in evaluation mode.
        args: Positional inputs of one example.
        kwargs: Keyword inputs.

    Returns:
        The program; None where one run does not say what the model is.
    """
    inputs = pytree.tree_leaves((args, dict(kwargs)))
    run = _Run()
    given: list[tuple[str, Node, str | None]] = []
    leaves: list[tuple[str, str | None, Any]] = [
        *(("PARAMETER", path, tensor) for path, tensor in model.named_parameters()),
        *(("BUFFER", path, tensor) for path, tensor in model.named_buffers()),
        *(("USER_INPUT", None, tensor) for tensor in inputs),
    ]
    names = dict(enumerate(_input_names(model, inputs), len(leaves) - len(inputs)))
    for i, (kind, path, tensor) in enumerate(leaves):
        if not isinstance(tensor, Tensor):
            return None
        given.append((kind, run.placeholder(tensor, names.get(i, f"arg_{i}")), path))
    try:
        with torch.no_grad(), _Unread(), run:
            outputs = pytree.tree_leaves(model(*args, **kwargs))
        found = [run.node_of(tensor) for tensor in outputs]
    except Exception:  # noqa: BLE001  whatever it is, `torch.export` says more of a model that runs by itself
        return None
    run.graph.output(tuple(found))
    _linear_layers(run.graph)
    run.graph.eliminate_dead_code()
    return as_program(run.graph, given, found)


def as_program(
    graph: Graph, inputs: Sequence[tuple[str, Node, str | None]], outputs: Sequence[Node]
) -> Recorded:
    """A graph with the signature that an export would have given it.

    Args:
        graph: The graph.
        inputs: Of its placeholders, the kind by its name in `torch.export`, the node, and the path of a parameter or buffer.
        outputs: What it returns.
    """
    from torch.export.graph_signature import (
        ExportGraphSignature,
        InputKind,
        InputSpec,
        OutputKind,
        OutputSpec,
        TensorArgument,
    )

    specs = [
        InputSpec(InputKind[kind], TensorArgument(node.name), path, True if kind == "BUFFER" else None)
        for kind, node, path in inputs
    ]
    results = [OutputSpec(OutputKind.USER_OUTPUT, TensorArgument(node.name), None) for node in outputs]
    return Recorded(GraphModule({}, graph), ExportGraphSignature(specs, results))


def _input_names(model: nn.Module, inputs: Sequence[Any]) -> list[str]:
    """The names of the parameters of `forward`, if it takes one tensor each, as an export has them."""
    names = list(inspect.signature(model.forward).parameters)
    return names if len(names) == len(inputs) else [f"input_{i}" for i in range(len(inputs))]


def recorded_call(function: Callable[..., Any], values: list[Tensor]) -> Graph | None:
    """The operators that a function of tensors runs; None where one run does not say what it is.

    Args:
        function: The function.
        values: Its arguments.
    """
    run = _Run()
    # Views, so that a tensor that is given twice is told apart.
    given = [value.view_as(value) for value in values]
    for i, tensor in enumerate(given):
        run.placeholder(tensor, f"arg_{i}")
    try:
        # By PyTorch's Python decompositions, as a trace is: its kernels take a batch norm apart in another way.
        with torch.no_grad(), _Unread(), enable_python_dispatcher(), run:
            results = function(*given)
        run.graph.output(pytree.tree_map(run.node_of, results))
    except LirpaError:
        raise
    except Exception:  # noqa: BLE001  PyTorch breaks the operator down in another way
        return None
    return run.graph


class _Unread(TorchFunctionMode):
    """Refuses what takes values out of tensors without an operator."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if getattr(func, "__name__", "") in READ_BY_PYTHON:
            raise _CannotError
        return func(*args, **(kwargs or {}))


class _Run(TorchDispatchMode):
    """Records every operator, and refuses tensors that come from elsewhere.

    Attributes:
        graph: What has been recorded; nodes have their values.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.graph = Graph()
        self._nodes: dict[int, tuple[Tensor, Node]] = {}  # the tensors kept, lest others get their ids

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # a mode is hidden from the compiler by importing it; nothing is compiled here

    def placeholder(self, tensor: Tensor, name: str) -> Node:
        """A node for a tensor that is there from the start."""
        node = self.graph.placeholder(name)
        node.name = name  # which users know, also where it is a builtin's
        self._note(tensor, node)
        return node

    def node_of(self, tensor: Any) -> Node:
        """The node of a tensor.

        Raises:
            _CannotError: It has none.
        """
        kept = self._nodes.get(id(tensor)) if isinstance(tensor, Tensor) else None
        if kept is None:
            raise _CannotError
        return kept[1]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if not isinstance(func, torch._ops.OpOverload):  # no public name for the type exists
            raise _CannotError
        if func._schema.is_mutable or not _OPEN.isdisjoint(func.tags):  # nor for its schema
            raise _CannotError
        given = pytree.tree_map_only(Tensor, self.node_of, (args, kwargs))
        result = func(*args, **kwargs)
        node = self.graph.call_function(func, *given)
        node.meta["val"] = result
        if isinstance(result, Tensor):
            self._note(result, node)
        elif isinstance(result, list | tuple) and all(isinstance(part, Tensor) for part in result):
            for i, part in enumerate(result):
                self._note(part, self.graph.call_function(operator.getitem, (node, i)))
        else:
            raise _CannotError
        return result

    def _note(self, tensor: Tensor, node: Node) -> None:
        node.meta["val"] = tensor
        self._nodes.setdefault(id(tensor), (tensor, node))


def _linear_layers(graph: Graph) -> None:
    """Put together, in place, what a linear layer has fallen apart into."""
    for node in list(graph.nodes):
        if node.target is not aten.addmm.default or node.kwargs:
            continue
        bias, x, right = node.args
        if isinstance(right, Node) and right.target is aten.t.default and bias.meta["val"].dim() == 1:
            node.target = aten.linear.default
            node.args = (x, right.args[0], bias)
