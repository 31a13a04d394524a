"""Plugins in memory that register what is right, and what is wrong."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from lirpa_core.plugins import Registry, build_registry, hookimpl
from lirpa_core.rules import Bilinear, Call, Linear, Operand, mixed, smooth
from lirpa_testing import ConformanceCases


def steps(x: Tensor) -> Tensor:
    return x[..., 1:] - x[..., :-1]


def bell(x: Tensor) -> Tensor:
    return torch.exp(-x * x)


def scaled(x: Tensor, by: Tensor) -> Tensor:
    return x * by


def falls(x: Tensor) -> Tensor:
    return x[..., :-1] - x[..., 1:]


def product(x: Tensor, by: Tensor) -> Tensor:
    return x * by


class Cube(torch.nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x**3


def plugin(name: str, *registrations: Any, cases: Any = None) -> ModuleType:
    module = ModuleType(name)

    @hookimpl
    def operators(registry: Any) -> None:
        for kind, key, rule in registrations:
            getattr(registry, kind)(key, rule)

    vars(module).update(LIRPA_API_VERSION=1, lirpa_register_operators=operators)
    if cases is not None:

        @hookimpl
        def declared(cases: ConformanceCases) -> None:
            given(cases)

        given = cases
        vars(module)["lirpa_conformance_cases"] = declared
    return module


def registry_of(*modules: ModuleType) -> Registry:
    return build_registry(modules, entry_points=False)


BELL = smooth(bell, inflections=[-(0.5**0.5), 0.5**0.5])
GOOD = plugin(
    "good",
    ("function", bell, BELL),
    ("function", steps, Linear(("x",), sign=mixed)),
    ("function", scaled, Bilinear("x", "by")),
    ("module", Cube, lambda module: smooth(lambda x: x**3, inflections=[0.0])),
    cases=lambda cases: cases.add("two factors", Call.of(scaled, Operand((2,)), Operand((2,)))),
)
BAD = plugin("bad", ("function", falls, Linear(("x",))), ("function", product, Bilinear("x", "by")))
