"""Pooling: averages are exact, maxima are sound and exact where one element dominates."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.linear.interval import Interval
from lirpa_core.rules.call import Call, Operand
from lirpa_ops_vision.pooling import ADAPTIVE_MAXIMUM, MAXIMUM
from lirpa_testing import check_rule, method_names

aten = torch.ops.aten


@pytest.mark.parametrize("op", [aten.max_pool2d_with_indices.default, aten.adaptive_max_pool2d.default])
def test_maximum_with_indices(op: Any) -> None:
    rule = {aten.adaptive_max_pool2d.default: ADAPTIVE_MAXIMUM}.get(op, MAXIMUM)
    call = Call.of(op, Operand((1, 1, 4, 3)), [2, 2], output=0)
    check_rule(rule, call, examples=14)
    places = Call.of(op, Operand((1, 1, 4, 3)), [2, 2], output=1)
    rule.check(places)
    lower = torch.randn(8, 1, 1, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = rule.interval(places, (Interval(lower, lower + 0.7),))
    for _ in range(50):
        x = lower + 0.7 * torch.rand_like(lower)
        at = op(x.flatten(0, 1), [2, 2])[1].unflatten(0, (8, 1))
        assert bool((found.lower <= at).all() and (at <= found.upper).all())
    assert bool((found.lower == found.upper).any() and (found.lower < found.upper).any())


def _relax(low: list[float], up: list[float]) -> tuple[torch.Tensor, ...]:
    """Weights and bias of the two lines of a maximum of four numbers."""
    call = Call.of(aten.max_pool1d.default, Operand((1, 1, len(low))), [len(low)])
    box = Interval(*(torch.tensor(v, dtype=torch.float64).reshape(1, 1, 1, -1) for v in (low, up)))
    lines = MAXIMUM.relax(call, (box,))
    one = torch.ones(1, 1, *call.shape, dtype=torch.float64)
    below, above = (side.terms[0].transpose(one).flatten() for side in (lines.lower, lines.upper))  # type: ignore[union-attr]
    assert lines.upper.bias is not None
    return below, above, lines.upper.bias.flatten()


def test_an_element_that_dominates_is_taken_as_it_is() -> None:
    below, above, bias = _relax([0.0, 2.0, -1.0], [1.0, 3.0, 2.0])
    assert below.tolist() == above.tolist() == [0.0, 1.0, 0.0]
    assert bias.item() == 0


def test_upper_line_is_never_above_the_constant_at_the_centre() -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        ends = torch.randn(2, 5, generator=generator, dtype=torch.float64).sort(0).values
        low, up = ends[0], ends[1]
        _, above, bias = _relax(low.tolist(), up.tolist())
        centre = above @ ((low + up) / 2) + bias
        assert centre <= up.max() + 1e-12
        m = low.max()
        slopes = (up - m).clamp(min=0) / (up - low)
        assert centre <= m + slopes @ ((low + up) / 2 - low) + 1e-12


class _Pooled(torch.nn.Module):
    """A convolution, then the maximum of 2 by 2 windows, as a pooling operator or as `amax`."""

    def __init__(self, by_pooling: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.by_pooling = torch.nn.Conv2d(1, 2, 3, padding=1), by_pooling
        self.head = torch.nn.Linear(18, 3)
        self.double()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        if self.by_pooling:
            x = torch.nn.functional.max_pool2d(x, 2)
        else:
            x = x.unflatten(3, (3, 2)).unflatten(2, (3, 2)).amax((3, 5))
        return self.head(x.flatten(1))


@pytest.mark.parametrize("method", method_names(optimized=False))
def test_amax_is_as_tight_as_pooling(method: str) -> None:
    x = torch.rand(2, 1, 6, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = [
        BoundedModule(_Pooled(by_pooling), x).compute_bounds(
            (BoundedTensor(x, PerturbationLpNorm(eps=0.1)),), method=method
        )
        for by_pooling in (True, False)
    ]
    torch.testing.assert_close(tuple(found[0]), tuple(found[1]))


@pytest.mark.parametrize("method", ["IBP", "CROWN", "forward"])
def test_pooled_and_put_back(method: str) -> None:
    def function(x: Tensor) -> Tensor:
        pooled, places = torch.nn.functional.max_pool2d(x, 2, return_indices=True)
        return torch.nn.functional.max_unpool2d(pooled, places, [2, 2])

    x = torch.tensor([[[[0.1, 0.5], [-0.3, 0.45]]]]).double()
    bounds = BoundedModule(function, x).compute_bounds(
        x=(BoundedTensor(x, PerturbationLpNorm(eps=0.1)),), method=method
    )
    noise = 0.2 * torch.rand(500, 1, 2, 2, generator=torch.Generator().manual_seed(0)).double() - 0.1
    values = function(x + noise)
    assert (values >= bounds.lower).all() and (values <= bounds.upper).all()
    assert bounds.upper[0, 0, 0, 0] == 0 == bounds.lower[0, 0, 0, 0]  # it is never the largest
