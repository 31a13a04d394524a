"""A box that grows relative to its ends grows in every type, also where PyTorch's default type is another one."""

from __future__ import annotations

import pytest
import torch

from lirpa_core.linear.interval import Interval
from lirpa_core.linear.rounding import gamma, widened, without_overflow


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("relative_to", ["ends", "box"])
def test_each_end_moves(dtype: torch.dtype, relative_to: str) -> None:
    lower = torch.tensor([[-3.0, 0.3, -0.3]], dtype=dtype)
    upper = torch.tensor([[-2.0, 0.3, 0.7]], dtype=dtype)
    factor = gamma(24, dtype)
    wider = widened(Interval(lower, upper), relative_to, factor)  # type: ignore[arg-type]
    assert bool((wider.lower < lower).all()) and bool((wider.upper > upper).all())
    if relative_to == "ends":
        exact = lower.double() - lower.double().abs() * factor
        assert bool(((wider.lower.double() - exact).abs() <= torch.finfo(dtype).eps * lower.abs()).all())
        assert torch.equal(wider.lower.sign(), lower.sign()) and torch.equal(wider.upper.sign(), upper.sign())


def test_infinite_ends_stay() -> None:
    x = Interval(torch.tensor([[-torch.inf, torch.inf]]), torch.tensor([[torch.inf, torch.inf]]))
    wider = widened(x, "ends", 1e-5)
    assert torch.equal(wider.lower, x.lower) and torch.equal(wider.upper, x.upper)


def test_an_end_that_overflowed_bounds_nothing() -> None:
    x = Interval(torch.tensor([[torch.inf, 1.0, -torch.inf]]), torch.tensor([[torch.inf, 2.0, -torch.inf]]))
    found = without_overflow(x)
    assert found.lower.tolist() == [[-torch.inf, 1.0, -torch.inf]]
    assert found.upper.tolist() == [[torch.inf, 2.0, torch.inf]]
