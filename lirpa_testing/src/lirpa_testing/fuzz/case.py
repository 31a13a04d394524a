"""A case: a program, an input, its set and a type; drawn from a seed and an index, and written as JSON.

Cases come in groups, whose operators, type and kind of set are the same, so that one call bounds all of them.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lirpa_core import BoundedParameter, PerturbationLpNorm
from lirpa_core.perturbations import Perturbation
from lirpa_testing.fuzz.balls import Numbers
from lirpa_testing.fuzz.plugin_sets import KINDS, PluginSet, draw_plugin_set
from lirpa_testing.fuzz.program import Program, Step, draw_program
from lirpa_testing.fuzz.sets import SetSpec, draw_set

#: How many cases a group has at most: one capture and one call of each method serve them.
GROUP = 32


@dataclass(frozen=True)
class Case:
    """What bounds are computed of.

    Args:
        program: The network.
        x: The nominal input of one example, `[width]`.
        region: The set around it.
        dtype: `"float32"` or `"float64"`.
        own: Whether lirpa is given the parameters as further inputs, of which each example of a batch has its own.
        weight: A linear layer's step and a radius: its matrix is perturbed too, each number by so much.
    """

    program: Program
    x: tuple[float, ...]
    region: SetSpec | PluginSet
    dtype: str
    own: bool = False
    weight: tuple[int, float] | None = None

    @property
    def torch_dtype(self) -> torch.dtype:
        """The type in PyTorch."""
        dtype: torch.dtype = getattr(torch, self.dtype)
        return dtype

    def model(self, dtype: torch.dtype) -> nn.Module:
        """The network as lirpa is given it: with its perturbed weight, and of inputs of the set's shape."""
        flatten = isinstance(self.region, PluginSet) and len(self.region.shape) > 1
        model = self.program.module(dtype, own=self.own, flatten=flatten)
        if self.weight is not None:
            step, eps = self.weight
            name = f"p{step}"
            value = getattr(model, name)
            delattr(model, name)
            model.register_parameter(
                name, BoundedParameter(value, PerturbationLpNorm(eps), requires_grad=False)
            )
        return model

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
            data.get("own", False),
            None if weight is None else (weight[0], weight[1]),
        )


def batch(cases: Sequence[Case], dtype: torch.dtype) -> Tensor:
    """The examples of a group, as the sets have them: `[B, *S]`."""
    x = torch.tensor([case.x for case in cases], dtype=dtype)
    region = cases[0].region
    return x.unflatten(1, region.shape) if isinstance(region, PluginSet) else x


def perturbation(cases: Sequence[Case], dtype: torch.dtype) -> Perturbation:
    """The sets of a group."""
    first, *others = [case.region for case in cases]
    made: Perturbation = first.perturbation(dtype, others)  # type: ignore[arg-type]
    return made


def parameters(cases: Sequence[Case], dtype: torch.dtype) -> list[Tensor]:
    """All parameters of the programs of a group, `[B, ...]` each."""
    each = [[p for step in case.program.steps for p in step.parameters] for case in cases]
    return [torch.tensor(values, dtype=dtype) for values in zip(*each, strict=True)]


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


def draw_group(seed: int, place: int) -> tuple[Case, ...]:
    """The cases that a place in the stream of a seed has: `GROUP` of them, or at every eighth place one alone.

    Args:
        seed: Of the stream.
        place: Which group.
    """
    alone = random.Random(f"{seed}-{place}-alone").random() < 1 / 8  # noqa: S311 - nothing secret
    return tuple(_drawn(seed, place, i) for i in range(1 if alone else GROUP))


def draw_case(seed: int, index: int) -> Case:
    """A case of a group.

    Args:
        seed: Of the stream.
        index: The group's place times `GROUP`, and the place in the group.

    >>> draw_case(0, 3) == draw_case(0, 3)
    True
    """
    return _drawn(seed, index // GROUP, index % GROUP)


def _drawn(seed: int, place: int, i: int) -> Case:
    structure = random.Random(f"{seed}-{place}")  # noqa: S311
    shape = random.Random(f"{seed}-{place}-set")  # noqa: S311
    draw = random.Random(f"{seed}-{place}-{i}")  # noqa: S311
    dtype, width = structure.choice(("float32", "float64")), structure.randint(1, 4)
    own, perturbed = structure.random() < 0.5, structure.random() < 0.25
    kind = structure.choice((*[""] * 7, *KINDS))
    of_weights = draw if own else random.Random(f"{seed}-{place}-weights")  # noqa: S311
    wild = _Numbers(of_weights, getattr(torch, dtype), wild=of_weights.random() < 0.5)
    program = draw_program(structure, width, wild, own=own)
    numbers = _Numbers(draw, getattr(torch, dtype), wild=draw.random() < 0.5)
    scale = numbers.scale()
    x = tuple(numbers.one(scale) for _ in range(width))
    size = max(map(abs, x)) if draw.random() < 0.5 else 1.0
    eps = _rounded(min(10.0 ** draw.uniform(-8, 1) * size, 1e30), torch.float32)
    found = draw_plugin_set(shape, draw, x, eps, numbers, kind) if kind else None
    region, x = found or (draw_set(shape, draw, x, eps), x)
    steps = [i for i, s in enumerate(program.steps) if s.operator == "linear"]
    chosen = structure.choice(steps) if perturbed and steps and not own else None
    radius = _rounded(10.0 ** structure.uniform(-6, 0), torch.float32)
    return Case(program, x, region, dtype, own, None if chosen is None else (chosen, radius))
