"""Bounds of a task's rows over sets of inputs, by the core."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from lirpa_core import BoundedModule, BoundedTensor, Interval, PerturbationLpNorm
from lirpa_core.api import functional
from lirpa_core.methods import Method
from lirpa_core.plugins import LiveModel
from lirpa_verify.task import Task
from lirpa_verify.widened import Widened


@dataclass(frozen=True, eq=False)
class LinearBounds:
    """Linear lower bounds of rows over boxes.

    Attributes:
        lower: Concrete lower bounds `[B, R]`.
        A: Coefficients over the flattened input, `[B, R, N]`.
        bias: `[B, R]`.
    """

    lower: Tensor
    A: Tensor
    bias: Tensor


class Bounder:
    """The bounded network of a task in float64; it is captured when it is first used.

    Args:
        task: The task.
        captured: What has bounded the same module for another task.
    """

    def __init__(self, task: Task, captured: Bounder | None = None) -> None:
        self.task = task
        if captured is not None and captured.task.property.has_inputs == task.property.has_inputs:
            for name in ("model", "quick"):
                if name in captured.__dict__:
                    self.__dict__[name] = captured.__dict__[name]

    @cached_property
    def model(self) -> BoundedModule:
        """The network, bounded."""
        return self._bounded(torch.float64)

    @cached_property
    def quick(self) -> BoundedModule:
        """The network in float32, bounded: for what only guides a search."""
        return self._bounded(torch.float32)

    def _bounded(self, dtype: torch.dtype) -> BoundedModule:
        own = self.task.network.dtype
        wider = own is torch.float32 and dtype is torch.float64
        live = LiveModel(self.task.module(own if wider else dtype), straight=self.task.network.straight)
        example = tuple(x.to(dtype) for x in self.task.region.nominal)
        if wider:  # the module rounds in float32, and is compared with its graph when it is captured
            return BoundedModule(Widened(live), example, {"tripwire": False})
        return BoundedModule(live, example)

    def intermediate_bounds(self, method: str | Method) -> Mapping[str, Interval]:
        """Bounds of all nodes over the task's region, `[1, *S]`."""
        problem = self.model.problem(self.task.region.bounded())
        with torch.no_grad():
            found = functional.intermediate_bounds(problem, method, functional.output_names(problem))
        return found.intervals

    def lower(
        self,
        rows: Sequence[int],
        method: str,
        inputs: Sequence[Tensor] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Tensor:
        """Lower bounds of some rows.

        Args:
            rows: Their numbers, `R` of them.
            method: As for `BoundedModule.compute_bounds`.
            inputs: Sets of `B` examples; default: the task's region.
            options: The core's options for this and later calls.

        Returns:
            `[B, R]`.
        """
        inputs = self.task.region.bounded() if inputs is None else inputs
        if options is not None:
            self.model.set_bound_opts(options)
        C, c = self._specification(rows, inputs[0].shape[0])
        with torch.no_grad():
            found = self.model.compute_bounds(x=tuple(inputs), C=C, method=method, bound_upper=False)
        lower: Tensor = found.lower.detach()
        return lower + c

    def linear(self, lower: Tensor, upper: Tensor, rows: Sequence[int], method: str) -> LinearBounds:
        """Linear lower bounds of some rows over boxes of the only input.

        Args:
            lower: Lower limits of boxes, `[B, N]`.
            upper: Upper limits.
            rows: Numbers of `R` rows.
            method: A method with linear bounds.
        """
        x = self.boxes(lower, upper)
        C, c = self._specification(rows, lower.shape[0])
        with torch.no_grad():
            found = self.model.compute_bounds(x=(x,), C=C, method=method, bound_upper=False, return_A=True)
        assert found.A is not None
        ((entry,),) = (tuple(by_input.values()) for by_input in found.A.values())
        A, bias = entry["lA"].flatten(2), entry["lbias"] + c
        concrete = (A.clamp(min=0) @ lower.unsqueeze(2) + A.clamp(max=0) @ upper.unsqueeze(2)).squeeze(
            2
        ) + bias
        return LinearBounds(concrete.maximum(found.lower + c), A, bias)

    def boxes(self, lower: Tensor, upper: Tensor) -> BoundedTensor:
        """Boxes `[B, N]` as one batch of the network's only input."""
        (shape,) = self.task.network.shapes
        low, high = lower.reshape(-1, *shape), upper.reshape(-1, *shape)
        return BoundedTensor((low + high) / 2, PerturbationLpNorm(x_L=low, x_U=high))

    def _specification(self, rows: Sequence[int], batch: int) -> tuple[Tensor, Tensor]:
        own = self.task.rows
        C = own.coefficients[list(rows)]
        return C.expand(batch, *C.shape), own.constants[list(rows)]
