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

from lirpa_testing.fuzz.operators import OPERATORS, Balls, DrawNumbers, Numbers, array


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

    def source(self, dtype: torch.dtype) -> str:
        """A PyTorch module `Model` that computes it."""
        widths = self.widths()
        lines = ["class Model(torch.nn.Module):", "    def __init__(self):", "        super().__init__()"]
        body = ["    def forward(self, v0):"]
        for i, step in enumerate(self.steps):
            names = [f"{letter}{i}" for letter, _ in zip("pq", step.parameters, strict=False)]
            lines += [
                f"        self.register_buffer({name!r}, torch.tensor({value!r}, dtype={dtype}))"
                for name, value in zip(names, step.parameters, strict=True)
            ]
            fields = dict(zip("ab", (f"v{k}" for k in step.operands), strict=False))
            fields |= dict(zip("pq", (f"self.{name}" for name in names), strict=False))
            expression = OPERATORS[step.operator].source.format(**fields, n=widths[step.operands[0]])
            body.append(f"        v{i + 1} = {expression}")
        body.append(f"        return v{len(self.steps)}")
        return "\n".join([*lines, "", *body, ""])

    def module(self, dtype: torch.dtype) -> nn.Module:
        """The module in a type; parameters are converted, which is exact where it widens."""
        names: dict[str, Any] = {"torch": torch}
        exec(self.source(torch.float64), names)  # noqa: S102 - the source is ours
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
        values = [array([_ball(v) for v in point])]
        for i, step in enumerate(self.steps):
            operands = [values[k] for k in step.operands]
            parameters = [_balls(p) for p in step.parameters]
            if weight is not None and weight[0] == i:
                parameters[0] = _fractions(weight[1])
            values.append(OPERATORS[step.operator].exact(*operands, *parameters))
        return values[-1]


def _width(step: Step, operands: Sequence[int]) -> int:
    if step.operator == "linear":
        if len(step.parameters[0][0]) != operands[0]:
            raise ValueError("a linear layer does not fit its operand")
        return len(step.parameters[0])
    if step.operator == "scale" and len(step.parameters[0]) != operands[0]:
        raise ValueError("a scale does not fit its operand")
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


def draw_program(draw: random.Random, width: int, numbers: DrawNumbers) -> Program:
    """A program of one to seven steps that begins with a linear layer.

    Args:
        draw: Where choices come from.
        width: Width of the input.
        numbers: Draws parameters.
    """
    program = Program(width, ())
    names = [*OPERATORS, *["linear"] * 8, *["mul", "add", "sub", "scale", "relu", "softmax"] * 2]
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
