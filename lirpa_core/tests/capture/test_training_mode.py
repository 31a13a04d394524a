"""Operators that draw random numbers are refused with what to do instead, which differs with the operator."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from lirpa_core import BoundedModule
from lirpa_core.errors import TrainingModeError


@pytest.mark.parametrize(
    ("function", "advice"),
    [
        (lambda x: x + torch.rand_like(x), "as an input"),
        (lambda x: x + torch.randn(3), "as an input"),
        (lambda x: x + torch.normal(x, 1.0), "as an input"),
        (lambda x: F.dropout(x), "eval"),
    ],
    ids=["rand_like", "randn", "normal", "dropout"],
)
def test_the_advice_is_one_that_helps(function, advice) -> None:
    with pytest.raises(TrainingModeError, match=f"draws random numbers.*{advice}"):
        BoundedModule(function, torch.zeros(1, 3))
