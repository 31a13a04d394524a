"""One call that bounds a live model, step by step: graph, nodes, problem, computation, checks, result.

`BoundedModule.compute_bounds` takes these steps once, and what `BoundedModule.compiled` makes records them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lirpa_core.api.computation import Computation, Computed, Found
from lirpa_core.api.intermediate_bounds import given_intervals
from lirpa_core.api.options import BoundOptions, positive
from lirpa_core.api.outputs import OutputKey, OutputNode, output_nodes, structured
from lirpa_core.api.results import BoundsResult, NodeBounds
from lirpa_core.api.rounding import Moved, may_matter
from lirpa_core.api.shared_problem import shared_problem
from lirpa_core.api.tripwire import Watch
from lirpa_core.capture.batch_state import BatchState
from lirpa_core.capture.captured_model import CapturedModel, without_set
from lirpa_core.devices import Processes
from lirpa_core.graph import Graph
from lirpa_core.linear.interval import Interval
from lirpa_core.methods.base import IntermediateBounds, Method
from lirpa_core.methods.rows import bytes_of_a_row
from lirpa_core.plugins import Registry
from lirpa_core.problem.problem import Problem
from lirpa_core.progress import Monitor


@dataclass(eq=False)
class Occasions:
    """When a look that costs much beside a call is due: at the first call, the second, the fourth, the eighth and so on.

    Attributes:
        calls: Calls so far that may have been looked at.
    """

    calls: int = 0

    def due(self) -> bool:
        """Whether this call is to be looked at; counts it."""
        self.calls += 1
        return self.calls & (self.calls - 1) == 0


@dataclass(frozen=True, eq=False)
class Question:
    """What is asked of a model, whatever its inputs are.

    Attributes:
        captured: The live model and its graphs.
        registry: Rules to use.
        options: Options of the model.
        method: The method.
        output: What is bounded, see `compute_bounds`.
        C: The specification matrix.
        lower: Whether lower bounds are wanted.
        upper: Whether upper bounds are wanted.
        watching: When a cheap method's bounds are compared with the model's own value.
        rounding: When bounds are looked at for what rounding made of them.
    """

    captured: CapturedModel
    registry: Registry
    options: BoundOptions
    method: Method
    output: OutputKey
    C: Tensor | None
    lower: bool
    upper: bool
    watching: Occasions
    rounding: Occasions

    def graph(self, inputs: Sequence[Any]) -> Graph:
        """The model's graph as it is now, for flattened inputs.

        Raises:
            CaptureError: If the model has changed and cannot be captured as one graph any more.
        """
        options = self.options
        return self.captured.graph(self.registry, inputs, options.covers == "float", options.progress)

    def of(self, inputs: Sequence[Any], graph: Graph, batch_state: BatchState | None = None) -> BoundCall:
        """The question about certain inputs, with their values and those of the model bound.

        Args:
            inputs: The inputs, flattened; the perturbed ones are `BoundedTensor`s.
            graph: The model's graph for them.
            batch_state: Of a model in training mode: the statistics and masks to hold.

        Raises:
            LirpaError: Of the class that fits: no such output, an input of a wrong shape, nothing perturbed, an operator
                without a rule.
        """
        nodes = output_nodes(graph, self.output, self.C)
        names = frozenset([node.name for node in nodes.values()])
        outward = self.options.rounding == "outward"
        problem = self.captured.bind(graph, self.registry, inputs, names, batch_state, outward)
        return BoundCall(self, inputs, nodes, problem, batch_state)


@dataclass(frozen=True, eq=False)
class BoundCall:
    """A question about certain inputs.

    Attributes:
        question: What is asked.
        inputs: The inputs, flattened.
        nodes: What is bounded, by number of the output.
        problem: The bound problem.
        batch_state: The statistics and masks that it holds, where they were given.
    """

    question: Question
    inputs: Sequence[Any]
    nodes: Mapping[int, OutputNode]
    problem: Problem
    batch_state: BatchState | None = None

    def computation(
        self,
        *,
        given: Mapping[str, Any] | None = None,
        further: Callable[[Problem, IntermediateBounds], IntermediateBounds] | None = None,
        memory_budget: int | None = None,
        linear_bounds: bool = False,
        needed: Mapping[str, str | Sequence[str] | set[str]] | None = None,
    ) -> Computation:
        """What is to be computed.

        Args:
            given: Sound bounds of inner nodes, `{node or module path: (lower, upper)}`.
            further: See `Computation`.
            memory_budget: Bytes that coefficients may take; default: what the options say.
            linear_bounds: Whether the linear bounds are wanted.
            needed: Over which inputs or inner nodes, by output.

        Raises:
            InputError: Bounds of an unknown node, or of a wrong shape.
            OptionError: The budget is not a positive whole number.
        """
        asked = self.question
        intervals = given_intervals(self.problem, given) if given else None
        budget = self._budget(memory_budget)
        return Computation(
            asked.method, self.nodes, asked.C, asked.lower, asked.upper, intervals, further, budget, linear_bounds, needed
        )  # fmt: skip

    def run(self, computation: Computation, processes: Processes | None = None) -> Computed:
        """Compute, and report progress to whom the options name.

        Args:
            computation: What is to be computed.
            processes: Those that share its rows.

        Raises:
            LirpaError: See `Computation.run`.
        """
        report, problem = self.question.options.progress, self.problem
        if report is not None:
            problem = dataclasses.replace(problem, monitor=Monitor(report))
        return computation.run(
            problem if processes is None else shared_problem(problem, computation, processes)
        )

    def watch(self, found: Found, intervals: Mapping[str, Interval] | None = None) -> None:
        """Compare the bounds with the model's own value, where that is due; not of a model in training mode.

        Args:
            found: The bounds.
            intervals: Bounds of the inner nodes, which an error names.

        Raises:
            SoundnessError: The value is outside of the bounds, or the model is no longer what was captured.
        """
        asked, problem = self.question, self.problem
        points, captured = asked.options.tripwire, asked.captured
        if not self._is_watched() and (points is False or captured.is_certain(problem.graph)):
            return
        if self.batch_state is not None or captured.takes_state(problem.graph):
            return
        plain = [without_set(v) if isinstance(v, Tensor) else v for v in self.inputs]
        watch = Watch(captured, problem.graph, problem, plain, intervals or {}, self.nodes, found, asked.C)
        watch.check(points, asked.output)

    def moved(self, computation: Computation, computed: Computed) -> Moved | None:
        """What can tell by how much rounding moved these bounds; nothing while PyTorch compiles.

        Warns where a look is due and bounds have moved by more than their width.
        """
        if torch.compiler.is_compiling():
            return None
        asked = self.question
        layout = partial(structured, graph=self.problem.graph, output=asked.output)
        moved = Moved.of(self.problem, computation, computed.found, layout)
        if asked.rounding.due() and may_matter(self.problem, computed.inner.intervals):
            moved.warn()
        return moved

    def result(self, computed: Computed, moved: Moved | None) -> BoundsResult:
        """The bounds in the structure of the model's output, and what is known besides."""
        asked, choice = self.question, computed.choice
        graph, output, found = self.problem.graph, asked.output, computed.found
        return BoundsResult(
            structured({i: low for i, (low, _) in found.items()}, graph, output) if asked.lower else None,
            structured({i: up for i, (_, up) in found.items()}, graph, output) if asked.upper else None,
            computed.A,
            NodeBounds(graph, computed.intervals),
            asked.method.name if choice is None else choice.method,
            "" if choice is None else choice.reason,
            graph.assumed,
            self.problem,
            moved,
        )

    def _is_watched(self) -> bool:
        """Whether the model is run to check these bounds; where that is not cheap, less and less often."""
        asked = self.question
        points = asked.options.tripwire
        if points == "corners" or not points or asked.method.gives_linear_bounds:
            return bool(points)
        return asked.watching.due()

    def _budget(self, given: int | None) -> int | None:
        """Bytes for coefficients: the budget given to the call or by the options, or what the stated number of rows takes."""
        options = self.question.options
        if given is not None:
            positive("memory_budget", given)
        stated = options.memory_budget if given is None else given
        if options.crown_batch_size is None:
            return stated
        rows = options.crown_batch_size * bytes_of_a_row(self.problem)
        return rows if stated is None else min(stated, rows)
