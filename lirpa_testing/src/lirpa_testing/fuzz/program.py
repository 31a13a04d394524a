"""Programs: chains of operators on vectors, which become a PyTorch module, and are evaluated in balls."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from flint import arb, fmpq
from torch import nn

from lirpa_testing.fuzz.balls import Balls, DrawNumbers, Numbers, array
from lirpa_testing.fuzz.operators import OPERATORS


@dataclass(frozen=True)
class Step:
    """One operator.

    Args:
        operator: Its key in `OPERATORS`.
        operands: Places of the values that it reads; 0 is the input, i + 1 the value of step i.
        parameters: Its parameters.
    """

    operator: str
    operands: tuple[int, ...]
    parameters: tuple[Numbers, ...] = ()


@dataclass(frozen=True)
class Program:
    """A network with one input `[B, width]`, whose last step is the output.

    Args:
        width: Width of the input.
        steps: The steps.
    """

    width: int
    steps: tuple[Step, ...]

    def source(self, dtype: torch.dtype, *, own: bool = False, flatten: bool = False) -> str:
        """A PyTorch module `Model` that computes it.

        Args:
            dtype: Of its parameters.
            own: Whether each example has parameters of its own, which are further inputs, `[B, ...]` each.
            flatten: Whether the input has more dimensions, which are flattened first.
        """
        widths, names = self.widths(), self.parameter_names()
        taken = [name for step in names for name in step]
        lines = ["class Model(torch.nn.Module):"]
        if not own:
            lines += ["    def __init__(self):", "        super().__init__()"]
            lines += [
                f"        self.register_buffer({name!r}, torch.tensor({value!r}, dtype={dtype}))"
                for found, step in zip(names, self.steps, strict=True)
                for name, value in zip(found, step.parameters, strict=True)
            ]
        body = [f"    def forward(self, {', '.join(['v0', *taken] if own else ['v0'])}):"]
        if flatten:
            body.append("        v0 = v0.flatten(1)")
        for i, step in enumerate(self.steps):
            operator = OPERATORS[step.operator]
            fields = dict(zip("ab", (f"v{k}" for k in step.operands), strict=False))
            fields |= {name[0]: name if own else f"self.{name}" for name in names[i]}
            text = operator.source if operator.own is None or not own else operator.own
            body.append(f"        v{i + 1} = {text.format(**fields, n=widths[step.operands[0]])}")
        body.append(f"        return v{len(self.steps)}")
        return "\n".join([*lines, "", *body, ""])

    def parameter_names(self) -> list[list[str]]:
        """Names of the parameters of each step."""
        return [
            [f"{letter}{i}" for letter, _ in zip("pqrs", step.parameters, strict=False)]
            for i, step in enumerate(self.steps)
        ]

    @property
    def may_own(self) -> bool:
        """Whether all operators have an expression with parameters of each example's own."""
        return all(OPERATORS[step.operator].own != "" for step in self.steps)

    def module(self, dtype: torch.dtype, *, own: bool = False, flatten: bool = False) -> nn.Module:
        """The module in a type; parameters are converted, which is exact where it widens.

        Args:
            dtype: The type.
            own: See `source`.
            flatten: Likewise.
        """
        names: dict[str, Any] = {"torch": torch}
        exec(self.source(torch.float64, own=own, flatten=flatten), names)  # noqa: S102 - the source is ours
        model: nn.Module = names["Model"]().to(dtype).eval()
        return model

    def widths(self) -> list[int]:
        """Widths of all values, the input's first.

        Raises:
            ValueError: If an operator does not fit its operands.
        """
        widths = [self.width]
        for step in self.steps:
            widths.append(_width(step, [widths[k] for k in step.operands]))
        return widths

    def exact(self, point: Sequence[Fraction], weight: tuple[int, Any] | None = None) -> Balls:
        """The output for one example in balls of the precision that is set: `[out]`.

        Args:
            point: The input.
            weight: A step, and nested lists of fractions that stand for its first parameter.
        """
        parameters = [[_balls(p) for p in step.parameters] for step in self.steps]
        if weight is not None:
            parameters[weight[0]][0] = _fractions(weight[1])
        return self.evaluate(array([_ball(v) for v in point]), parameters)

    def evaluate(self, x: Balls, parameters: Sequence[Sequence[Balls]]) -> Balls:
        """The output in numbers of any kind that operators take: `[out]`.

        Args:
            x: The input, `[width]`.
            parameters: Those of each step.
        """
        values = [x]
        for step, own in zip(self.steps, parameters, strict=True):
            values.append(OPERATORS[step.operator].exact(*[values[k] for k in step.operands], *own))
        return values[-1]


def _width(step: Step, operands: Sequence[int]) -> int:
    if step.operator == "linear":
        if len(step.parameters[0][0]) != operands[0]:
            raise ValueError("a linear layer does not fit its operand")
        return len(step.parameters[0])
    wanted = OPERATORS[step.operator].parameters(random.Random(0), operands)  # noqa: S311
    if [tuple(shape) for shape in wanted] != [np.shape(value) for value in step.parameters]:
        raise ValueError(f"parameters of {step.operator} do not fit widths {list(operands)}")
    width = OPERATORS[step.operator].width(*operands)
    if width is None:
        raise ValueError(f"{step.operator} does not fit widths {list(operands)}")
    return width


def _ball(value: Fraction) -> arb:
    return arb(fmpq(value.numerator, value.denominator))


def _fractions(values: Sequence[Sequence[Fraction]]) -> Balls:
    return np.stack([array([_ball(v) for v in row]) for row in values])


def _balls(values: Numbers) -> Balls:
    flat = np.asarray(values, dtype=np.float64)
    return array([arb(float(v)) for v in flat.flatten()]).reshape(flat.shape)


def draw_program(draw: random.Random, width: int, numbers: DrawNumbers, *, own: bool = False) -> Program:
    """A program of one to seven steps that begins with a linear layer.

    Args:
        draw: Where choices come from.
        width: Width of the input.
        numbers: Draws parameters.
        own: Whether all operators have an expression with parameters of each example's own.
    """
    program = Program(width, ())
    known = [name for name, operator in OPERATORS.items() if not own or operator.own != ""]
    names = [*known, *["linear"] * 8, *["mul", "add", "sub", "scale", "relu", "softmax"] * 2]
    for i in range(draw.randint(1, 7)):
        name = "linear" if i == 0 else draw.choice(names)
        widths = program.widths()
        operands = [len(widths) - 1, draw.randrange(len(widths))][: OPERATORS[name].arity]
        shapes = OPERATORS[name].parameters(draw, [widths[k] for k in operands])
        step = Step(name, tuple(operands), tuple(numbers(shape) for shape in shapes))
        longer = Program(width, (*program.steps, step))
        try:
            longer.widths()
        except ValueError:
            continue
        program = longer
    return program
