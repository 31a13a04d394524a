"""From a problem and a request to the result that the user gets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from lirpa_core.api.intermediate_bounds import given_intervals
from lirpa_core.api.linear_bounds import linear_bounds_dict
from lirpa_core.api.options import SlopeSearch
from lirpa_core.api.outputs import Target, structured
from lirpa_core.api.request import Request
from lirpa_core.api.results import BoundsResult, NodeBounds
from lirpa_core.api.specification import specification_rows
from lirpa_core.methods.compute import intermediate_bounds, row_bounds
from lirpa_core.problem.postconditions import check_bounds, check_domains
from lirpa_core.problem.problem import Problem


def bound_targets(
    problem: Problem,
    targets: Mapping[int, Target],
    request: Request,
    *,
    memory_budget: int | None,
    search: SlopeSearch,
) -> BoundsResult:
    """Bound the targets as the request says.

    Args:
        problem: The problem, made for these targets.
        targets: Nodes to bound, by number of the output.
        request: What is asked for.
        memory_budget: Bytes that coefficients may take; None: a share of the free memory.
        search: How the method that optimises slopes does so.

    Raises:
        LirpaError: Of the class that fits, see `BoundedModule.compute_bounds`.
    """
    wanted = [t.name for t in targets.values() if problem.is_perturbed(t.name)]
    given = given_intervals(problem, request.interm_bounds)
    inner = intermediate_bounds(problem, request.method, wanted, given, memory_budget, search)
    check_domains(problem, inner.intervals)
    lower: dict[int, Tensor | None] = {}
    upper: dict[int, Tensor | None] = {}
    A: dict[str, Mapping[str, Mapping[str, Any]]] = {}
    specified = request.C is not None
    for i, target in targets.items():
        name = target.name
        rows = None if request.C is None else specification_rows(problem, problem.graph[name], request.C)
        if not problem.is_perturbed(name):
            lower[i] = upper[i] = target.constant(problem, rows)
            continue
        found = row_bounds(
            problem, request.method, name, inner, rows,
            lower=request.lower, upper=request.upper, forms=request.return_A,
            memory_budget=memory_budget, search=search,
        )  # fmt: skip
        check_bounds(problem, inner.intervals, found.lower, found.upper)
        lower[i] = target.lay_out(problem, found.lower, specified=specified)
        upper[i] = target.lay_out(problem, found.upper, specified=specified)
        if request.return_A:
            A[name] = linear_bounds_dict(problem, found, (request.needed_A_dict or {}).get(name))
    return BoundsResult(
        structured(lower, problem.graph, request.output) if request.lower else None,
        structured(upper, problem.graph, request.output) if request.upper else None,
        A if request.return_A else None,
        NodeBounds(problem.graph, inner.intervals),
    )
