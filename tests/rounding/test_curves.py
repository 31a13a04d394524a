"""Values of curves are as good as the curves state, for operands of every size."""

from __future__ import annotations

import ctypes
import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.linear.rounding import gamma, tiny
from lirpa_core.operators.derivatives.table import curve_of
from lirpa_core.plugins import default_registry
from lirpa_core.rules.unary import Curve, Unary
from lirpa_testing.core_cases import activation, derivatives

NARROW, WIDE = torch.float32, torch.float64


def _in_type(value: Any) -> Any:
    """A number as one of float32, so that both types compute one function."""
    return ctypes.c_float(value).value if type(value) is float else value


def curves() -> dict[str, tuple[Curve, int]]:
    """All curves that have cases, and a steep one, with the units that values may be off by."""
    found: dict[str, tuple[Curve, int]] = {"steep": (curve_of("softplus", 4, (100.0, 20.0)), 16)}
    for case in (*activation.CASES, *derivatives.CASES):
        case = dataclasses.replace(case, args=tuple(map(_in_type, case.args)))
        call = case.call(NARROW)
        rule = default_registry().rule_for(call.node.target)
        if isinstance(rule, Unary):
            found[case.name] = rule._curve(call), rule.accuracy(call).terms
    return found


def test_errors_are_as_stated() -> None:
    near = torch.cat([torch.linspace(0.0, 40.0, 20001), torch.logspace(-37, 37, 4000)])
    x = torch.cat([near, -near])
    every = curves()
    assert len(every) > 100
    for name, (curve, units) in every.items():
        inside = x if curve.outside is None else x[~curve.outside(x, x)]
        inside = inside.reshape(-1, 1, 1)
        exact, value = curve.f(inside.to(WIDE)), curve.f(inside)
        known = value.isfinite() & (exact.abs() < torch.finfo(NARROW).max)
        allowed = torch.full_like(exact, units * tiny(NARROW))
        if curve.rounding != "exact":
            allowed = allowed + gamma(units, NARROW) * exact.abs()
        if curve.rounding == "absolute":
            size = inside.to(WIDE).abs().clamp(curve.floor, curve.reach)
            allowed = allowed + gamma(units, NARROW) * size
        assert bool(((value.to(WIDE) - exact).abs() <= allowed)[known].all()), name


@pytest.mark.parametrize(("decimals", "value"), [(1, 0.3), (-1, 20.0)])
def test_decimals_are_rounded_to_as_whole_numbers_are(decimals: int, value: float) -> None:
    x = torch.tensor([[0.31 if decimals > 0 else 18.0]], dtype=WIDE)
    bounded = BoundedModule(lambda x: torch.round(x, decimals=decimals), x)
    for eps, steps in ((0.01, 0), (0.05, 1)):
        ball = BoundedTensor(x, PerturbationLpNorm(eps=eps * (1.0 if decimals > 0 else 100.0)))
        lower, upper = bounded.compute_bounds(x=(ball,), method="IBP")
        assert bool(((lower <= value) & (value <= upper)).all())
        assert float(upper - lower) == pytest.approx(steps * 10.0**-decimals, abs=1e-9)


@pytest.mark.parametrize("method", ["IBP", "CROWN"])
def test_where_decimals_round_to_is_open_next_to_a_tie(method: str) -> None:
    """Ten times the number of float32 next to 0.35 is below 3.5, and in float32 it is 3.5."""

    def model(x: Tensor) -> Tensor:
        return torch.round(x, decimals=1)

    x = torch.tensor([[0.35, 0.25, 0.31]])
    assert float(x[0, 0].double() * 10) < 3.5 == float(x[0, 0] * 10)
    ball = BoundedTensor(x, PerturbationLpNorm(eps=0.0))
    lower, upper = BoundedModule(model, x).compute_bounds(x=(ball,), method=method)
    assert lower[0, 0] <= 0.3 and upper[0, 0] >= 0.4, "the exact value, and the one that is computed"
    assert bool((upper - lower)[0, 2] < 1e-5) and lower[0, 2] <= 0.3 <= upper[0, 2]
