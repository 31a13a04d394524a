"""Bounds of inner nodes that the user brings along."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lirpa_core.errors import InputError
from lirpa_core.graph import Node
from lirpa_core.linear.interval import Interval
from lirpa_core.problem.problem import Problem


def given_intervals(problem: Problem, given: Mapping[str, Any] | None) -> dict[str, Interval]:
    """`{node name or module path: (lower, upper)}` as intervals `[B, *S]` by node name.

    Raises:
        InputError: For an unknown node, or bounds of a wrong shape.
    """
    found: dict[str, Interval] = {}
    for name, bounds in (given or {}).items():
        node = problem.graph.find(name)
        if node is None:
            raise InputError(
                f"interm_bounds: the model has no node or module {name!r}; its nodes are "
                f"{[n.name for n in problem.graph.nodes]}."
            )
        lower, upper = (bounds.lower, bounds.upper) if isinstance(bounds, Interval) else bounds
        found[node.name] = Interval(_side(problem, node, lower), _side(problem, node, upper))
    return found


def _side(problem: Problem, node: Node, side: Tensor) -> Tensor:
    for batch in {problem.batch, 1}:
        if side.numel() == batch * max(1, torch.Size(node.shape).numel()):
            return side.reshape(batch, *node.shape)
    raise InputError(
        f"interm_bounds: bounds of {node} have shape {list(side.shape)}; expected "
        f"{[problem.batch, *node.shape]}."
    )
