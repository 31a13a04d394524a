"""A computation of bounds as a list of operators: recorded once, run again without any Python of this library.

Small models are bound by what the host does between two kernels: a call of CROWN on a network of three layers launches
hundreds of them. A recording has only these, in an order that is fixed; on CUDA it is replayed as one graph.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Collection, Sequence
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, fx

from lirpa_core.devices import as_cuda_graph, is_cuda
from lirpa_core.errors import OptionError

Function: TypeAlias = Callable[..., tuple[Tensor, ...]]
#: How a recording is run: its operators as they are, or fused by `torch.compile`.
Backend: TypeAlias = Literal["operators", "inductor"]
BACKENDS: tuple[Backend, ...] = ("operators", "inductor")


def record(function: Function, tensors: Sequence[Tensor], live: Sequence[Tensor] = ()) -> fx.GraphModule:
    """The operators that a function runs, what depends on no argument computed once.

    Args:
        function: A function of tensors that decides nothing by their values.
        tensors: Arguments to record it with.
        live: Further arguments, which the recording reads where they are: it is run without them.

    Raises:
        OptionError: If it asks for a value on the way, so that the next call might have to go another one.
    """
    from torch.fx.experimental.proxy_tensor import make_fx  # imports much

    try:
        module = make_fx(function, tracing_mode="real")(*tensors, *live)
    except RuntimeError as error:
        if "tracing" not in str(error) and "data-dependent" not in str(error):
            raise
        frames = [f for f in traceback.extract_tb(error.__traceback__) if "/lirpa_" in f.filename]
        where = f" ({frames[-1].filename}:{frames[-1].lineno} `{frames[-1].line}`)" if frames else ""
        raise OptionError(
            f"these bounds cannot be recorded: on the way something is decided by a value{where}, and other inputs might "
            "need another decision. Use compute_bounds, or another method or set."
        ) from error
    held = _in_place_of_arguments(module, len(tensors), live)
    fold_constants(module, held)
    _refuse_open_shapes(module.graph)
    return module


def _in_place_of_arguments(module: fx.GraphModule, first: int, live: Sequence[Tensor]) -> set[fx.Node]:
    """Let the last arguments be attributes of the module, which share the memory of these tensors."""
    found: set[fx.Node] = set()
    arguments = [node for node in module.graph.nodes if node.op == "placeholder"]
    for i, (node, tensor) in enumerate(zip(arguments[first:], live, strict=True)):
        module.register_buffer(f"_live_{i}", tensor)
        with module.graph.inserting_before(node):
            attribute = module.graph.get_attr(f"_live_{i}")
        attribute.meta.update(node.meta)
        node.replace_all_uses_with(attribute)
        module.graph.erase_node(node)
        found.add(attribute)
    return found


def _refuse_open_shapes(graph: fx.Graph) -> None:
    """Refuse operators whose result has as many elements as numbers happen to say.

    Raises:
        OptionError: Naming the operator.
    """
    for node in graph.nodes:
        op = node.target
        if not isinstance(op, torch._ops.OpOverload):
            continue
        selecting = op._schema.name in ("aten::index", "aten::index_put", "aten::index_put_")
        if selecting:
            given = [i.meta.get("val") for i in _nodes(node.args[1]) if i.op != "get_attr"]
            refused = any(isinstance(x, Tensor) and x.dtype in (torch.bool, torch.uint8) for x in given)
        else:
            refused = torch.Tag.dynamic_output_shape in op.tags
        if refused:
            raise OptionError(
                f"these bounds cannot be recorded: {op} selects as many elements as the numbers say. Use compute_bounds, or "
                "another method or set."
            )


def fold_constants(module: fx.GraphModule, live: Collection[fx.Node] = ()) -> None:
    """Compute what depends on no argument, and drop what nobody uses.

    Values that something writes to in place, and those that share their memory, stay as they are: whoever runs the module
    twice would find them written to.

    Args:
        module: A recording; changed in place.
        live: Attributes that are read anew each time.
    """
    graph = module.graph
    kept = _written(graph)
    values: dict[fx.Node, object] = {}
    for node in graph.nodes:
        if node.op == "get_attr" and node not in live:
            values[node] = getattr(module, str(node.target))
        elif node.op == "call_function" and node not in kept:
            given = node.all_input_nodes
            if all(i in values for i in given) and _is_pure(node):
                known: Any = values.__getitem__
                args, kwargs = fx.map_arg(node.args, known), fx.map_arg(dict(node.kwargs), known)
                function: Any = node.target
                values[node] = function(*args, **kwargs)
    for i, (node, value) in enumerate(values.items()):
        if node.op == "get_attr" or not isinstance(value, Tensor):
            continue
        if all(user in values for user in node.users):
            continue  # only folded ones need it
        name = f"_folded_{i}"
        module.register_buffer(name, value)
        with graph.inserting_before(node):
            node.replace_all_uses_with(graph.get_attr(name))
    graph.eliminate_dead_code()
    module.delete_all_unused_submodules()
    module.recompile()


def _is_pure(node: fx.Node) -> bool:
    op = node.target
    if not isinstance(op, torch._ops.OpOverload):  # such as operator.getitem
        return True
    return not op._schema.is_mutable and torch.Tag.nondeterministic_seeded not in op.tags


def _written(graph: fx.Graph) -> set[fx.Node]:
    """Nodes whose memory something may write to."""
    found: set[fx.Node] = set()
    for node in reversed(graph.nodes):
        op = node.target
        if isinstance(op, torch._ops.OpOverload) and op._schema.is_mutable:
            for argument, value in zip(op._schema.arguments, node.args, strict=False):
                if argument.alias_info is not None and argument.alias_info.is_write:
                    found.update(v for v in _nodes(value))
            found.update(v for value in node.kwargs.values() for v in _nodes(value))  # out=
        if node in found and _shares_memory(op):
            found.update(node.all_input_nodes)
    return found


def _shares_memory(op: object) -> bool:
    """Whether a result may be a view of an operand."""
    if not isinstance(op, torch._ops.OpOverload):
        return True
    return any(value.alias_info is not None for value in op._schema.returns)


def _nodes(value: object) -> list[fx.Node]:
    found: list[fx.Node] = []

    def note(node: fx.Node) -> fx.Node:
        found.append(node)
        return node

    given: Any = value
    fx.map_arg(given, note)
    return found


def runner(module: fx.GraphModule, tensors: Sequence[Tensor], backend: Backend) -> Function:
    """A function that runs a recording: on CUDA as one graph of kernels, elsewhere operator by operator.

    Args:
        module: The recording.
        tensors: Arguments to warm it up with; later ones have the same shapes.
        backend: How.

    Raises:
        OptionError: For a backend that does not keep to what bounds account for.
    """
    function: Function = module
    if backend == "inductor":
        if is_cuda(tensors[0].device):
            raise OptionError(
                "backend='inductor' is for CPUs: on CUDA fused kernels divide with more rounding than bounds account for. Use "
                "backend='operators'."
            )
        function = torch.compile(module, fullgraph=True, dynamic=False)
    if not is_cuda(tensors[0].device):
        function(*tensors)
        return function
    return as_cuda_graph(function, tensors)
