"""Values mixed by a softmax over a box of scores: the exact range, against all vertices of the box."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lirpa_core.linear.interval import Interval
from lirpa_core.rules.call import Call, Operand
from lirpa_ops_nlp.operators import softmax_weighted_sum
from lirpa_ops_nlp.softmax.rules import SOFTMAX
from lirpa_ops_nlp.vertices import largest_weighted_sum
from lirpa_ops_nlp.weighted_sum import WEIGHTED_SUM


def _mixed(scores: Tensor, values: Tensor) -> Tensor:
    """`softmax(scores) @ values`, by differences to the largest score; zero where nothing takes part."""
    peak = scores.amax(-1, keepdim=True)
    e = torch.where(peak > -math.inf, scores - torch.where(peak > -math.inf, peak, 0), -math.inf).exp()
    return torch.where(peak > -math.inf, e / e.sum(-1, keepdim=True).clamp(min=1e-300), 0) @ values


def _by_all_vertices(low: Tensor, up: Tensor, values: Tensor) -> Tensor:
    ends = [torch.tensor(v) for v in itertools.product([False, True], repeat=low.shape[-1])]
    return torch.stack([_mixed(torch.where(v, up, low), values) for v in ends]).amax(0)


@st.composite
def _problems(draw: st.DrawFn) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes `[3, n]` about scores of any size, some of them left out; values `[n, 4]`, some of them equal."""
    n, seed = draw(st.integers(1, 6)), draw(st.integers(0, 2**31))
    spread, width, left_out = (
        draw(st.sampled_from([0.0, 1.0, 1e3])),
        draw(st.sampled_from([0.0, 1e-12, 1.0, 1e3])),
        draw(st.booleans()),
    )
    generator = torch.Generator().manual_seed(seed)
    low = spread * torch.randn(3, n, dtype=torch.float64, generator=generator)
    up = low + width * torch.rand(3, n, dtype=torch.float64, generator=generator)
    if left_out:
        out = torch.rand(3, n, generator=generator) < 0.3
        low, up = (torch.where(out, -math.inf, end) for end in (low, up))
    values = torch.randn(n, 4, dtype=torch.float64, generator=generator)
    return low, up, torch.where(values.abs() < 0.3, 0.25, values)


@settings(max_examples=150)
@given(problem=_problems())
def test_the_best_of_all_vertices(problem: tuple[Tensor, Tensor, Tensor]) -> None:
    low, up, values = problem
    for chunk in (1, 2**18):
        found = largest_weighted_sum(low, up, values, chunk)
        torch.testing.assert_close(found, _by_all_vertices(low, up, values), rtol=1e-12, atol=1e-13)


@settings(max_examples=60)
@given(problem=_problems())
def test_no_looser_than_the_ranges_of_the_weights(problem: tuple[Tensor, Tensor, Tensor]) -> None:
    low, up, values = problem
    keep = (up > -math.inf).to(low.dtype)
    box = Interval(*(torch.where(keep > 0, end, 0).unsqueeze(0) for end in (low, up)))
    about = Interval((values - 0.1).unsqueeze(0), (values + 0.1).unsqueeze(0))
    weights = SOFTMAX.interval(
        Call.of(torch.ops.lirpa_nlp.masked_softmax.default, Operand(low.shape), keep), (box,)
    )
    operands = Operand(low.shape), Operand(values.shape)
    alone = WEIGHTED_SUM.interval(Call.of(softmax_weighted_sum, *operands), (weights, about))
    found = WEIGHTED_SUM.interval(
        Call.of(softmax_weighted_sum, *operands, operands[0], keep), (weights, about, box)
    )
    sharp = largest_weighted_sum(low, up, values + 0.1)
    slack = 1e-12 * (1 + sharp.abs())
    assert bool((sharp <= alone.upper + slack).all())
    assert bool((found.upper <= alone.upper).all() and (found.lower >= alone.lower).all())
    torch.testing.assert_close(found.upper[0], sharp.minimum(alone.upper[0]))
    inside = (low + (up - low) / 3).where(keep > 0, -math.inf)
    out = _mixed(inside, values)
    assert bool((found.lower <= out + slack).all() and (out <= found.upper + slack).all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_where_exponentials_underflow(dtype: torch.dtype) -> None:
    low = torch.tensor([[0.0, -2000, 3, -torch.inf]], dtype=dtype)
    leaf = low.where(low > -math.inf, 0).requires_grad_()
    up = torch.where(low > -math.inf, leaf + torch.tensor([2.0, 4000, 0, 0], dtype=dtype), -math.inf)
    found = largest_weighted_sum(torch.where(low > -math.inf, leaf, -math.inf), up, torch.eye(4, dtype=dtype))
    assert found[0, :3].tolist() == pytest.approx([1 / (1 + math.e), 1.0, 1 / (1 + math.exp(-3))])
    (gradient,) = torch.autograd.grad(found.sum(), leaf)
    assert bool(gradient.isfinite().all())
