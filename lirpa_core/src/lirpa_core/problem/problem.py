"""A graph with its perturbed inputs and its constants bound: what every method works on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from lirpa_core.graph import Graph, Shape
from lirpa_core.linear.affine import AffineForm
from lirpa_core.linear.coefficients import Coefficients
from lirpa_core.linear.interval import Interval
from lirpa_core.linear.kernels import Kernels
from lirpa_core.problem.inputs import JointInputs, PerturbedInput
from lirpa_core.rules.base import Rule
from lirpa_core.rules.call import Call, Const
from lirpa_core.rules.precision import bounds_dtype


@dataclass(frozen=True, eq=False)
class Facts:
    """What follows from which operands are perturbed, whatever their values are.

    Attributes:
        reversed_order: Names of the perturbed operators, the last one first.
        needs_interval: By operator, for each operand whether its relaxation reads the operand's interval.
        users: By perturbed node, the perturbed operators that read it.
        affine_operators: Operators that are affine in their perturbed operands.
        affine: Nodes whose value is an affine function of the perturbed inputs.
        interval_exact: Affine nodes on which interval propagation loses nothing, so that no method does better: the
            inputs whose set is a box, what merely rearranges them, and one linear operator behind that.
    """

    reversed_order: tuple[str, ...]
    needs_interval: Mapping[str, tuple[bool, ...]]
    users: Mapping[str, tuple[str, ...]]
    affine_operators: frozenset[str]
    affine: frozenset[str]
    interval_exact: frozenset[str]


@dataclass(frozen=True, eq=False)
class Problem:
    """Everything that a bound computation reads, fixed.

    Attributes:
        graph: The captured graph.
        rules: Rule of every perturbed operator, by node name.
        kernels: The dispatch table for structured coefficients.
        inputs: The perturbed inputs, by node name.
        joint: Those of them that share a set with others.
        constants: Values of all nodes that no perturbation reaches.
        calls: Bound calls of all perturbed operators, in topological order.
        batch: Number of examples `B`.
        facts: What follows from which operands are perturbed.
        dtype: Element type of the bounds of the inputs.
        device: Device of the bounds.
    """

    graph: Graph
    rules: Mapping[str, Rule]
    kernels: Kernels
    inputs: Mapping[str, PerturbedInput]
    joint: tuple[JointInputs, ...]
    constants: Mapping[str, Const]
    calls: Mapping[str, Call]
    batch: int
    facts: Facts
    dtype: torch.dtype
    device: torch.device

    def is_perturbed(self, name: str) -> bool:
        """Whether a perturbation reaches the node."""
        return name in self.calls or name in self.inputs

    def shape(self, name: str) -> Shape:
        """Shape of one example of a node."""
        return self.graph.by_name[name].shape

    def dtype_of(self, name: str) -> torch.dtype:
        """Element type of a node's bounds: float64 where the node or the inputs are, else float32."""
        return bounds_dtype(self.graph.by_name[name].dtype, self.dtype)

    def ancestors(self, name: str) -> frozenset[str]:
        """A perturbed node and all perturbed nodes that it depends on."""
        found = {name}
        for node in self.facts.reversed_order:
            if node in found:
                found.update(self.calls[node].operands)
        return frozenset(found)

    def hulls(self) -> dict[str, Interval]:
        """Elementwise bounds of all perturbed inputs in the graph's layout, `[B, *S]`."""
        shared = {name: hull for group in self.joint for name, hull in group.hulls().items()}
        return {
            name: shared[name] if name in shared else member.hull() for name, member in self.inputs.items()
        }

    def concretize(self, coefficients: Mapping[str, Coefficients]) -> Tensor | None:
        """Minimum of `Σ coefficients[name] · name` over the inputs' sets, `[R, B or 1]`; None where none is named."""
        value: Tensor | None = None
        for name, member in self.inputs.items():
            if name not in coefficients or member.perturbation.joint_key is not None:
                continue
            part = member.concretize(coefficients[name])
            value = part if value is None else value + part
        for group in self.joint:
            shared = group.concretize(coefficients)
            if shared is not None:
                value = shared if value is None else value + shared
        return value

    def minimum(self, form: AffineForm, intervals: Mapping[str, Interval] | None = None) -> Tensor:
        """Minimum of an affine form over the perturbation sets: its concretization.

        Args:
            form: `R` rows.
            intervals: Bounds of the nodes, where propagation stopped before the inputs.

        Returns:
            `[R, B]`.
        """
        value = form.bias
        over_inputs = self.concretize(form.coefficients)
        if over_inputs is not None:
            value = value + over_inputs
        for name, A in form.coefficients.items():
            if name not in self.inputs:
                assert intervals is not None
                value = value + A.split_dot(intervals[name].lower, intervals[name].upper)
        return value.expand(-1, self.batch) if value.shape[1] == 1 else value

    @property
    def widest(self) -> int:
        """Elements of one example of the largest perturbed node."""
        return max([math.prod(self.shape(name)) for name in (*self.calls, *self.inputs)])


def facts_of(
    inputs: Mapping[str, PerturbedInput], calls: Mapping[str, Call], rules: Mapping[str, Rule]
) -> Facts:
    """What follows from which operands of these calls are perturbed."""
    users: dict[str, list[str]] = {}
    needs: dict[str, tuple[bool, ...]] = {}
    affine_operators, affine = set(), set(inputs)
    source = {name: name for name, member in inputs.items() if member.is_box}
    exact = set(source)
    for name, call in calls.items():
        rule = rules[name]
        needs[name] = rule.needs_interval(call)
        for operand in call.operands:
            users.setdefault(operand, []).append(name)
        if not rule.is_affine(call):
            continue
        affine_operators.add(name)
        if affine.issuperset(call.operands):
            affine.add(name)
        origins = [source.get(o) for o in call.operands]
        # Two operands from one input vary together, which interval arithmetic does not know.
        if None in origins or len(set(origins)) < len(origins):
            continue
        exact.add(name)
        if getattr(rule, "selects", False) and len(origins) == 1:
            source[name] = str(origins[0])
    return Facts(
        tuple(reversed(list(calls))),
        needs,
        {name: tuple(readers) for name, readers in users.items()},
        frozenset(affine_operators),
        frozenset(affine),
        frozenset(exact),
    )
