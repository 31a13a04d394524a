"""The range of a Bessel function, against Arb."""

import torch
from flint import arb

from lirpa_core.linear.interval import Interval
from lirpa_core.plugins import default_registry
from lirpa_core.rules import Call, Operand

aten = torch.ops.aten


def test_range():
    generator = torch.Generator().manual_seed(0)
    lower = 40 * torch.rand(200, 1, generator=generator).double() - 20
    upper = lower + 10 ** (2 * torch.rand(200, 1, generator=generator).double() - 1.5)
    call = Call.of(aten.special_bessel_j0.default, Operand((1,)))
    found = (
        default_registry().rule_for(aten.special_bessel_j0.default).interval(call, (Interval(lower, upper),))
    )
    for low, up, a, b in torch.cat([found.lower, found.upper, lower, upper], 1).tolist():
        seen = [float(arb(a + (b - a) * k / 40).bessel_j(0)) for k in range(41)]
        assert low <= min(seen) and max(seen) <= up
        assert up - low <= max(seen) - min(seen) + 0.02 * (b - a) + 1e-5


def test_gradients_are_central_differences():
    """PyTorch's operator has no derivative; bounds of a model with it have one all the same."""
    call = Call.of(aten.special_bessel_j0.default, Operand((4,)))
    rule = default_registry().rule_for(aten.special_bessel_j0.default)
    ends = torch.tensor([[[0.3, 1.0, 4.0, -7.0]], [[0.4, 1.5, 5.0, -6.8]]], dtype=torch.float64)

    def ranges(ends):
        found = rule.interval(call, (Interval(*ends),))
        return torch.stack([found.lower, found.upper])

    assert torch.autograd.gradcheck(ranges, ends.requires_grad_())
