"""Softmax and log-softmax: a comparison with the core's decomposition. The kit: `conformance`."""

from __future__ import annotations

import itertools

import flint
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.errors import UnsupportedOperandError
from lirpa_core.linear.interval import Interval
from lirpa_core.plugins import default_registry
from lirpa_core.rules.call import Call, Operand
from lirpa_ops_nlp.operators import masked_softmax
from lirpa_ops_nlp.softmax.rules import SOFTMAX
from lirpa_testing import few_steps
from lirpa_testing.fuzz.methods import fuzzed_methods, method_of
from lirpa_testing.rules.strategies import boxes

aten = torch.ops.aten
KEEP = torch.tensor([[1.0, 1, 0], [1, 0, 0], [0, 0, 0]])


@settings(max_examples=25)
@given(box=boxes((5,), regime="wide") | boxes((5,), regime="thin"))
def test_planes_are_never_looser_than_the_decomposition(box: Interval) -> None:
    call = Call.of(aten.softmax.int, Operand((5,)), -1)
    found = SOFTMAX.relax(call, (box,))
    c, l, u = box.midpoint, box.lower, box.upper
    z = c.unsqueeze(-2) - c.unsqueeze(-1)
    low = l.unsqueeze(-2) - u.unsqueeze(-1)
    up = u.unsqueeze(-2) - l.unsqueeze(-1)
    rest = 1 - torch.eye(5, dtype=c.dtype)
    width = torch.where(up > low, up - low, 1)
    slope = torch.where(up > low, (up.exp() - low.exp()) / width, up.exp())
    above = ((low.exp() + slope * (z - low)) * rest).sum(-1)  # chords of the exponentials of differences
    tangent = (z.exp() * rest).sum(-1)
    least, most = ((e.exp() * rest).sum(-1) + 1 for e in (low, up))
    lower = 1 / (1 + above)  # no tangent of the reciprocal is higher
    upper = 1 / least + 1 / most - (1 + tangent) / (least * most)  # chord of the reciprocal
    at_lower = found.lower.terms[0].apply(c) + found.lower.bias
    at_upper = found.upper.terms[0].apply(c) + found.upper.bias
    assert bool((at_lower >= lower - 1e-9).all())
    assert bool((at_upper <= upper + 1e-9).all())


class Head(nn.Module):
    """Softmax or its logarithm behind a linear layer."""

    def __init__(self, log: bool) -> None:
        super().__init__()
        self.layer, self.log = nn.Linear(3, 4), log

    def forward(self, x: Tensor) -> Tensor:
        z = self.layer(x)
        return torch.log_softmax(z, -1) if self.log else torch.softmax(z, -1)


@pytest.mark.parametrize("log", [False, True])
def test_models(log, check) -> None:
    torch.manual_seed(0)
    check(Head(log), torch.randn(3, 3), eps=0.3)


def test_probabilities_far_apart_stay_in_order() -> None:
    x = torch.tensor([[1e3, -1e3, 0.0]], dtype=torch.float64)
    bounded = BoundedModule(nn.LogSoftmax(-1), x)
    lb, ub = bounded.compute_bounds(x=(BoundedTensor(x, PerturbationLpNorm(eps=1.0)),), method="CROWN")
    assert bool(lb.isfinite().all()) and bool((lb <= ub).all())
    assert float(lb[0, 1]) == pytest.approx(-2002.0)


def test_another_precision_is_refused() -> None:
    call = Call.of(aten.softmax.int, Operand((3,)), -1, torch.float32)
    with pytest.raises(UnsupportedOperandError, match="converts"):
        SOFTMAX.check(call)


@pytest.mark.parametrize("far", [21.0, 26.375, 40.0])
def test_scores_far_apart_in_a_small_box(far: float) -> None:
    """The one in `1 + exp(far)` is more than what the planes lose on such a box."""
    x, eps = torch.tensor([[-far / 2, far / 2, -5.75, -4.0]], dtype=torch.float64), 2.0**-24
    ball = BoundedTensor(x, PerturbationLpNorm(eps=eps))
    lower, upper = BoundedModule(nn.Softmax(-1), x).compute_bounds(x=(ball,), method="CROWN")
    with flint.ctx.workprec(200):
        for signs in itertools.product((-1, 0, 1), repeat=4):
            e = [(flint.arb(v) + s * flint.arb(eps)).exp() for v, s in zip(x[0].tolist(), signs, strict=True)]
            for k in range(4):
                value = e[k] / sum(e, flint.arb(0))
                assert not value < flint.arb(float(lower[0, k]))
                assert not value > flint.arb(float(upper[0, k]))


@pytest.mark.parametrize("log", [False, True], ids=["softmax", "logarithm"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_score_that_may_be_far_above_leaves_the_others_their_digits(dtype, log) -> None:
    """Counted from the largest upper end, nothing would be left of scores that are far below it."""
    function = nn.LogSoftmax(-1) if log else nn.Softmax(-1)
    tops = [1e4, 1e5, 1e9, 1e30] if dtype == torch.float32 else [1e9, 1e12, 1e17, 5e47]
    lower = torch.tensor([[0.0, 0, 0.5, -3]], dtype=dtype).expand(len(tops), -1)
    upper = torch.tensor([[top, 1.0, 1.25, 2] for top in tops], dtype=dtype)
    x = torch.where(torch.arange(4) == 0, lower, (lower + upper) / 2)
    ball = BoundedTensor(x, PerturbationLpNorm(x_L=lower, x_U=upper))
    bounded = BoundedModule(function, x, bound_opts=few_steps())
    rows = torch.randn(len(tops), 3, 4, dtype=dtype, generator=torch.Generator().manual_seed(0))
    C = torch.cat([torch.eye(4, dtype=dtype).expand(len(tops), 4, 4), rows], 1)
    found = {m: bounded.compute_bounds(x=(ball,), method=method_of(m), C=C) for m in fuzzed_methods()}
    with flint.ctx.workprec(300):
        for k in range(len(tops)):
            ends = [
                (flint.arb(float(a)), flint.arb(float(b))) for a, b in zip(lower[k], upper[k], strict=True)
            ]
            for corner in itertools.product(*ends):
                least = max(corner, key=float)
                total = sum(((v - least).exp() for v in corner), flint.arb(0))
                out = [v - least - total.log() if log else (v - least).exp() / total for v in corner]
                for i, row in enumerate(C[k].tolist()):
                    value = sum((flint.arb(c) * v for c, v in zip(row, out, strict=True)), flint.arb(0))
                    for method, (lb, ub) in found.items():
                        assert not value < flint.arb(float(lb[k, i])), (method, tops[k], i)
                        assert not value > flint.arb(float(ub[k, i])), (method, tops[k], i)


@pytest.mark.parametrize("scale", [0.1, 2.0])
def test_a_perturbed_mask_of_scores(scale: float) -> None:
    generator = torch.Generator().manual_seed(2)
    lower = torch.randn(40, 4, generator=generator).double()
    x = Interval(lower, lower + scale * torch.rand(40, 4, generator=generator).double())
    ends = torch.randint(0, 2, (2, 40, 4), generator=generator).double().sort(0).values
    call = Call.of(masked_softmax, Operand((4,)), Operand((4,)))
    rule = default_registry().rule_for(masked_softmax)
    found, relaxation = (f(call, (x, Interval(*ends))) for f in (rule.interval, rule.relax))
    least, greatest = torch.full_like(lower, 2.0), torch.full_like(lower, -1.0)
    for keep in itertools.product((0.0, 1.0), repeat=4):
        kept = torch.tensor(keep).double().maximum(ends[0]).minimum(ends[1])
        for corner in itertools.product((0.0, 1.0), repeat=4):
            at = x.lower + torch.tensor(corner).double() * x.width
            y = masked_softmax(at, kept)
            least, greatest = least.minimum(y), greatest.maximum(y)
            below, above = (s.terms[0].apply(at) + s.bias for s in (relaxation.lower, relaxation.upper))
            assert (below <= y + 1e-12).all() and (above >= y - 1e-12).all()
    torch.testing.assert_close(found.lower, least, rtol=0, atol=1e-12)  # the corners attain the range
    torch.testing.assert_close(found.upper, greatest, rtol=0, atol=1e-12)


@pytest.mark.parametrize("width", [1e-8, 1e-3, 1.0])
def test_large_scores_in_small_boxes_lose_no_more_than_their_ends(width: float) -> None:
    """The midpoint of large numbers is rounded, and the slope by which its output would pay for that cancels."""
    generator = torch.Generator().manual_seed(0)
    x = 1e8 * (1 + torch.rand(6, 1, generator=generator, dtype=torch.float64)).expand(-1, 3)
    x = x + torch.tensor([0.0, 1.0, 3e7]) * torch.rand(6, 3, generator=generator, dtype=torch.float64)
    reach = width * torch.rand(6, 3, generator=generator, dtype=torch.float64)
    lower, upper = x - reach, x + reach
    ball = BoundedTensor(x, PerturbationLpNorm(x_L=lower, x_U=upper))
    for log, function in ((False, nn.Softmax(-1)), (True, nn.LogSoftmax(-1))):
        lb, ub = BoundedModule(function, x).compute_bounds(x=(ball,), method="CROWN")
        with flint.ctx.workprec(250):
            for k in range(len(x)):
                for corner in itertools.product(*zip(lower[k].tolist(), upper[k].tolist(), strict=True)):
                    v = [flint.arb(c) - flint.arb(max(corner)) for c in corner]
                    total = sum((c.exp() for c in v), flint.arb(0))
                    for i, c in enumerate(v):
                        value = c - total.log() if log else c.exp() / total
                        assert not value < flint.arb(float(lb[k, i])), (log, k, i)
                        assert not value > flint.arb(float(ub[k, i])), (log, k, i)
