"""Every unary operator with the boxes to try it on. The oracle is the operator itself, sampled densely."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from lirpa_core.linear.interval import Interval
from lirpa_core.operators import activation
from lirpa_core.rules.unary import Unary
from lirpa_testing.core_cases import activation as activation_cases
from lirpa_testing.core_cases.activation import OPEN, UnaryCase

aten = torch.ops.aten
inf = math.inf

#: Units in the last place of the largest number involved, `|f| + |kx| + |b|`, by which a line may be
#: on the wrong side of the operator's own rounded value.
ULP = 8.0

SHAPE = (1, 1)


class Rules(dict[Any, Unary]):
    """A registry for tests."""

    def register(self, op: Any, rule: Any, *, override: bool = False) -> None:
        assert override or op not in self
        self[op] = rule


RULES = Rules()
activation.register(RULES)


@dataclass(frozen=True)
class Case(UnaryCase):
    """One operator with its parameters, and boxes to try it on."""

    @property
    def rule(self) -> Unary:
        return RULES[self.op]

    def value(self, x: Tensor) -> Tensor:
        """The operator at `[N]` points."""
        return self.call(x.dtype).evaluate([x.reshape(-1, *SHAPE)]).reshape(x.shape).to(x.dtype)

    def boxes(self, n: int = 400, dtype: torch.dtype = torch.float64, seed: int = 0) -> Interval:
        """Random boxes `[N, *SHAPE]`: wide, thin, degenerate, and all of these at special points."""
        g = torch.Generator().manual_seed(seed)
        low, high = max(self.domain[0], -self.reach), min(self.domain[1], self.reach)

        def uniform(k: int) -> Tensor:
            return torch.rand(k, generator=g, dtype=torch.float64)

        magnitude = 10 ** (uniform(n) * 6 - 3)
        center = magnitude * torch.where(uniform(n) < 0.5, -1.0, 1.0)
        at = torch.tensor(self.special, dtype=torch.float64)[(uniform(n) * len(self.special)).long()]
        center = torch.where(uniform(n) < 0.4, at, center)
        widths = torch.tensor([0.0, 1e-300, 1e-12, 1e-6, 1e-2, 0.5, 2.0, 6.0, 30.0, 2e3], dtype=torch.float64)
        width = widths[(uniform(n) * len(widths)).long()] * (0.5 + uniform(n))
        share = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)[(uniform(n) * 3).long()]
        share = torch.where(uniform(n) < 0.5, share, uniform(n))
        lower, upper = center - share * width, center + (1 - share) * width
        lower, upper = lower.clamp(low, high).to(dtype), upper.clamp(low, high).to(dtype)
        if self.domain[0] == 0 and self.name in OPEN:
            tiny = torch.tensor(1e-6, dtype=dtype)
            lower, upper = lower.maximum(tiny), upper.maximum(tiny)
        lower, upper = lower.minimum(upper), lower.maximum(upper)
        return Interval(lower.reshape(-1, *SHAPE), upper.reshape(-1, *SHAPE))

    def samples(self, box: Interval, n: int = 257) -> Tensor:
        """Points `[n, N]` of each box: a grid, its ends, and what is special, both sides of it."""
        lower, upper = box.lower.flatten(), box.upper.flatten()
        t = torch.linspace(0, 1, n, dtype=lower.dtype)[:, None]
        grid = lower * (1 - t) + upper * t
        special = torch.tensor(self.special, dtype=lower.dtype)[:, None].expand(-1, len(lower))
        near = [special, torch.nextafter(special, special + 1), torch.nextafter(special, special - 1)]
        geometric = [lower + (upper - lower) * 10.0**-e for e in range(1, 16, 2)]
        geometric += [upper - (upper - lower) * 10.0**-e for e in range(1, 16, 2)]
        points = torch.cat([grid, *near, torch.stack(geometric)])
        return points.maximum(lower).minimum(upper)


CASES = [Case(**vars(case)) for case in activation_cases.CASES]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" in metafunc.fixturenames:
        metafunc.parametrize("case", CASES, ids=lambda c: c.name)


@pytest.fixture
def rules() -> Rules:
    return RULES


@pytest.fixture
def find() -> Callable[[str], Case]:
    return lambda name: next(c for c in CASES if c.name == name)
