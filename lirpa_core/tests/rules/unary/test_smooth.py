"""Rules made from a function and its inflections."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lirpa_core.errors import OptionError
from lirpa_core.operators.activation.gated import SILU
from lirpa_core.operators.activation.s_shaped import TANH
from lirpa_core.rules import (
    CONCAVE,
    CONVEX,
    Arc,
    Call,
    Curve,
    Operand,
    Unary,
    line_bounds,
    smooth,
    smooth_curve,
)
from lirpa_core.rules.unary import default_slopes
from lirpa_testing import RuleViolation, check_rule

SILU_INFLECTION = 2.399357280515467667833


def bump(x: Tensor) -> Tensor:
    return torch.exp(-x * x)


def bump_slope(x: Tensor) -> Tensor:
    return -2 * x * bump(x)


def tanh(x: Tensor) -> Tensor:
    return torch.tanh(x)


def log_cosh(x: Tensor) -> Tensor:
    return F.softplus(2 * x) - x


def root(x: Tensor) -> Tensor:
    return torch.sqrt(x)


def logarithm(x: Tensor) -> Tensor:
    return torch.log(x)


def boxes() -> tuple[Tensor, Tensor]:
    lo = torch.linspace(-6, 4, 41, dtype=torch.float64).reshape(-1, 1)
    return lo.expand(-1, 20), lo + torch.linspace(0.05, 8, 20, dtype=torch.float64)


@pytest.mark.parametrize(
    ("made", "known"),
    [
        (smooth_curve(F.silu, inflections=[-SILU_INFLECTION, SILU_INFLECTION]), SILU),
        (smooth_curve(tanh, lambda x: 1 / x.cosh().square(), inflections=[0.0]), TANH),
    ],
)
def test_as_tight_as_a_closed_form(made: Curve, known: Curve) -> None:
    lo, hi = boxes()
    gaps = []
    for curve in (made, known):
        k_lo, k_up = default_slopes(curve, lo, hi)
        below, above = line_bounds(curve, lo, hi, k_lo)[0], line_bounds(curve, lo, hi, k_up)[1]
        gaps.append((k_up - k_lo) * (lo + hi) / 2 + above - below)
    looser = gaps[0] - gaps[1]
    assert bool((looser >= -1e-12).all())
    # Where the box reaches far into a flat tail, the search for a tangent crawls and stops a little early.
    near = hi <= 8
    assert torch.allclose(gaps[0][near], gaps[1][near], atol=1e-7)
    assert bool((looser <= 1e-3 * gaps[1] + 1e-7).all())
    for a, b in zip(made.hull(lo, hi), known.hull(lo, hi), strict=True):
        assert torch.allclose(a, b, atol=1e-15)


def test_what_is_derived() -> None:
    curve = smooth_curve(bump, bump_slope, inflections=[-(0.5**0.5), 0.5**0.5])
    assert [arc.bend for arc in curve.arcs] == [CONVEX, CONCAVE, CONVEX]
    assert curve.extrema == pytest.approx((0.0,), abs=1e-300) and curve.monotone == 0 and curve.shape == 0
    curve = smooth_curve(tanh, inflections=[0.0])
    assert (curve.monotone, curve.extrema) == (1, ())
    curve = smooth_curve(lambda x: -F.softplus(x))
    assert (curve.monotone, curve.shape) == (-1, CONCAVE)
    curve = smooth_curve(lambda x: 3 * x + 1)
    assert (curve.arcs, curve.monotone) == ((), 1)
    assert smooth_curve(lambda x: x.square() - 3 * x).extrema == (1.5,)


@pytest.mark.parametrize(
    ("f", "rule", "domain"),
    [
        (bump, smooth(bump, bump_slope, inflections=[-(0.5**0.5), 0.5**0.5]), (-math.inf, math.inf)),
        (log_cosh, smooth(log_cosh, tanh), (-math.inf, math.inf)),
        (root, smooth(root, lambda x: x.rsqrt() / 2, domain=(0, math.inf)), (0.0, 1e5)),
        (logarithm, smooth(logarithm, torch.reciprocal, domain=(0, math.inf)), (1e-3, 1e5)),
    ],
)
def test_rules_are_sound(f: object, rule: Unary, domain: tuple[float, float]) -> None:
    check_rule(rule, Call.of(f, Operand((2,))), kinks=(-(0.5**0.5), 0.0, 0.5**0.5), domain=domain, examples=7)


def test_boxes_outside_of_the_domain() -> None:
    closed, open_ = smooth_curve(root, domain=(0, math.inf)), smooth_curve(logarithm, domain=(0, math.inf))
    lo, hi = torch.tensor([0.0, -1.0, 1.0]), torch.tensor([1.0, 1.0, 2.0])
    assert closed.outside is not None and closed.outside(lo, hi).tolist() == [False, True, False]
    assert open_.outside is not None and open_.outside(lo, hi).tolist() == [True, True, False]


def test_forgotten_and_wrong_inflections() -> None:
    with pytest.raises(
        OptionError, match=r"rises and falls between -inf and inf: it turns near x = -2\.[34]"
    ):
        smooth(F.silu)
    with pytest.raises(
        OptionError, match=r"between -inf and -2: .* An inflection is missing or in the wrong place"
    ):
        smooth(F.silu, inflections=[-2.0, SILU_INFLECTION])
    with pytest.raises(OptionError, match="must rise, and lie inside the domain"):
        smooth(F.silu, inflections=[SILU_INFLECTION, -SILU_INFLECTION])
    with pytest.raises(OptionError, match="must rise, and lie inside the domain"):
        smooth(logarithm, inflections=[0.0], domain=(0, math.inf))
    with pytest.raises(OptionError, match="is empty"):
        smooth(logarithm, domain=(1, 0))


def test_a_wrong_derivative() -> None:
    with pytest.raises(OptionError, match=r"df is not the derivative of f: at x = .* it gives"):
        smooth(tanh, lambda x: 1 - x.square(), inflections=[0.0])


def test_a_domain_that_is_not_stated() -> None:
    with pytest.raises(OptionError, match="state the domain"):
        smooth(lambda x: torch.log(-x).log(), domain=(0.0, 1.0))


def test_the_kit_refutes_an_inflection_that_is_not_looked_at_here() -> None:
    sin = Curve(torch.sin, torch.cos, (Arc(CONVEX, end=0.3), Arc(CONCAVE, start=0.3)), monotone=1)
    with pytest.raises(RuleViolation):
        check_rule(Unary(sin), torch.ops.aten.sin.default, kinks=(0.0, 0.3), domain=(-1.5, 1.5))
