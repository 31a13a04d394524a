"""Bounds of what a kernel computes that is off by more than rounding."""

import torch

from lirpa_core.linear.interval import Interval
from lirpa_core.plugins import default_registry
from lirpa_core.rules import Call, Operand

aten = torch.ops.aten


def test_trigamma_as_pytorch_computes_it_is_inside():
    x = torch.linspace(1.0, 1.3, 301, dtype=torch.float64).reshape(-1, 1)
    truth = torch.special.zeta(2.0, x)
    kernel = torch.polygamma(1, x)
    assert ((kernel - truth).abs() > 1e-11).any()  # as long as it is off, the rule has to be
    call = Call.of(aten.polygamma.default, 1, Operand((1,)))
    rule = default_registry().rule_for(aten.polygamma.default)
    box = (Interval(x, x),)
    found, relaxation = rule.interval(call, box), rule.relax(call, box)
    slopes = [s.start for s in rule.slopes(call, box)]
    for bounds in (
        (found.lower, found.upper),
        *[
            tuple(s.terms[0].apply(x) + s.bias for s in (r.lower, r.upper))
            for r in (relaxation, rule.relax_with(call, box, slopes))
        ],
    ):
        for value in (kernel, truth):
            assert (bounds[0] <= value).all() and (value <= bounds[1]).all()
        assert (bounds[1] - bounds[0]).max() < 1e-8
