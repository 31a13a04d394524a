"""From a live model and a call's inputs to a `Problem`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from lirpa_core.capture.batch_state import BatchState
from lirpa_core.errors import InputError, PerturbationError
from lirpa_core.graph import Graph, NodeKind
from lirpa_core.linear.finite import all_finite
from lirpa_core.perturbations.tensors import BoundedParameter, BoundedTensor
from lirpa_core.plugins import Registry
from lirpa_core.problem.batching import batch_size, to_batch_first
from lirpa_core.problem.evaluation import parameter_leaves
from lirpa_core.problem.inputs import Leaf, groups_of
from lirpa_core.problem.plan import make_plan
from lirpa_core.problem.problem import Problem, bind
from lirpa_core.rules.call import Const


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
            leaves[name] = _weight_leaf(name, const.value)
        else:
            values[name] = const
    _require_used(model, leaves, graph)
    if not leaves:
        raise PerturbationError(
            "no input is perturbed, so there is nothing to bound. Wrap an input as BoundedTensor(x, "
            "PerturbationLpNorm(norm=..., eps=...)), or a weight as BoundedParameter."
        )
    _validate(graph, leaves)
    plan = make_plan(graph, registry, frozenset(leaves), targets)
    return bind(plan, leaves, values, batch)


def _input_leaf(name: str, x: BoundedTensor, dim: int | None) -> Leaf:
    plain = x.as_subclass(Tensor)
    value = plain.unsqueeze(0) if dim is None else plain.movedim(dim, 0)
    return Leaf(name, value, x.ptb.aligned(dim, x.dim()), dim)


def _weight_leaf(name: str, parameter: BoundedParameter) -> Leaf:
    value = parameter.as_subclass(Tensor).unsqueeze(0)
    return Leaf(name, value, parameter.ptb.aligned(None, parameter.dim()), None)


def _require_used(model: nn.Module, leaves: Mapping[str, Leaf], graph: Graph) -> None:
    """Refuse perturbed parameters that the captured graph does not read: their sets would be ignored.

    Raises:
        PerturbationError: Naming the parameter.
    """
    read = {graph[name].path for name in leaves if graph[name].kind is not NodeKind.INPUT}
    names: dict[int, list[str]] = {}
    for path, parameter in model.named_parameters(remove_duplicate=False):
        if isinstance(parameter, BoundedParameter):
            names.setdefault(id(parameter), []).append(path)
    for paths in names.values():
        if read.isdisjoint(paths):
            raise PerturbationError(
                f"parameter '{paths[0]}' is perturbed, but it is not part of the captured model: the forward pass "
                "does not use it, or it was tied to another one when the model was captured. Perturb the "
                "parameter that is used, or make a new BoundedModule."
            )


def _validate(graph: Graph, leaves: Mapping[str, Leaf]) -> None:
    for group in groups_of(leaves):
        try:
            if len(group.leaves) == 1:
                group.leaves[0].perturbation.validate(group.leaves[0].x)
            else:
                group.leaves[0].perturbation.validate_joint([leaf.x for leaf in group.leaves])
        except PerturbationError as error:
            what = " with ".join(_described(graph, leaf.name) for leaf in group.leaves)
            raise PerturbationError(f"{what}: {error}") from error


def _described(graph: Graph, name: str) -> str:
    node = graph[name]
    return f"input '{name}'" if node.kind is NodeKind.INPUT else f"parameter '{node.path}'"


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
        if isinstance(x, BoundedTensor):
            raise InputError(f"input '{name}' contains NaN or infinite values, for which no bound exists.")
        if bool((x.isnan() | (x == math.inf)).any()):
            raise InputError(
                f"input '{name}' contains NaN or infinite values, for which no bound exists; only −∞ may stand in an "
                "input that is not perturbed, as in a mask that is added to scores."
            )
