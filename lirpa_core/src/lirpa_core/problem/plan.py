"""What a set of perturbed leaves reaches in a graph, and the rules for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lirpa_core.errors import UnsupportedOperatorError
from lirpa_core.graph import Graph, Node, NodeKind
from lirpa_core.plugins import Registry
from lirpa_core.plugins.providers import unsupported_message
from lirpa_core.rules.base import Rule


@dataclass(frozen=True, eq=False)
class Plan:
    """The perturbed part of a graph.

    Attributes:
        graph: The captured graph.
        registry: Where the rules and kernels come from.
        nodes: The nodes that the targets need, in topological order.
        rules: Rule of every perturbed operator among them, by node name.
    """

    graph: Graph
    registry: Registry
    nodes: tuple[Node, ...]
    rules: Mapping[str, Rule]


def make_plan(graph: Graph, registry: Registry, perturbed: frozenset[str], targets: frozenset[str]) -> Plan:
    """Follow the perturbation through the graph.

    Args:
        graph: The captured graph.
        registry: Rules.
        perturbed: Names of the perturbed leaves.
        targets: Nodes whose bounds are wanted; what they do not need is left out.

    Raises:
        UnsupportedOperatorError: If a perturbed operator has no rule; names all of them.
    """
    alive = set(targets)
    for node in reversed(graph.nodes):
        if node.name in alive:
            alive.update(node.inputs)
    nodes = tuple(n for n in graph.nodes if n.name in alive or n.kind is not NodeKind.OPERATOR)
    reached = set(perturbed)
    rules: dict[str, Rule] = {}
    missing: dict[object, str] = {}
    for node in nodes:
        if node.kind is not NodeKind.OPERATOR or not any(i in reached for i in node.inputs):
            continue
        reached.add(node.name)
        rule = registry.rule_for(node.target)
        if rule is None:
            shapes = [graph[i].shape for i in node.inputs]
            missing.setdefault(node.target, unsupported_message(node, registry, shapes=shapes))
        else:
            rules[node.name] = rule
    if missing:
        raise UnsupportedOperatorError("\n\n".join(missing.values()))
    return Plan(graph, registry, nodes, rules)
