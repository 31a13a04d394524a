"""The tightest bounds of all nodes that follow from those of a call, for who keeps them."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from lirpa_core.linear.interval import Interval
from lirpa_core.methods.base import IntermediateBounds
from lirpa_core.methods.crown import CROWN
from lirpa_core.methods.traversal import intervals
from lirpa_core.problem.problem import Problem


@torch.no_grad()
def tightest_intervals(problem: Problem, known: Mapping[str, Interval], by_rows: bool) -> dict[str, Interval]:
    """Bounds of every node, no wider than the known ones.

    A method that goes backward bounds those elements that a relaxation profits from, and leaves others as interval
    arithmetic found them: affine nodes that no nonlinear operator reads, and neurons that are stable anyway. Here they
    are bounded by rows of their own, and what follows from them by interval arithmetic.

    Args:
        problem: What was bounded.
        known: Bounds that were computed, by node.
        by_rows: Whether nodes behind affine operators are bounded by a backward pass on the known bounds; else only by
            interval arithmetic.

    Returns:
        By node name, `[B, *S]`, without gradient.
    """
    detached = {name: Interval(x.lower.detach(), x.upper.detach()) for name, x in known.items()}
    tight, method, inner = dict(detached), CROWN(), IntermediateBounds(detached)
    done = problem.facts.interval_exact
    for name in problem.facts.affine_operators if by_rows else ():
        if name in done or name not in detached:
            continue
        rows = method.bound_rows(problem, name, inner)
        assert rows.lower is not None and rows.upper is not None
        shape = problem.shape(name)
        found = Interval(
            rows.lower.T.reshape(rows.lower.shape[1], *shape),
            rows.upper.T.reshape(rows.upper.shape[1], *shape),
        )
        tight[name] = tight[name].intersect(found)
    return intervals(problem, tight)
