"""A graph with its perturbed inputs and its constants bound: what every method works on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from lirpa_core.devices import Processes, in_full_precision
from lirpa_core.graph import Graph, Shape
from lirpa_core.linear.affine import AffineForm
from lirpa_core.linear.coefficients import Coefficients
from lirpa_core.linear.infinite import split_dot
from lirpa_core.linear.interval import Interval
from lirpa_core.linear.kernels import Kernels
from lirpa_core.linear.rounding import gamma, tiny, widened
from lirpa_core.problem.facts import Facts
from lirpa_core.problem.inputs import JointInputs, PerturbedInput
from lirpa_core.progress import Monitor
from lirpa_core.rules.base import Rule
from lirpa_core.rules.call import Call, Const
from lirpa_core.rules.precision import bounds_dtype


@dataclass(frozen=True, eq=False)
class Problem:
    """Everything that a bound computation reads, fixed.

    Attributes:
        graph: The captured graph.
        rules: Rule of every perturbed operator, by node name.
        kernels: The dispatch table for structured coefficients.
        inputs: The perturbed inputs, by node name.
        joint: Those of them that share a set with others.
        constants: Values of all nodes that no perturbation reaches.
        calls: Bound calls of all perturbed operators, in topological order.
        batch: Number of examples `B`.
        facts: What follows from which operands are perturbed.
        dtype: Element type of the bounds of the inputs.
        device: Device of the bounds.
        outward: Whether bounds account for the rounding of their own computation.
        monitor: What is told how far the computation is; None: nobody asked.
        processes: Those that share the rows of a layer; None: this one works alone.
    """

    graph: Graph
    rules: Mapping[str, Rule]
    kernels: Kernels
    inputs: Mapping[str, PerturbedInput]
    joint: tuple[JointInputs, ...]
    constants: Mapping[str, Const]
    calls: Mapping[str, Call]
    batch: int
    facts: Facts
    dtype: torch.dtype
    device: torch.device
    outward: bool = False
    monitor: Monitor | None = None
    processes: Processes | None = None

    def within(self, share: float) -> None:
        """Say which share of the part that is being worked on is done.

        Raises:
            OutOfTime: The time is over; whoever set a deadline catches it.
        """
        if self.monitor is not None:
            self.monitor.within(share)

    def is_perturbed(self, name: str) -> bool:
        """Whether a perturbation reaches the node."""
        return name in self.calls or name in self.inputs

    def may_be_infinite(self, name: str) -> bool:
        """Whether the bounds of a node may be infinite, because a constant on the way to it is."""
        return name in self.calls and self.calls[name].infinite

    def shape(self, name: str) -> Shape:
        """Shape of one example of a node."""
        return self.graph.by_name[name].shape

    def dtype_of(self, name: str) -> torch.dtype:
        """Element type of a node's bounds: float64 where the node or the inputs are, else float32."""
        known = self.facts.dtypes.get(name)
        return bounds_dtype(self.graph.by_name[name].dtype, self.dtype) if known is None else known

    def ancestors(self, name: str) -> frozenset[str]:
        """A perturbed node and all perturbed nodes that it depends on."""
        found = {name}
        for node in self.facts.reversed_order:
            if node in found:
                found.update(self.calls[node].operands)
        return frozenset(found)

    def hulls(self) -> dict[str, Interval]:
        """Elementwise bounds of all perturbed inputs in the graph's layout, `[B, *S]`."""
        found: dict[str, Interval] = {}
        for group in self.joint:
            found.update(group.hulls())
        for name, member in self.inputs.items():
            if name not in found:
                found[name] = member.laid_out(member.perturbation.hull(member.x))
        if self.outward:  # the ends of a ball are rounded
            found = {n: widened(x, "ends" if x.known_midpoint_radius is None else "box", gamma(4, self.dtype))
                     for n, x in found.items()}  # fmt: skip
        return {name: found[name] for name in self.inputs}

    def concretize(self, coefficients: Mapping[str, Coefficients]) -> Tensor | None:
        """Minimum of `Σ coefficients[name] · name` over the inputs' sets, `[R, B or 1]`; None where none is named."""
        value: Tensor | None = None
        alone = self.inputs
        if self.joint:
            alone = {n: member for n, member in alone.items() if member.perturbation.joint_key is None}
        for name, member in alone.items():
            A = coefficients.get(name)
            if A is not None and self.outward:
                part = self._least(member, A)
                value = part if value is None else value + part
            elif A is not None:
                A = A if member.batch_dim is None else A.squeeze(member.batch_dim)
                part = member.perturbation.concretize(member.x, A)
                value = part if value is None else value + part
        for group in self.joint:
            shared = group.concretize(coefficients)
            if shared is not None and self.outward:
                shared = shared - self._rounding_of(group.hulls(), coefficients)
            if shared is not None:
                value = shared if value is None else value + shared
        return value

    def _least(self, member: PerturbedInput, A: Coefficients) -> Tensor:
        """The minimum of rows over one input's set, less what rounding may have added: `[R, B]`.

        Over a box it is that over a slightly larger one; over other sets the error is taken off.
        """
        hull = member.laid_out(member.perturbation.hull(member.x))
        factor = gamma(math.prod(A.shape) + 2 * len(self.calls) + 16, self.dtype)
        if member.is_box:
            middle, radius = widened(hull, "box", factor).midpoint_radius()
            return A.dot(middle) - A.dual_norm(1, radius)
        inner = A if member.batch_dim is None else A.squeeze(member.batch_dim)
        slack = A.dual_norm(1, factor * hull.size).detach() + tiny(self.dtype) * math.prod(A.shape)
        return member.perturbation.concretize(member.x, inner) - slack

    def _rounding_of(
        self, hulls: Mapping[str, Interval], coefficients: Mapping[str, Coefficients]
    ) -> Tensor | float:
        total: Tensor | float = 0.0
        for name, hull in hulls.items():
            if name in coefficients:
                A = coefficients[name]
                factor = gamma(math.prod(A.shape) + 2 * len(self.calls) + 16, self.dtype)
                lost = tiny(self.dtype) * math.prod(A.shape)
                total = total + A.dual_norm(1, factor * hull.size).detach() + lost
        return total

    @in_full_precision
    def minimum(self, form: AffineForm, intervals: Mapping[str, Interval] | None = None) -> Tensor:
        """Minimum of an affine form over the perturbation sets: its concretization.

        Args:
            form: `R` rows.
            intervals: Bounds of the nodes, where propagation stopped before the inputs.

        Returns:
            `[R, B]`.
        """
        value = form.bias
        over_inputs = self.concretize(form.coefficients)
        if over_inputs is not None:
            value = value + over_inputs
        for name in form.coefficients.keys() - self.inputs.keys():
            assert intervals is not None
            box = intervals[name]
            if self.outward:
                box = widened(box, "box", gamma(math.prod(self.shape(name)) + 16, self.dtype))
            value = value + split_dot(form.coefficients[name], box, self.may_be_infinite(name))
        if self.outward:
            factor = gamma(8, self.dtype)  # of products, so that infinite values stay
            value = (
                torch.minimum(value * (1 - factor), value * (1 + factor))
                - tiny(self.dtype) * self.facts.widest
            )
        return value.expand(-1, self.batch) if value.shape[1] == 1 else value
