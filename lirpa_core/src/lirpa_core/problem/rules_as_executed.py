"""Rules of a graph whose bounds are to hold for the model as it is executed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import torch

from lirpa_core.errors import UnsupportedOperandError
from lirpa_core.graph import Graph, Node, NodeKind, iter_refs
from lirpa_core.rules.base import Rule
from lirpa_core.rules.evaluated import operator_name
from lirpa_core.rules.executed import Executions, IntervalOnly, executed, refuse_constant


class ExecutionSource(Executions, Protocol):
    """Where rules are found, and what is known of how operators are executed: a registry."""

    def rule_for(self, op: object) -> Rule | None:
        """The rule of an operator, if it has one."""


def rules_as_executed(
    graph: Graph,
    operators: Sequence[Node],
    rules: Mapping[str, Rule],
    dtype: torch.dtype,
    source: ExecutionSource,
) -> dict[str, Rule]:
    """The rules of the perturbed operators, with the rounding of their evaluation.

    What stands before an `as_executed` is bounded in real arithmetic, because that one has the rounding of the whole.

    Args:
        graph: The graph.
        operators: The operators that matter, in topological order.
        rules: Rules in real arithmetic of those that are perturbed.
        dtype: Element type of the perturbed inputs.
        source: Where rules are found.

    Raises:
        UnsupportedOperandError: If it is not known how an operator is executed.
    """
    real: set[str] = set()
    errors: set[str] = set()
    for node in operators:
        if operator_name(node.target) == "as_executed":
            whole, error = _parts(graph, node)
            _refuse_other_users(operators, node, whole)
            real |= whole
            errors |= error - whole
    found: dict[str, Rule] = {}
    for node in operators:
        name = node.name
        if name not in rules:
            if name not in real and name not in errors:
                refuse_constant(node, source.rule_for(node.target))
        elif name in real:
            found[name] = rules[name]
        elif name in errors:
            found[name] = IntervalOnly(rules[name])
        else:
            found[name] = executed(rules[name], node, dtype, source)
    return found


def _parts(graph: Graph, node: Node) -> tuple[set[str], set[str]]:
    """The operators that make up the value of an `as_executed`, and its error, from what its kernel is given."""
    value, error, given = ([ref.name for ref in iter_refs(argument.value)] for argument in node.arguments)
    return _before(graph, value, given), _before(graph, error, given)


def _before(graph: Graph, names: Iterable[str], given: Iterable[str]) -> set[str]:
    found: set[str] = set()
    todo, stop = list(names), set(given)
    while todo:
        name = todo.pop()
        if name in stop or name in found or graph[name].kind is not NodeKind.OPERATOR:
            continue
        found.add(name)
        todo.extend(graph[name].inputs)
    return found


def _refuse_other_users(operators: Sequence[Node], last: Node, whole: set[str]) -> None:
    """Refuse a part of a kernel's computation that somebody else reads as well, such as the mean of a layer norm."""
    _, error, _ = last.arguments
    reads = {ref.name for ref in iter_refs(error.value)}
    for node in operators:
        if (
            node is last
            or node.name in whole
            or node.name in reads
            or operator_name(node.target) == "as_executed"
        ):
            continue
        used = whole.intersection(node.inputs)
        if used and node.origin != last.origin:
            raise UnsupportedOperandError(
                f'{node} reads {sorted(used)[0]!r}, a part of what {last} computes as a whole; covers="float" does not know '
                "how that part is executed. Use the result only, or bound the model in real arithmetic."
            )
