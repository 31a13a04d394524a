"""One bound computation of a training step, whose intermediate bounds all parts of the loss share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from lirpa_core.api.functional import IntermediateBounds, check_bounds, intermediate_bounds, row_bounds
from lirpa_core.errors import SpecificationError
from lirpa_core.linear import Interval
from lirpa_core.linear.coefficients import DenseCoefficients
from lirpa_core.methods import IBP, Method, Problem

T = TypeVar("T")

_IBP = IBP()


@dataclass(frozen=True, eq=False)
class Bounding:
    """Bounds of linear functions of a classifier's output, on one batch.

    Attributes:
        problem: The graph with the batch's perturbations bound.
        method: How the output is bounded.
        checkpointed: Whether to store no inner values for the gradient, and compute them again.
    """

    problem: Problem
    method: Method
    checkpointed: bool = False

    @cached_property
    def target(self) -> str:
        """Name of the output node."""
        outputs = [name for name in self.problem.graph.outputs if name is not None]
        if len(outputs) != 1:
            raise SpecificationError(
                f"a certified loss needs a model with one output, the class scores; this one has {len(outputs)}."
            )
        return outputs[0]

    @cached_property
    def classes(self) -> int:
        """Number of classes `K`."""
        shape = self.problem.shape(self.target)
        if len(shape) != 2 or shape[0] != 1 or shape[1] < 2:
            raise SpecificationError(
                f"a certified loss needs class scores [B, K] with K of at least 2; the output of the model is "
                f"{self.problem.graph[self.target]}."
            )
        return shape[1]

    @cached_property
    def inner(self) -> IntermediateBounds:
        """Bounds of the inner nodes."""
        return self._run(lambda: intermediate_bounds(self.problem, self.method, (self.target,)))

    def scores(self) -> Interval:
        """Interval of the class scores, `[B, K]`."""
        interval = self.inner.intervals[self.target]
        batch = self.problem.batch
        return Interval(
            interval.lower.reshape(-1, self.classes).expand(batch, -1),
            interval.upper.reshape(-1, self.classes).expand(batch, -1),
        )

    def lower(self, rows: Tensor, *, by_intervals: bool = False) -> Tensor:
        """Lower bounds of linear functions of the scores.

        Args:
            rows: Coefficients `[B, R, K]`.
            by_intervals: By interval bound propagation, whatever the method is. The rows still go
                through the affine layers at the end exactly.

        Returns:
            `[B, R]`.
        """
        method = _IBP if by_intervals else self.method
        C = DenseCoefficients(rows.transpose(0, 1).unsqueeze(2))  # [R, B, 1, K]

        def run() -> Tensor:
            found = row_bounds(self.problem, method, self.target, self.inner, C, upper=False)
            assert found.lower is not None
            return found.lower

        _ = self.inner  # computed outside of the checkpointed part
        return self._run(run).T

    def upper(self, rows: Tensor, *, by_intervals: bool = False) -> Tensor:
        """Upper bounds of linear functions of the scores; see `lower`."""
        return -self.lower(-rows, by_intervals=by_intervals)

    def refuse_non_finite(self, value: Tensor) -> None:
        """Check a loss made of these bounds. Waits for the device.

        Raises:
            NonFiniteBoundError: Naming the first layer whose bounds are infinite or NaN.
        """
        check_bounds(self.problem, self.inner.intervals, value, None)

    def _run(self, function: Callable[[], T]) -> T:
        if not (self.checkpointed and torch.is_grad_enabled()):
            return function()
        result: T = checkpoint(function, use_reentrant=False, preserve_rng_state=False)
        return result
