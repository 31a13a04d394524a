"""From a live model and a call's inputs to a `Problem`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from lirpa_core.bounds.finite import all_finite
from lirpa_core.capture.batch_state import BatchState
from lirpa_core.capture.batching import batch_size, to_batch_first
from lirpa_core.capture.evaluate import parameter_leaves
from lirpa_core.capture.graph import Graph, NodeKind
from lirpa_core.engines.plan import make_plan
from lirpa_core.engines.problem import Leaf, Problem, bind
from lirpa_core.errors import InputError, PerturbationError
from lirpa_core.registry import Registry
from lirpa_core.rules.call import Const
from lirpa_core.tensors import BoundedParameter, BoundedTensor


def assemble(
    graph: Graph,
    registry: Registry,
    model: nn.Module,
    inputs: Sequence[Any],
    targets: frozenset[str],
    state: BatchState | None = None,
) -> Problem:
    """Bind a graph to inputs and to the model's current parameters.

    Args:
        graph: The captured graph.
        registry: Rules and kernels.
        model: The live model.
        inputs: The call's inputs, flattened; the perturbed ones are `BoundedTensor`s.
        targets: Nodes whose bounds are wanted.
        state: Statistics and masks of a model in training mode.

    Raises:
        InputError: If an input does not fit the example that was captured.
        PerturbationError: If nothing is perturbed, or a perturbation does not fit its tensor.
    """
    for name, x, dim in zip(graph.inputs, inputs, graph.input_batch_dims, strict=True):
        _check_input(graph, name, x, dim)
    batch = batch_size(inputs, graph.input_batch_dims, graph.inputs)
    leaves: dict[str, Leaf] = {}
    values: dict[str, Const] = {}
    for name, x, dim in zip(graph.inputs, inputs, graph.input_batch_dims, strict=True):
        if isinstance(x, BoundedTensor):
            leaves[name] = _input_leaf(name, x, dim)
        elif isinstance(x, Tensor):
            values[name] = Const(x) if dim is None else Const(to_batch_first(x, dim), batched=True)
    instead = None if state is None else state.leaves(graph)
    for name, const in parameter_leaves(graph, model, instead).items():
        if isinstance(const.value, BoundedParameter):
            leaves[name] = _weight_leaf(graph[name].path, name, const.value)
        else:
            values[name] = const
    if not leaves:
        raise PerturbationError(
            "no input is perturbed, so there is nothing to bound. Wrap an input as BoundedTensor(x, "
            "PerturbationLpNorm(norm=..., eps=...)), or a weight as BoundedParameter."
        )
    plan = make_plan(graph, registry, frozenset(leaves), targets)
    return bind(plan, leaves, values, batch)


def _input_leaf(name: str, x: BoundedTensor, dim: int | None) -> Leaf:
    ptb = x.ptb.aligned(dim, x.dim())
    plain = x.as_subclass(Tensor)
    value = plain.unsqueeze(0) if dim is None else plain.movedim(dim, 0)
    _validate(f"input '{name}'", ptb, value)
    return Leaf(name, value, ptb, dim)


def _weight_leaf(path: str, name: str, parameter: BoundedParameter) -> Leaf:
    ptb = parameter.ptb.aligned(None, parameter.dim())
    value = parameter.as_subclass(Tensor).unsqueeze(0)
    _validate(f"parameter '{path}'", ptb, value)
    return Leaf(name, value, ptb, None)


def _validate(what: str, ptb: Any, value: Tensor) -> None:
    try:
        ptb.validate(value)
    except PerturbationError as error:
        raise PerturbationError(f"{what}: {error}") from error


def _check_input(graph: Graph, name: str, x: Any, dim: int | None) -> None:
    node = graph.by_name.get(name)
    if node is None or node.kind is not NodeKind.INPUT:
        return
    if not isinstance(x, Tensor):
        raise InputError(f"input '{name}' is a {type(x).__name__}; the captured model takes a tensor there.")
    if x.dtype != node.dtype:
        raise InputError(f"input '{name}' has dtype {x.dtype}; the model was captured with {node.dtype}.")
    expected, given = list(node.shape), list(x.shape)
    wanted: list[Any] = list(expected)
    if dim is not None:
        wanted[dim] = "B"
    fits = len(given) == len(expected) and all(
        i == dim or a == b for i, (a, b) in enumerate(zip(expected, given, strict=True))
    )
    if not fits:
        raise InputError(
            f"input '{name}' has shape {given}; the model was captured for [{', '.join(map(str, wanted))}] "
            "(B: any number of examples). Make a BoundedModule with an example of the new shape."
        )
    if x.is_floating_point() and not all_finite(x.as_subclass(Tensor)):
        raise InputError(f"input '{name}' contains NaN or infinite values, for which no bound exists.")
