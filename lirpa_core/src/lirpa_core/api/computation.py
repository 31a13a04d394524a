"""One call of `compute_bounds` as a value: what is asked of a problem, so that it can be asked of another one too."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import Tensor

from lirpa_core.api.linear_bounds import linear_bounds_dict
from lirpa_core.api.outputs import OutputNode
from lirpa_core.api.specification import specification_rows
from lirpa_core.devices import in_full_precision, is_traced, ran_out_of_memory
from lirpa_core.errors import MemoryBudgetError
from lirpa_core.linear.interval import Interval
from lirpa_core.linear.shapes import by_element
from lirpa_core.methods.base import Choice, IntermediateBounds, Method, RowBounds
from lirpa_core.problem.postconditions import check_bounds, check_domains, doubtful, ordered
from lirpa_core.problem.problem import Problem

#: Bounds by number of the output, in the layout of the model's outputs, or `[B, K]` with `C`; None where not asked for.
Found: TypeAlias = Mapping[int, tuple[Tensor | None, Tensor | None]]


@dataclass(frozen=True, eq=False)
class Computed:
    """What a computation found.

    Attributes:
        found: The bounds.
        inner: Bounds of the inner nodes.
        A: Linear bounds by output and input; None where they were not asked for.
        choice: What was chosen, by a method that chooses between others.
        outputs: Bounds of the outputs as nodes, by name; of those that were bounded on both sides, without rows.
    """

    found: Found
    inner: IntermediateBounds
    A: Mapping[str, Mapping[str, Mapping[str, Any]]] | None
    choice: Choice | None = None
    outputs: Mapping[str, Interval] = field(default_factory=dict)

    @property
    def intervals(self) -> Mapping[str, Interval]:
        """The tightest bounds of each node that were computed, `[B, *S]`."""
        return {**self.inner.intervals, **self.outputs}


@dataclass(frozen=True, eq=False)
class Computation:
    """What is asked.

    Attributes:
        method: The method.
        nodes: What is bounded, by number of the output.
        C: The specification matrix.
        lower: Whether lower bounds are wanted.
        upper: Whether upper bounds are wanted.
        given: Sound intervals of inner nodes to intersect with.
        further: Makes other bounds of the inner nodes of those that the method finds.
        memory_budget: Bytes that coefficients may take.
        linear_bounds: Whether the linear bounds are wanted.
        needed: Over which inputs or inner nodes, by output; None: over all inputs.
    """

    method: Method
    nodes: Mapping[int, OutputNode]
    C: Tensor | None = None
    lower: bool = True
    upper: bool = True
    given: Mapping[str, Interval] | None = None
    further: Callable[[Problem, IntermediateBounds], IntermediateBounds] | None = None
    memory_budget: int | None = None
    linear_bounds: bool = False
    needed: Mapping[str, str | Sequence[str] | set[str]] | None = None

    @in_full_precision
    def run(self, problem: Problem) -> Computed:
        """The bounds of a problem.

        Raises:
            LirpaError: A box outside a domain, a bound that is not finite, a specification that does not fit, memory that
                is not enough.
        """
        try:
            return self._run(problem)
        except (RuntimeError, MemoryError) as error:
            if not ran_out_of_memory(error):
                raise
            raise MemoryBudgetError(
                f"{self.method.name} of {problem.batch} examples needs more memory than there is on {problem.device}, outside "
                "of what is taken in parts (rows of coefficients). Use fewer examples at a time, float32, torch.no_grad(), no "
                f"return_A, another method (IBP needs least), or free memory of other things. PyTorch says: {error}"
            ) from error

    def _run(self, problem: Problem) -> Computed:
        wanted = [node.name for node in self.nodes.values() if problem.is_perturbed(node.name)]
        inner = self.method.intermediate_bounds(problem, wanted, self.given, self.memory_budget)
        if self.further is not None:
            inner = self.further(problem, inner)
        traced = is_traced()
        if not traced:
            check_domains(problem, inner.intervals)
        monitor = problem.monitor
        if monitor is not None:
            monitor.begin("bounds of the output", len(wanted))
        found: dict[int, tuple[Tensor | None, Tensor | None]] = {}
        A: dict[str, Mapping[str, Mapping[str, Any]]] = {}
        choice: Choice | None = None
        outputs: dict[str, Interval] = {}
        for i, node in self.nodes.items():
            name = node.name
            rows = None if self.C is None else specification_rows(problem, problem.graph[name], self.C)
            if not problem.is_perturbed(name):
                value = node.constant(problem, rows)
                found[i] = value, value
                continue
            if rows is None and 0 in problem.shape(name):  # there is nothing to bound
                nothing = torch.zeros(0, problem.batch, dtype=problem.dtype_of(name), device=problem.device)
                found[i] = node.lay_out(problem, RowBounds(nothing, nothing), specified=False)
                continue
            if monitor is not None:
                monitor.part(name, 1.0)
            bounds = self.method.bound_rows(
                problem, name, inner, rows,
                lower=self.lower, upper=self.upper, linear_bounds=self.linear_bounds, memory_budget=self.memory_budget,
            )  # fmt: skip
            choice = choice or bounds.choice
            check = _unless_doubtful if traced else check_bounds
            lower, upper = check(problem, inner.intervals, bounds.lower, bounds.upper)
            if lower is not bounds.lower:
                bounds = dataclasses.replace(bounds, lower=lower, upper=upper)
            if rows is None and lower is not None and upper is not None:
                shape = problem.shape(name)
                outputs[name] = Interval(by_element(lower, shape), by_element(upper, shape))
            found[i] = node.lay_out(problem, bounds, specified=self.C is not None)
            if self.linear_bounds:
                needed = (self.needed or {}).get(name)
                A[name] = linear_bounds_dict(problem, bounds, needed, name, inner.intervals, rows)
        if monitor is not None:
            monitor.end()
        return Computed(found, inner, A if self.linear_bounds else None, choice, outputs)


def _unless_doubtful(
    problem: Problem, intervals: Mapping[str, Interval], lower: Tensor | None, upper: Tensor | None
) -> tuple[Tensor | None, Tensor | None]:
    """The bounds, or NaN where `check_domains` or `check_bounds` would refuse something: while a trace is made nobody may ask."""
    doubt = doubtful(problem, intervals, [(lower, upper)])
    if lower is not None and upper is not None:
        lower, upper = ordered(lower, upper)
    low, up = (None if b is None else torch.where(doubt, torch.nan, b) for b in (lower, upper))
    return low, up
