"""From a graph and a call's inputs to a `Problem`: what is constant is evaluated, the rest bound to slots."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from lirpa_core.devices import is_sharded, unreadable
from lirpa_core.errors import InputError, PerturbationError
from lirpa_core.graph import Graph, Node, NodeKind, Ref
from lirpa_core.linear.finite import all_finite
from lirpa_core.perturbations.base import Perturbation
from lirpa_core.perturbations.tensors import BoundedParameter, BoundedTensor
from lirpa_core.problem.batching import batch_size, to_batch_first
from lirpa_core.problem.evaluation import StateReader, evaluate_node
from lirpa_core.problem.facts import Facts, facts_of
from lirpa_core.problem.inputs import JointInputs, PerturbedInput, joint_inputs
from lirpa_core.problem.perturbed_graph import DescribeMissing, PerturbedGraph, RuleSource, perturbed_graph
from lirpa_core.problem.problem import Problem
from lirpa_core.rules.call import Call, Const, Slot
from lirpa_core.rules.infinity import added_constants, with_infinities
from lirpa_core.rules.precision import is_narrower


@dataclass(eq=False)
class _Bound:
    """What binding found out the last time, for the same perturbed inputs, wanted nodes, batch and device.

    Attributes:
        part: The part of the graph that matters.
        facts: What follows from which operands are perturbed.
        calls: Calls whose constants are the model's own tensors, which follow the tensors' values, with these constants.
        whole: All calls, where they are such ones.
    """

    part: PerturbedGraph
    facts: Facts | None = None
    calls: dict[str, tuple[Call, list[Const]]] = field(default_factory=dict)
    whole: _BoundCalls | None = None


@dataclass(frozen=True, eq=False)
class _BoundCalls:
    """Calls in topological order.

    Attributes:
        calls: The calls.
        added: Their constants that are no factors of products, see `added_constants`.
        names: Constants that they read.
        constants: Their values, which follow those of the model's tensors.
    """

    calls: Mapping[str, Call]
    added: Mapping[str, Sequence[Any]]
    names: tuple[str, ...] = ()
    constants: tuple[Const, ...] = ()

    def reads(self, constants: Mapping[str, Const]) -> bool:
        """Whether these constants are those that the calls were bound to."""
        return all(map(operator.is_, map(constants.get, self.names), self.constants))


class Binder:
    """Binds one captured graph of a live model to inputs, again and again.

    What does not depend on values is kept from call to call: the operators that matter, their rules, and calls
    whose constants are the model's own parameters and buffers. Values are read anew each time.

    Args:
        graph: The captured graph.
        model: The live model.
        source: Rules and kernels.
        describe_missing: Makes the message about an operator without a rule.
    """

    def __init__(
        self, graph: Graph, model: nn.Module, source: RuleSource, describe_missing: DescribeMissing
    ) -> None:
        self._graph, self._model, self._source = graph, model, source
        self._describe_missing = describe_missing
        self._reader = StateReader.of(graph, model)
        self._modules = tuple(model.modules())  # a model with others has another graph
        self._state: dict[str, Const] = {}
        self._known: dict[object, _Bound] = {}

    def bind(
        self,
        inputs: Sequence[Any],
        wanted: frozenset[str],
        buffers: Mapping[str, Const] | None = None,
        outward: bool = False,
    ) -> Problem:
        """The problem of these inputs and the model's current parameters.

        Args:
            inputs: The call's inputs, flattened; the perturbed ones are `BoundedTensor`s.
            wanted: Nodes whose bounds are wanted.
            buffers: Values that stand in for the module's own buffers, by buffer path.
            outward: Whether bounds account for the rounding of their own computation.

        Raises:
            InputError: If an input does not fit the example that was captured.
            PerturbationError: If nothing is perturbed, or a perturbation does not fit its tensor.
            UnsupportedOperatorError: If a perturbed operator has no rule.
            UnsupportedOperandError: If a rule refuses its call.
        """
        graph = self._graph
        perturbed, constants = read_inputs(graph, inputs)
        self._read_state(perturbed, constants, buffers or {})
        batch = batch_size(inputs, graph.input_batch_dims, graph.inputs)
        joint = joint_inputs(perturbed)
        validate_sets(graph, perturbed, joint)
        first = next(iter(perturbed.values())).x
        key = (tuple([(n, p.is_box) for n, p in perturbed.items()]), wanted, batch, first.device, first.dtype)
        bound = self._known.get(key)
        if bound is None:
            part = perturbed_graph(
                graph, self._source, frozenset(perturbed), wanted, self._describe_missing, first.dtype
            )
            bound = self._known[key] = _Bound(part)
        found = bound.whole
        if found is None or not found.reads(constants):
            found = self._bind_calls(bound, constants, batch, first.device, first.dtype)
        calls = with_infinities(found.calls, found.added)
        if bound.facts is None:
            bound.facts = facts_of(graph, perturbed, calls, bound.part.rules)
        return Problem(
            graph,
            bound.part.rules,
            self._source,
            perturbed,
            joint,
            constants,
            calls,
            batch,
            bound.facts,
            first.dtype,
            first.device,
            outward,
        )

    def _read_state(
        self, perturbed: dict[str, PerturbedInput], constants: dict[str, Const], buffers: Mapping[str, Const]
    ) -> None:
        """Current parameters and buffers: perturbed ones to the inputs, all others to the constants."""
        state = self._state
        for name, value in self._reader.read(buffers).items():
            if isinstance(value, BoundedParameter):
                perturbed[name] = _perturbed_weight(name, value)
            elif isinstance(value, Const):
                constants[name] = value
            else:
                known = state.get(name)
                if known is None or known.value is not value:
                    if is_sharded(value):
                        raise InputError(sharded_message(self._graph[name].path))
                    known = state[name] = Const(value)
                constants[name] = known
        for module in self._modules:
            if any([isinstance(p, BoundedParameter) for p in module._parameters.values()]):
                _require_used(self._model, perturbed, self._graph)
                break
        if not perturbed:
            raise PerturbationError(
                "no input is perturbed, so there is nothing to bound. Wrap an input as BoundedTensor(x, "
                "PerturbationLpNorm(norm=..., eps=...)), or a weight as BoundedParameter."
            )

    def _bind_calls(
        self, bound: _Bound, constants: dict[str, Const], batch: int, device: torch.device, dtype: torch.dtype
    ) -> _BoundCalls:
        """Evaluate what is constant, and bind the perturbed operators; calls of the last time are used again."""
        rules, state = bound.part.rules, self._state
        calls: dict[str, Call] = {}
        for node in bound.part.operators:
            name = node.name
            if name not in rules:
                constants[name] = evaluate_node(node, constants)
                continue
            own = [constants[i] for i in node.inputs if i in constants]
            known = bound.calls.get(name)
            if known is not None and len(known[1]) == len(own) and all(map(operator.is_, known[1], own)):
                calls[name] = known[0]
                continue
            call = calls[name] = _call(node, constants, self._graph, batch, device, dtype)
            rules[name].check(call)
            # What is widened is a copy, which would not follow the model's own tensor.
            if not is_narrower(node.dtype, dtype) and all(
                [state.get(i) is constants[i] for i in node.inputs if i in constants]
            ):
                bound.calls[name] = call, own
        added = added_constants(calls, rules)
        if len(bound.part.operators) == len(calls) and all(
            [n in bound.calls and bound.calls[n][0] is c for n, c in calls.items()]
        ):
            names = tuple([i for node in bound.part.operators for i in node.inputs if i in constants])
            bound.whole = _BoundCalls(calls, added, names, tuple([constants[i] for i in names]))
            return bound.whole
        return _BoundCalls(calls, added)


def read_inputs(graph: Graph, inputs: Sequence[Any]) -> tuple[dict[str, PerturbedInput], dict[str, Const]]:
    """The perturbed ones of a call's flattened inputs, and the values of all others, by node name.

    Raises:
        InputError: If an input does not fit the example that was captured.
    """
    perturbed: dict[str, PerturbedInput] = {}
    constants: dict[str, Const] = {}
    for name, x, dim in zip(graph.inputs, inputs, graph.input_batch_dims, strict=True):
        if isinstance(x, BoundedTensor):
            plain = x.plain()
            _check_input(graph, name, plain, dim, perturbed=True)
            perturbed[name] = _perturbed_input(name, plain, x.ptb, dim)
            continue
        _check_input(graph, name, x, dim)
        if isinstance(x, Tensor):
            constants[name] = Const(x) if dim is None else Const(to_batch_first(x, dim), batched=True)
    return perturbed, constants


def bind_plain(
    part: PerturbedGraph,
    source: RuleSource,
    perturbed: Mapping[str, PerturbedInput],
    values: Mapping[str, Const],
    batch: int,
) -> Problem:
    """A problem from a part of a graph and the values of all other leaves, without a live model.

    A pure function of tensors, for transforms and compilers that trace the whole way from weights to bounds.

    Args:
        part: The part of the graph for exactly these perturbed inputs.
        source: Rules and kernels.
        perturbed: The perturbed inputs.
        values: Values of all other leaves.
        batch: Number of examples.

    Raises:
        UnsupportedOperandError: If a rule refuses its call.
    """
    constants = dict(values)
    calls: dict[str, Call] = {}
    first = next(iter(perturbed.values())).x
    for node in part.operators:
        if node.name in part.rules:
            call = _call(node, constants, part.graph, batch, first.device, first.dtype)
            part.rules[node.name].check(call)
            calls[node.name] = call
        else:
            constants[node.name] = evaluate_node(node, constants)
    calls = with_infinities(calls, added_constants(calls, part.rules))
    facts = facts_of(part.graph, perturbed, calls, part.rules)
    joint = joint_inputs(perturbed)
    return Problem(
        part.graph, part.rules, source, perturbed, joint, constants, calls, batch, facts, first.dtype, first.device
    )  # fmt: skip


def _call(
    node: Node,
    constants: Mapping[str, Const],
    graph: Graph,
    batch: int,
    device: torch.device,
    precision: torch.dtype,
) -> Call:
    operands: list[str] = []
    narrow = is_narrower(node.dtype, precision)

    def fill(value: Any) -> Any:
        if isinstance(value, Ref):
            if value.name in constants:
                return _widened(constants[value.name], precision) if narrow else constants[value.name]
            operands.append(value.name)
            return Slot(len(operands) - 1)
        if isinstance(value, tuple):
            return tuple([fill(v) for v in value])
        return value

    arguments = {a.name: fill(a.value) for a in node.arguments}
    shapes = tuple([graph[o].shape for o in operands])
    dtypes = tuple([graph[o].dtype for o in operands])
    return Call(node, arguments, tuple(operands), shapes, batch, device, dtypes, precision=precision)


def _widened(const: Const, precision: torch.dtype) -> Const:
    """A constant in the type that bounds are kept in, which has every number of a narrower one."""
    x = const.value
    return Const(x.to(precision), const.batched) if is_narrower(x.dtype, precision) else const


def _perturbed_input(name: str, x: Tensor, ptb: Perturbation, dim: int | None) -> PerturbedInput:
    value = x.unsqueeze(0) if dim is None else x if dim == 0 else x.movedim(dim, 0)
    return PerturbedInput(name, value, ptb.aligned(dim, x.dim()), dim)


def _perturbed_weight(name: str, parameter: BoundedParameter) -> PerturbedInput:
    value = parameter.as_subclass(Tensor).unsqueeze(0)
    return PerturbedInput(name, value, parameter.ptb.aligned(None, parameter.dim()), None)


def _require_used(model: nn.Module, perturbed: Mapping[str, PerturbedInput], graph: Graph) -> None:
    """Refuse perturbed parameters that the captured graph does not read: their sets would be ignored.

    Raises:
        PerturbationError: Naming the parameter.
    """
    read = {graph[name].path for name in perturbed if graph[name].kind is not NodeKind.INPUT}
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


def validate_sets(
    graph: Graph, perturbed: Mapping[str, PerturbedInput], joint: Sequence[JointInputs]
) -> None:
    """Ask every set whether it fits its tensor.

    Raises:
        PerturbationError: Naming the input or parameter.
    """
    try:
        what: list[PerturbedInput] = []
        for member in perturbed.values():
            if member.perturbation.joint_key is None:
                what = [member]
                member.perturbation.validate(member.x)
        for group in joint:
            what = list(group.members)
            group.perturbation.validate_joint([member.x for member in what])
    except PerturbationError as error:
        named = " with ".join([_described(graph, member.name) for member in what])
        raise PerturbationError(f"{named}: {error}") from error


def _described(graph: Graph, name: str) -> str:
    node = graph[name]
    return f"input '{name}'" if node.kind is NodeKind.INPUT else f"parameter '{node.path}'"


def _check_input(graph: Graph, name: str, x: Any, dim: int | None, *, perturbed: bool = False) -> None:
    node = graph.by_name.get(name)
    if node is None or node.kind is not NodeKind.INPUT:
        return
    if not isinstance(x, Tensor):
        raise InputError(f"input '{name}' is a {type(x).__name__}; the captured model takes a tensor there.")
    what = unreadable(x)
    if what is not None:
        raise InputError(f"input '{name}' is {what}.")
    if x.dtype != node.dtype:
        raise InputError(f"input '{name}' has dtype {x.dtype}; the model was captured with {node.dtype}.")
    expected, given = list(node.shape), list(x.shape)
    fits = len(given) == len(expected)
    for i, size in enumerate(expected if fits else ()):
        fits = fits and (i == dim or given[i] == size)
    if not fits:
        wanted = ["B" if i == dim else str(size) for i, size in enumerate(expected)]
        raise InputError(
            f"input '{name}' has shape {given}; the model was captured for [{', '.join(wanted)}] "
            "(B: any number of examples). Make a BoundedModule with an example of the new shape."
        )
    if dim is not None and given[dim] == 0:
        raise InputError(f"input '{name}' has shape {given}, a batch without examples: leave it out.")
    if x.is_floating_point() and not all_finite(x):
        if perturbed:
            raise InputError(f"input '{name}' contains NaN or infinite values, for which no bound exists.")
        if bool((x.isnan() | (x == math.inf)).any()):
            raise InputError(
                f"input '{name}' contains NaN or infinite values, for which no bound exists; only −∞ may stand in an "
                "input that is not perturbed, as in a mask that is added to scores."
            )


def sharded_message(path: str) -> str:
    """Why a parameter of which this process holds only a part is refused."""
    return (
        f"parameter '{path}' is sharded over processes (a DTensor), and bounds need all of it. Under FSDP call unshard() of "
        "every module that fully_shard was called on before, and reshard() after; for training, fully_shard(lirpa_training.CertifiedLoss(model, ...)) "
        "does so by itself."
    )
