"""One question about one set of inputs, in the form that attacks, bounds and searches work on."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor, nn

from lirpa_verify.network import Network
from lirpa_verify.properties.property import Property
from lirpa_verify.region import Region


@dataclass(frozen=True, eq=False)
class Rows:
    """The property's inequalities, negated: a violation needs all its rows to be at most zero.

    A row is `coefficients · (outputs, inputs) + constants`. Where no inequality is over inputs, the
    coefficients are over the outputs alone.

    Attributes:
        coefficients: `[R, K]` or `[R, K + N]`, float64.
        constants: `[R]`.
        groups: Which rows belong to which violation, `[G, R]`.
    """

    coefficients: Tensor
    constants: Tensor
    groups: Tensor

    @classmethod
    def of(cls, prop: Property, outputs: int, inputs: int) -> Rows:
        """The rows of a property; equal inequalities share one."""
        width = outputs + inputs if prop.has_inputs else outputs
        distinct = {inequality: None for c in prop.violations for inequality in c}
        numbers = {inequality: i for i, inequality in enumerate(distinct)}
        coefficients = torch.zeros(len(numbers), width, dtype=torch.float64)
        constants = torch.zeros(len(numbers), dtype=torch.float64)
        for inequality, row in numbers.items():
            for i, a in inequality.outputs:
                coefficients[row, i] = -float(a)
            for i, a in inequality.inputs:
                coefficients[row, outputs + i] = -float(a)
            constants[row] = -float(inequality.constant)
        groups = torch.zeros(len(prop.violations), len(numbers), dtype=torch.bool)
        for g, conjunction in enumerate(prop.violations):
            for inequality in conjunction:
                groups[g, numbers[inequality]] = True
        return cls(coefficients, constants, groups)

    def values(self, outputs: Tensor) -> Tensor:
        """The rows at points: from `[B, K (+ N)]` to `[B, R]`, in the points' type."""
        return outputs @ self.coefficients.to(outputs.dtype).T + self.constants.to(outputs.dtype)

    def margins(self, rows: Tensor) -> Tensor:
        """From values or lower bounds of rows `[B, R]` to those of violations `[B, G]`.

        A violation is out of reach as soon as one of its rows is positive, so the largest counts.
        """
        spread = rows.unsqueeze(1).expand(-1, self.groups.shape[0], -1)
        return spread.masked_fill(~self.groups, -torch.inf).amax(2)


class WithInputs(nn.Module):
    """A module whose outputs `[B, K]` are followed by its flattened inputs: `[B, K + N]`."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.training = False

    def forward(self, *inputs: Tensor) -> Tensor:
        """Run the module."""
        return torch.cat([self.module(*inputs), *(x.flatten(1) for x in inputs)], 1)


@dataclass(frozen=True, eq=False)
class Task:
    """A network, a set of inputs, and what must not happen there.

    Attributes:
        network: The network.
        region: The inputs.
        property: The violations.
        rows: The same in numbers.
    """

    network: Network
    region: Region
    property: Property
    rows: Rows

    @classmethod
    def of(cls, network: Network, region: Region, prop: Property) -> Task:
        """A task, once the property is known to fit the network.

        Raises:
            PropertyError: If it mentions outputs or inputs that there are not.
        """
        prop = prop.property_for(network.outputs)
        prop.check_inputs(network.inputs)
        return cls(network, region, prop, Rows.of(prop, network.outputs, network.inputs))

    def module(self, dtype: torch.dtype) -> nn.Module:
        """What the rows are over: the network, its inputs behind its outputs if the property is over them."""
        own = self.network.dtype
        module = self.network.module if dtype == own else self.network.computing_in(dtype)
        return WithInputs(module) if self.property.has_inputs else module


@dataclass(frozen=True, eq=False)
class Counterexample:
    """An input of the set whose outputs, computed by the original network, violate the property.

    Attributes:
        inputs: A tensor `[*S]` for each input.
        outputs: What the original network gives, flattened.
        violation: Which violation of the property holds there.
    """

    inputs: tuple[Tensor, ...]
    outputs: Tensor
    violation: int


def replay(task: Task, inputs: tuple[Tensor, ...]) -> Counterexample | None:
    """Run a candidate through the original network, and test everything exactly.

    Args:
        task: The task.
        inputs: A tensor `[*S]` for each input, in the network's type.

    Returns:
        The counterexample, or None if it is none.
    """
    if not task.region.contains(inputs):
        return None
    outputs = task.network.original(inputs)
    if not bool(outputs.isfinite().all()):
        return None
    exact_outputs = [Fraction(v) for v in outputs.tolist()]
    exact_inputs: list[Fraction] = []
    if task.property.has_inputs:
        exact_inputs = [Fraction(v) for x in inputs for v in x.reshape(-1).tolist()]
    for number, conjunction in enumerate(task.property.violations):
        if all(inequality.holds(exact_outputs, exact_inputs) for inequality in conjunction):
            return Counterexample(tuple(x.detach().clone() for x in inputs), outputs, number)
    return None
