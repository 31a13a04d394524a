"""Powers, angles, and what a division leaves, of several operands."""

import itertools
import math
from fractions import Fraction

import pytest
import torch
from torch import nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.errors import DomainError
from lirpa_core.linear.interval import Interval
from lirpa_core.plugins import default_registry
from lirpa_core.rules.call import Call, Operand
from lirpa_testing import method_names
from lirpa_testing.core_cases.several import CASES

aten = torch.ops.aten
NAMES = [name for name, (op, *_) in CASES.items() if "clamp" not in str(op) and "prelu" not in str(op)]


class Model(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def moved_into(inputs, domain):
    """Boxes of the same widths that lie in a domain."""
    low, high = max(domain[0], -50.0), min(domain[1], 50.0)
    return tuple(
        Interval(x.lower.clamp(low, high), x.upper.clamp(low, high)) if math.isfinite(domain[0]) else x
        for x in inputs
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("width", [0.0, 0.3, 3.0])
@pytest.mark.parametrize("seed", range(4))
def test_sound(name, width, seed, oracle):
    op, args, domain = CASES[name]
    call = Call.of(op, *args, batch=3)
    rule = default_registry().rule_for(op)
    rule.check(call)
    inputs = moved_into(oracle.boxes(call, seed=seed, width=width), domain)
    oracle.assert_sound(rule, call, inputs)


def ranges(op, x, y, n=201):
    """Interval of the rule for two numbers, and that of a grid of points."""
    call = Call.of(op, Operand((1,)), Operand((1,)))
    boxes = [Interval(*(torch.tensor([[end]]).double() for end in ends)) for ends in (x, y)]
    found = default_registry().rule_for(op).interval(call, tuple(boxes))
    a, b = (torch.linspace(*ends, n).double() for ends in (x, y))
    values = op(*torch.broadcast_tensors(a[:, None], b))
    return (found.lower.item(), found.upper.item()), (values.min().item(), values.max().item())


@pytest.mark.parametrize(
    ("y", "x"),
    [
        ((-1, 2), (0.5, 3)),
        ((1, 2), (-3, 3)),
        ((-2, -1), (-1, 4)),
        ((0.1, 2), (-3, -1)),
        ((-2, -0.1), (-3, 0)),
    ],
)
def test_an_angle_has_the_range_of_its_corners(y, x):
    found, sampled = ranges(aten.atan2.default, y, x)
    assert found == pytest.approx(sampled)


@pytest.mark.parametrize(("y", "x"), [((-1, 1), (-2, -1)), ((0, 1), (-2, 1)), ((-1, 0), (-1, 0))])
def test_across_the_cut_an_angle_is_the_whole_circle(y, x):
    found, _ = ranges(aten.atan2.default, y, x)
    assert found == (-math.pi, math.pi)


@pytest.mark.parametrize(
    ("op", "x", "y"),
    [
        (aten.pow.Tensor_Tensor, (0.5, 2.0), (-1.0, 3.0)),
        (aten.floor_divide.default, (-3.0, 8.0), (2.0, 3.0)),
        (aten.remainder.Tensor, (-9.0, 9.0), (2.0, 3.0)),
        (aten.remainder.Tensor, (-9.0, 9.0), (-3.0, -2.0)),
        (aten.fmod.Tensor, (-9.0, 9.0), (2.0, 3.0)),
        (aten.fmod.Tensor, (0.0, 1.0), (2.0, 3.0)),
    ],
)
def test_ranges_are_close_to_those_of_points(op, x, y):
    found, sampled = ranges(op, x, y)
    assert found[0] <= sampled[0] + 1e-12 and sampled[1] <= found[1] + 1e-12
    assert found[1] - found[0] <= 1.03 * (sampled[1] - sampled[0]) + 1e-9


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x[:, :2] % (x[:, 2:] + 5),
        lambda x: torch.fmod(x[:, :2] * 9, 2.0),
        lambda x: x[:, :2] // (x[:, 2:] + 5),
        lambda x: torch.div(x * 7, 2.0, rounding_mode="trunc"),
        lambda x: torch.div(x * 7, -2.0, rounding_mode="floor"),
        lambda x: (x[:, :2] + 5) ** x[:, 2:],
        lambda x: torch.atan2(x[:, :2], x[:, 2:]),
        lambda x: torch.xlogy(x[:, :2], x[:, 2:] + 5),
        lambda x: torch.xlogy(x, 3.0),
        lambda x: torch.special.xlog1py(x[:, :2], x[:, 2:] + 5),
    ],
)
def test_in_models(function):
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(4)).double()
    bounded = BoundedModule(Model(function), x)
    noise = torch.rand(2000, *x.shape, generator=torch.Generator().manual_seed(5)).double() * 2 - 1
    values = torch.stack([function(x + 0.4 * n) for n in (*noise, *noise[:500].sign())])
    for method in ("IBP", "CROWN", "forward"):
        lower, upper = bounded.compute_bounds(x=BoundedTensor(x, PerturbationLpNorm(eps=0.4)), method=method)
        assert (lower <= values.amin(0) + 1e-9).all() and (values.amax(0) - 1e-9 <= upper).all()


@pytest.mark.parametrize("function", [lambda x: x ** (x + 1), lambda x: (x + 3) % x, lambda x: x // x])
def test_boxes_outside_of_the_domain_are_refused(function):
    x = torch.zeros(1, 3).double()
    bounded = BoundedModule(Model(function), x + 1)
    for method in ("IBP", "CROWN"):
        with pytest.raises(DomainError):
            bounded.compute_bounds(x=BoundedTensor(x, PerturbationLpNorm(eps=0.4)), method=method)


def test_a_quotient_that_is_a_whole_number_is_not_missed_by_rounding():
    """Of these numbers `x · (1/x)` is below one in float64, so that its floor would be zero."""
    x = torch.arange(1, 2000).double() / 10
    short = x[(x * x.reciprocal()) < 1][None]
    assert short.numel() > 10
    point, operand = Interval(short, short), Operand((short.shape[1],))
    for op, value in ((aten.floor_divide.default, 1), (aten.remainder.Tensor, 0), (aten.fmod.Tensor, 0)):
        rule, call = default_registry().rule_for(op), Call.of(op, operand, operand)
        found, relaxation = rule.interval(call, (point, point)), rule.relax(call, (point, point))
        expected = torch.full_like(short, value)
        torch.testing.assert_close(found.lower, expected)
        torch.testing.assert_close(found.upper, expected)
        for side in (relaxation.lower, relaxation.upper):
            at_point = sum(term.slope * short for term in side.terms) + side.bias
            torch.testing.assert_close(at_point, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("divisor", [1.5, -0.75])
@pytest.mark.parametrize("name", ["remainder", "fmod", "floor_divide"])
def test_large_quotients_are_bounded_in_rational_numbers(name, divisor, dtype):
    """Of a large quotient not all digits are known, and what is left cancels."""
    exact = {
        "remainder": lambda z: z % Fraction(divisor),
        "fmod": lambda z: z - Fraction(divisor) * math.trunc(z / Fraction(divisor)),
        "floor_divide": lambda z: Fraction(math.floor(z / Fraction(divisor))),
    }[name]
    sizes = 10.0 ** torch.arange(0, 30, 0.5, dtype=torch.float64)
    x = (sizes * torch.tensor([1.0, -1.0]).double().unsqueeze(1)).flatten().to(dtype)[None]
    bounded = BoundedModule(Model(lambda z: getattr(torch, name)(z, divisor)), x)
    for eps, method in itertools.product((0.0, 0.5), ("IBP", "CROWN", "forward")):
        ball = BoundedTensor(x, PerturbationLpNorm(eps=eps))
        lower, upper = bounded.compute_bounds(x=ball, method=method)
        for move in (-1, -0.3, 0, 0.7, 1):
            values = [exact(Fraction(v) + Fraction(move) * Fraction(eps)) for v in x[0].tolist()]
            for low, value, up in zip(lower[0].tolist(), values, upper[0].tolist(), strict=True):
                assert Fraction(low) <= value <= Fraction(up)
        if name == "remainder":
            assert bool((upper - lower <= abs(divisor) * (1 + 1e-4)).all())


def test_xlogy_of_one_tensor_with_itself_is_an_entropy():
    """Its least value, at 1/e, is −1/e, and it is 0 at 0, where a logarithm has no value."""
    x = torch.tensor([[0.25]]).double()
    box = BoundedTensor(x, PerturbationLpNorm(x_L=torch.zeros_like(x), x_U=torch.ones_like(x)))
    for method in ("IBP", "CROWN"):
        lower, upper = BoundedModule(lambda x: torch.xlogy(x, x), x).compute_bounds(x=(box,), method=method)
        torch.testing.assert_close(lower, torch.full_like(x, -math.exp(-1)))
        torch.testing.assert_close(upper, torch.zeros_like(x), atol=1e-12, rtol=0)


@pytest.mark.parametrize("method", method_names(optimized=False))
@pytest.mark.parametrize("x", [235068.625, 1e9, 1e28])
def test_tiny_angles_have_their_own_rounding(method: str, x: float) -> None:
    """What is left of a right angle is off by the rounding of the right angle, which is more than all of a tiny one."""
    point = torch.tensor([[-1.0, x]])
    bounded = BoundedModule(lambda v: torch.atan2(v[:, :1], v[:, 1:].abs() + 0.125), point)
    lower, upper = bounded.compute_bounds(BoundedTensor(point, PerturbationLpNorm(eps=0.0)), method=method)
    exact = math.atan2(-1.0, float(point[0, 1]) + 0.125)
    assert float(lower) <= exact <= float(upper)
