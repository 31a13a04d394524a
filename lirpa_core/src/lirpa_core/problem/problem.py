"""A graph with its perturbations and constants bound: what every engine works on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from lirpa_core.graph import Graph, Node, NodeKind, Ref, Shape
from lirpa_core.linear.coefficients import Coefficients
from lirpa_core.linear.interval import Interval
from lirpa_core.problem.evaluation import evaluate_node
from lirpa_core.problem.inputs import Group, Leaf, groups_of
from lirpa_core.problem.plan import Plan
from lirpa_core.rules.base import Rule
from lirpa_core.rules.call import Call, Const, Slot
from lirpa_core.rules.infinity import with_infinities


@dataclass(frozen=True, eq=False)
class Problem:
    """Everything that a bound computation reads, fixed.

    Attributes:
        plan: Which nodes are perturbed, in which order, under which rules.
        leaves: The perturbed leaves.
        constants: Values of all nodes that no perturbation reaches.
        calls: Bound calls of all perturbed operators, in topological order.
        batch: Number of examples `B`.
    """

    plan: Plan
    leaves: Mapping[str, Leaf]
    constants: Mapping[str, Const]
    calls: Mapping[str, Call]
    batch: int

    @property
    def graph(self) -> Graph:
        """The captured graph."""
        return self.plan.graph

    def rule(self, name: str) -> Rule:
        """Rule of a perturbed operator node."""
        return self.plan.rules[name]

    def is_perturbed(self, name: str) -> bool:
        """Whether a perturbation reaches the node."""
        return name in self.calls or name in self.leaves

    def shape(self, name: str) -> Shape:
        """Shape of one example of a node."""
        return self.graph[name].shape

    def ancestors(self, name: str) -> frozenset[str]:
        """A perturbed node and all perturbed nodes that it depends on."""
        found = {name}
        for node, call in reversed(list(self.calls.items())):
            if node in found:
                found.update(call.operands)
        return frozenset(found)

    def hulls(self) -> dict[str, Interval]:
        """Elementwise bounds of all perturbed leaves in the graph's layout, `[B, *S]`."""
        return {name: hull for group in self.groups for name, hull in group.hulls().items()}

    def concretize(self, maps: Mapping[str, Coefficients]) -> Tensor | None:
        """Minimum of `Σ maps[leaf]·leaf` over the leaves' sets, `[R, B or 1]`; None where there are no maps."""
        value: Tensor | None = None
        for group in self.groups:
            part = group.concretize(maps)
            if part is not None:
                value = part if value is None else value + part
        return value

    @property
    def groups(self) -> tuple[Group, ...]:
        """The leaves, those together that share one set."""
        return groups_of(self.leaves)

    @cached_property
    def affine(self) -> frozenset[str]:
        """Nodes whose value is an affine function of the perturbed leaves."""
        return affine_nodes(self)

    @cached_property
    def interval_exact(self) -> frozenset[str]:
        """Affine nodes on which interval propagation loses nothing, so that no engine does better.

        These are the box leaves, what merely rearranges them, and one linear operator behind that.
        """
        source = {name: name for name, leaf in self.leaves.items() if leaf.is_box}
        exact = set(source)
        for name, call in self.calls.items():
            rule = self.rule(name)
            leaves = [source.get(o) for o in call.operands]
            # Two operands from one leaf vary together, which interval arithmetic does not know.
            if None in leaves or len(set(leaves)) < len(leaves) or not rule.is_affine(call):
                continue
            exact.add(name)
            if getattr(rule, "selects", False) and len(leaves) == 1:
                source[name] = str(leaves[0])
        return frozenset(exact)

    def dtype_of(self, name: str) -> torch.dtype:
        """Element type of a node's bounds: its own, or that of the inputs where it is a mask."""
        own = self.graph[name].dtype
        return own if own.is_floating_point else self.dtype

    @property
    def widest(self) -> int:
        """Elements of one example of the largest perturbed node."""
        return max(math.prod(self.shape(name)) for name in (*self.calls, *self.leaves))

    @property
    def dtype(self) -> torch.dtype:
        """Element type of the bounds of the inputs."""
        return next(iter(self.leaves.values())).x.dtype

    @property
    def device(self) -> torch.device:
        """Device of the bounds."""
        return next(iter(self.leaves.values())).x.device


def affine_nodes(problem: Problem) -> frozenset[str]:
    """`Problem.affine` without the cache, whose lock (in Python 3.11) cannot be compiled."""
    found = set(problem.leaves)
    for name, call in problem.calls.items():
        if problem.rule(name).is_affine(call) and all(o in found for o in call.operands):
            found.add(name)
    return frozenset(found)


def bind(plan: Plan, leaves: Mapping[str, Leaf], values: Mapping[str, Const], batch: int) -> Problem:
    """Evaluate what is constant and bind the rest to slots.

    Args:
        plan: The plan for exactly these perturbed leaves.
        leaves: The perturbed leaves.
        values: Values of all other leaves.
        batch: Number of examples.

    Raises:
        UnsupportedOperandError: If a rule refuses its call.
    """
    constants = dict(values)
    calls: dict[str, Call] = {}
    for node in plan.nodes:
        if node.kind is not NodeKind.OPERATOR:
            continue
        if node.name in plan.rules:
            calls[node.name] = _call(node, constants, plan.graph, batch, leaves)
            plan.rules[node.name].check(calls[node.name])
        else:
            constants[node.name] = evaluate_node(node, constants)
    return Problem(plan, leaves, constants, with_infinities(calls, plan.rules), batch)


def _call(
    node: Node, constants: Mapping[str, Const], graph: Graph, batch: int, leaves: Mapping[str, Leaf]
) -> Call:
    operands: list[str] = []

    def fill(value: Any) -> Any:
        if isinstance(value, Ref):
            if value.name in constants:
                return constants[value.name]
            operands.append(value.name)
            return Slot(len(operands) - 1)
        if isinstance(value, tuple):
            return tuple(fill(v) for v in value)
        return value

    arguments = {a.name: fill(a.value) for a in node.arguments}
    shapes = tuple(graph[o].shape for o in operands)
    device = next(iter(leaves.values())).x.device
    dtypes = tuple(graph[o].dtype for o in operands)
    return Call(node, arguments, tuple(operands), shapes, batch, device, dtypes)


def iter_needed(problem: Problem, name: str) -> Iterator[tuple[int, str]]:
    """Slots and names of the operands whose intervals the rule of a node reads."""
    call = problem.calls[name]
    needed = problem.rule(name).needs_interval(call)
    for i, (operand, need) in enumerate(zip(call.operands, needed, strict=True)):
        if need:
            yield i, operand
