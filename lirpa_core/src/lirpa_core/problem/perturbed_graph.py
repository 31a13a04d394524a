"""The part of a graph that perturbed inputs reach, with a rule for each of its operators."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import torch

from lirpa_core.errors import UnsupportedOperatorError
from lirpa_core.graph import Graph, Node, NodeKind, Shape
from lirpa_core.linear.kernels import Kernels
from lirpa_core.problem.rules_as_executed import ExecutionSource, rules_as_executed
from lirpa_core.rules.base import Rule
from lirpa_core.rules.evaluated import evaluation


class RuleSource(Kernels, ExecutionSource, Protocol):
    """Where rules and kernels are found: a registry."""

    def rule_for(self, op: object) -> Rule | None:
        """The rule of an operator, or of a module or function that is kept in one piece; None for none."""


@dataclass(frozen=True, eq=False)
class PerturbedGraph:
    """The operators that the wanted nodes need, and which of them are perturbed.

    Attributes:
        graph: The captured graph.
        operators: The operator nodes that the wanted nodes need, in topological order.
        rules: Rule of every perturbed operator among them, by node name.
    """

    graph: Graph
    operators: tuple[Node, ...]
    rules: Mapping[str, Rule]


#: `(node, shapes of what it reads) -> what to tell the user` about a perturbed operator without a rule.
DescribeMissing: TypeAlias = Callable[[Node, Sequence[Shape]], str]


def perturbed_graph(
    graph: Graph,
    source: RuleSource,
    perturbed: frozenset[str],
    wanted: frozenset[str],
    describe_missing: DescribeMissing,
    dtype: torch.dtype = torch.float32,
) -> PerturbedGraph:
    """Follow the perturbation through the graph.

    Args:
        graph: The captured graph.
        source: Where rules are found.
        perturbed: Names of the perturbed inputs.
        wanted: Nodes whose bounds are wanted; what they do not need is left out.
        describe_missing: Makes the message about an operator without a rule.
        dtype: Element type of the perturbed inputs: what is evaluated in a narrower one gets its rounding.

    Raises:
        UnsupportedOperatorError: If a perturbed operator has no rule; names all of them.
    """
    alive = set(wanted)
    for node in reversed(graph.nodes):
        if node.name in alive:
            alive.update(node.inputs)
    operators = tuple([n for n in graph.nodes if n.kind is NodeKind.OPERATOR and n.name in alive])
    reached = set(perturbed)
    rules: dict[str, Rule] = {}
    missing: dict[object, str] = {}
    for node in operators:
        if reached.isdisjoint(node.inputs):
            continue
        reached.add(node.name)
        rule = source.rule_for(node.target)
        if rule is None:
            shapes = [graph[i].shape for i in node.inputs]
            missing.setdefault(node.target, describe_missing(node, shapes))
        else:
            rules[node.name] = evaluation(rule, node.target, node.dtype, dtype)
    if missing:
        raise UnsupportedOperatorError("\n\n".join(missing.values()))
    if graph.executed:
        rules = rules_as_executed(graph, operators, rules, dtype, source)
    return PerturbedGraph(graph, operators, rules)
