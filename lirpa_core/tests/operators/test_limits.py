"""Clamps with perturbed limits, and leaky ReLUs with a perturbed slope."""

import pytest
import torch
from torch import nn

from lirpa_core import BoundedModule, BoundedParameter, BoundedTensor, PerturbationLpNorm
from lirpa_core.errors import UnsupportedOperandError
from lirpa_core.plugins import default_registry
from lirpa_core.rules.call import Call, Operand
from lirpa_testing.core_cases.several import CASES

aten = torch.ops.aten
NAMES = [name for name, (op, *_) in CASES.items() if "clamp" in str(op) or "prelu" in str(op)]


@pytest.mark.parametrize("name", NAMES)
def test_sound(name, oracle):
    op, args, _ = CASES[name]
    call = Call.of(op, *args, batch=3)
    rule = default_registry().rule_for(op)
    rule.check(call)
    for width in (0.0, 0.3, 3.0):
        oracle.assert_sound(rule, call, oracle.boxes(call, width=width))


def test_a_clamp_has_the_range_of_its_ends(oracle):
    call = Call.of(aten.clamp.Tensor, Operand((3,)), Operand((3,)), Operand((3,)))
    x, low, high = oracle.boxes(call)
    found = default_registry().rule_for(aten.clamp.Tensor).interval(call, (x, low, high))
    oracle.close(found.lower, torch.clamp(x.lower, low.lower, high.lower))
    oracle.close(found.upper, torch.clamp(x.upper, low.upper, high.upper))


def test_what_the_limits_do_not_reach_is_linear(oracle):
    call = Call.of(aten.clamp.Tensor, Operand((3,)), Operand((3,)), Operand((3,)))
    x, low, high = oracle.boxes(call)
    x = type(x)(x.lower, x.upper + 0.1)  # of single points the planes are constants
    far = [type(x)(box.lower + by, box.upper + by) for box, by in ((low, -50), (high, 50))]
    relaxation = default_registry().rule_for(aten.clamp.Tensor).relax(call, (x, *far))
    for side in (relaxation.lower, relaxation.upper):
        for term, slope in zip(side.terms, (1.0, 0.0, 0.0), strict=True):
            oracle.close(term.slope, torch.full_like(term.slope, slope))
        oracle.close(side.bias, torch.zeros_like(side.bias))


@pytest.mark.parametrize(("slopes", "shape"), [(1, (4,)), (4, (4,)), (1, (4, 3))])
def test_the_slope_of_a_prelu_may_be_perturbed(slopes, shape):
    model = nn.PReLU(slopes).double()
    model.weight = BoundedParameter(
        torch.full((slopes,), 0.3, dtype=torch.float64), PerturbationLpNorm(eps=0.2)
    )
    x = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0)).double()
    for method in ("IBP", "CROWN", "forward"):
        lower, upper = BoundedModule(model, x).compute_bounds(
            x=BoundedTensor(x, PerturbationLpNorm(eps=0.1)), method=method
        )
        for slope in (0.1, 0.3, 0.5):
            for by in (-0.1, 0.05, 0.1):
                value = torch.nn.functional.leaky_relu(x + by, slope)
                assert (lower <= value + 1e-12).all() and (value - 1e-12 <= upper).all()


def test_perturbed_slopes_of_channels_of_images_are_refused():
    call = Call.of(aten.prelu.default, Operand((1, 3, 4)), Operand((3,)))
    with pytest.raises(UnsupportedOperandError, match="channels"):
        default_registry().rule_for(aten.prelu.default).check(call)
