"""A case: a program, an input, its set and a type; drawn from a seed and an index, and written as JSON."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from lirpa_core import BoundedParameter, PerturbationLpNorm
from lirpa_testing.fuzz.operators import Numbers
from lirpa_testing.fuzz.plugin_sets import KINDS, PluginSet, draw_plugin_set
from lirpa_testing.fuzz.program import Program, Step, draw_program
from lirpa_testing.fuzz.sets import SetSpec, draw_set

#: How many cases in a row share their operators, so that one capture serves them all.
VARIANTS = 16


@dataclass(frozen=True)
class Case:
    """What bounds are computed of.

    Args:
        program: The network.
        x: The nominal input of one example, `[width]`.
        region: The set around it.
        dtype: `"float32"` or `"float64"`.
        more: Further examples of the batch, each with the same set around it.
        weight: A linear layer's step and a radius: its matrix is perturbed too, each number by so much.
    """

    program: Program
    x: tuple[float, ...]
    region: SetSpec | PluginSet
    dtype: str
    more: tuple[tuple[float, ...], ...] = ()
    weight: tuple[int, float] | None = None

    @property
    def torch_dtype(self) -> torch.dtype:
        """The type in PyTorch."""
        dtype: torch.dtype = getattr(torch, self.dtype)
        return dtype

    def batch(self, dtype: torch.dtype) -> Tensor:
        """All examples, as the set has them: `[B, *S]`."""
        x = torch.tensor([self.x, *self.more], dtype=dtype)
        return x.unflatten(1, self.region.shape) if isinstance(self.region, PluginSet) else x

    def model(self, dtype: torch.dtype) -> nn.Module:
        """The network as lirpa is given it: with its perturbed weight, and of inputs of the set's shape."""
        model = self.program.module(dtype)
        if self.weight is not None:
            step, eps = self.weight
            name = f"p{step}"
            value = getattr(model, name)
            delattr(model, name)
            model.register_parameter(
                name, BoundedParameter(value, PerturbationLpNorm(eps), requires_grad=False)
            )
        flat = not isinstance(self.region, PluginSet) or len(self.region.shape) == 1
        return model if flat else nn.Sequential(nn.Flatten(1), model)

    def examples(self) -> Iterator[Case]:
        """Each example of the batch alone."""
        for x in (self.x, *self.more):
            yield replace(self, x=x, more=())

    def to_json(self) -> str:
        """The case as text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Case:
        """The case that `to_json` wrote."""
        data = json.loads(text)
        steps = (
            Step(s["operator"], tuple(s["operands"]), tuple(s["parameters"]))
            for s in data["program"]["steps"]
        )
        weight = data.get("weight")
        return cls(
            Program(data["program"]["width"], tuple(steps)),
            tuple(data["x"]),
            _region(data["region"]),
            data["dtype"],
            tuple(map(tuple, data.get("more", ()))),
            None if weight is None else (weight[0], weight[1]),
        )


def _region(data: dict[str, Any]) -> SetSpec | PluginSet:
    if "name" in data:
        return PluginSet(data["name"], data["options"], tuple(data["shape"]))
    lower, upper = (None if data[k] is None else tuple(data[k]) for k in ("lower", "upper"))
    return SetSpec(data["norm"], data["eps"], lower, upper)


def _rounded(value: float, dtype: torch.dtype) -> float:
    return torch.tensor(value, dtype=torch.float64).to(dtype).item()


def _exponent(draw: random.Random) -> int:
    """Of a scale: mostly moderate, sometimes as wild as float32 allows."""
    return draw.choice((0, 0, 0, 0, draw.randint(-2, 2), draw.randint(-8, 8), draw.randint(-30, 30)))


class _Numbers:
    """Draws numbers that are exact in a type."""

    def __init__(self, draw: random.Random, dtype: torch.dtype, wild: bool) -> None:
        self.draw, self.dtype, self.wild = draw, dtype, wild

    def scale(self) -> float:
        return 10.0 ** _exponent(self.draw) if self.wild else 1.0

    def one(self, scale: float) -> float:
        if self.draw.random() < 0.1:
            return self.draw.choice((0.0, 1.0, -1.0))
        return _rounded(self.draw.gauss(0, 1) * scale, self.dtype)

    def __call__(self, shape: Sequence[int]) -> Numbers:
        scale = self.scale()

        def nested(sizes: Sequence[int]) -> Numbers:
            if not sizes:
                return self.one(scale)
            return [nested(sizes[1:]) for _ in range(sizes[0])]

        return nested(shape)


def draw_case(seed: int, index: int) -> Case:
    """The case of a place in the stream of a seed: `VARIANTS` cases in a row differ in their numbers only.

    Args:
        seed: Of the stream.
        index: Place.

    >>> draw_case(0, 3) == draw_case(0, 3)
    True
    """
    structure = random.Random(f"{seed}-{index // VARIANTS}")  # noqa: S311 - nothing secret
    draw = random.Random(f"{seed}-{index // VARIANTS}-{index % VARIANTS}")  # noqa: S311
    dtype, width = structure.choice(("float32", "float64")), structure.randint(1, 4)
    numbers = _Numbers(draw, getattr(torch, dtype), wild=draw.random() < 0.5)
    program = draw_program(structure, width, numbers)
    scale = numbers.scale()
    x = tuple(numbers.one(scale) for _ in range(width))
    size = max(map(abs, x)) if draw.random() < 0.5 else 1.0
    eps = _rounded(min(10.0 ** draw.uniform(-8, 1) * size, 1e30), torch.float32)
    kind = structure.choice((*[""] * 7, *KINDS))
    found = draw_plugin_set(draw, x, eps, numbers, kind) if kind else None
    region, x = found or (draw_set(draw, x, eps), x)
    ball = isinstance(region, SetSpec) and region.lower is None
    alone = structure.random() < 0.7
    more = () if alone or not ball else tuple(tuple(numbers.one(scale) for _ in x) for _ in range(2))
    steps = [i for i, s in enumerate(program.steps) if s.operator == "linear"]
    chosen = structure.choice(steps) if structure.random() < 0.15 and steps else None
    radius = _rounded(10.0 ** structure.uniform(-6, 0), torch.float32)
    return Case(program, x, region, dtype, more, None if chosen is None else (chosen, radius))
