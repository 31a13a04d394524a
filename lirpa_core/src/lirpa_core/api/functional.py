"""The functional layer: capture → bind → intervals, affine bounds, row bounds → concretize.

`BoundedModule` is made of these functions, and so are `lirpa_training` and whoever shares intermediate bounds
between several computations. All of them are pure: they take tensors and return tensors.

>>> import torch
>>> from lirpa_core import BoundedTensor, PerturbationLpNorm, functional
>>> from torch import nn
>>> model = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 3))
>>> x = torch.zeros(4, 2)
>>> captured = functional.capture(model, x)
>>> problem = functional.bind(captured, BoundedTensor(x, PerturbationLpNorm(eps=0.1)))
>>> (node,) = functional.output_names(problem)
>>> inner = functional.intermediate_bounds(problem, "CROWN", wanted=(node,))
>>> found = functional.row_bounds(problem, "CROWN", node, inner)
>>> tuple(found.lower.shape)  # [R, B]
(3, 4)

Shapes: `B` examples, `R` specification rows, `S` the shape of one example of a node's value (a singleton where the
model has its batch dimension).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lirpa_core.api.methods import requested_method
from lirpa_core.api.options import Rounding
from lirpa_core.api.specification import specification_rows
from lirpa_core.capture.batch_state import BatchState
from lirpa_core.capture.captured_model import CapturedModel
from lirpa_core.capture.inputs import AUTO
from lirpa_core.linear.affine import AffineForm
from lirpa_core.linear.coefficients import Coefficients
from lirpa_core.linear.interval import Interval
from lirpa_core.methods import (
    IntermediateBounds,
    Method,
    Relaxations,
    RowBounds,
    backward,
    forward,
    intervals,
)
from lirpa_core.plugins import Registry, default_registry
from lirpa_core.problem.postconditions import check_bounds, check_domains
from lirpa_core.problem.problem import Problem


def capture(
    model: object,
    example: Any,
    *,
    registry: Registry | None = None,
    kwargs: Mapping[str, Any] | None = None,
    batch_dims: Sequence[int | None] | str | None = AUTO,
    device: torch.device | str | None = None,
) -> CapturedModel:
    """A model with the graph of one example.

    Args:
        model: An `nn.Module`, an `ExportedProgram`, or whatever else a reader reads.
        example: An example input, or a tuple of all positional inputs; a batch of any size.
        registry: Rules to use; default: those of all installed plugins.
        kwargs: Example keyword inputs.
        batch_dims: See `BoundedModule`.
        device: Where to move the model; default: where it is.

    Raises:
        CaptureError: If the model cannot be captured as one graph; says where and what to do.
    """
    registry = registry or default_registry()
    captured = CapturedModel.of(model, example, kwargs, batch_dims, device, registry)
    captured.graph(registry)
    return captured


def bind(
    captured: CapturedModel,
    x: Any = None,
    *,
    kwargs: Mapping[str, Any] | None = None,
    wanted: Collection[str] | None = None,
    batch_state: BatchState | None = None,
    registry: Registry | None = None,
    rounding: Rounding = "outward",
) -> Problem:
    """The bound problem of these inputs and the model's current parameters.

    Args:
        captured: From `capture`.
        x: Positional inputs, the perturbed ones as `BoundedTensor`; one input need not be a tuple.
        kwargs: Keyword inputs.
        wanted: Names of the nodes whose bounds are wanted; default: the outputs.
        batch_state: Of a model in training mode: the statistics and masks to hold; default: those of these inputs.
        registry: Rules to use; default: those of all installed plugins.
        rounding: `"outward"` or `"nearest"`, see `BoundOptions`.

    Raises:
        LirpaError: Of the class that fits: an input of a wrong shape, nothing perturbed, an operator without a rule.
    """
    registry = registry or default_registry()
    inputs = captured.flatten(x, kwargs)
    graph = captured.graph(registry, inputs)
    names = [n for n in graph.outputs if n is not None] if wanted is None else wanted
    return captured.bind(graph, registry, inputs, frozenset(names), batch_state, rounding == "outward")


def output_names(problem: Problem) -> tuple[str, ...]:
    """Names of the output nodes, in the order of the model's flattened output."""
    return tuple([name for name in problem.graph.outputs if name is not None])


def find_method(method: str | Method, registry: Registry | None = None) -> Method:
    """A method by any of its names, in any case; an object is returned as it is.

    >>> str(find_method("backward"))
    'CROWN'

    Raises:
        OptionError: Listing the methods there are.
    """
    return requested_method(registry or default_registry(), method)


def intermediate_bounds(
    problem: Problem,
    method: str | Method,
    wanted: Collection[str] = (),
    given: Mapping[str, Interval] | None = None,
    memory_budget: int | None = None,
) -> IntermediateBounds:
    """Intervals `[B, *S]` of the inner nodes, as a method bounds them.

    Args:
        problem: From `bind`.
        method: A name or an object.
        wanted: Nodes whose bounds will be asked for, besides those that relaxations need.
        given: Sound intervals to intersect with, by node name.
        memory_budget: Bytes that coefficients may take; default: what fits the cache of a CPU, or a part of a
            GPU's free memory.

    Raises:
        DomainError: If a box reaches outside the domain of a function.
    """
    found = find_method(method).intermediate_bounds(problem, wanted, given, memory_budget)
    check_domains(problem, found.intervals)
    return found


def row_bounds(
    problem: Problem,
    method: str | Method,
    node: str,
    inner: IntermediateBounds,
    rows: Coefficients | None = None,
    *,
    lower: bool = True,
    upper: bool = True,
    linear_bounds: bool = False,
    memory_budget: int | None = None,
) -> RowBounds:
    """Bounds `[R, B]` of rows over a node, given the intervals of the nodes before it.

    Args:
        problem: From `bind`.
        method: A name or an object.
        node: The node.
        inner: From `intermediate_bounds` with the node among the wanted ones.
        rows: Specification rows `[R, B or 1, *S]`, see `specification_rows`; default: every element of the node.
        lower: Whether lower bounds are wanted.
        upper: Whether upper bounds are wanted.
        linear_bounds: Whether the linear bounds are wanted too.
        memory_budget: See `intermediate_bounds`.
    """
    return find_method(method).bound_rows(
        problem, node, inner, rows,
        lower=lower, upper=upper, linear_bounds=linear_bounds, memory_budget=memory_budget,
    )  # fmt: skip


def concretize(problem: Problem, form: AffineForm, intervals: Mapping[str, Interval] | None = None) -> Tensor:
    """Minimum `[R, B]` of affine functions of the inputs over the perturbation sets.

    Args:
        problem: From `bind`.
        form: The functions.
        intervals: Intervals of inner nodes, where `form` is over such.
    """
    return problem.minimum(form, intervals)


__all__ = [
    "AffineForm",
    "BatchState",
    "CapturedModel",
    "IntermediateBounds",
    "Method",
    "Problem",
    "Relaxations",
    "RowBounds",
    "backward",
    "bind",
    "capture",
    "check_bounds",
    "check_domains",
    "concretize",
    "find_method",
    "forward",
    "intermediate_bounds",
    "intervals",
    "output_names",
    "row_bounds",
    "specification_rows",
]
