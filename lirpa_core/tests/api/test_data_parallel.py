"""The name that users look for does what the model itself does, and says what works on several devices."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lirpa_core import BoundDataParallel, BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.errors import CompatibilityWarning, InputError


def test_it_does_what_the_model_does() -> None:
    x = torch.rand(2, 3)
    bounded = BoundedModule(nn.Sequential(nn.Linear(3, 4), nn.ReLU()), x)
    wrapped = BoundDataParallel(bounded)
    point = BoundedTensor(x, PerturbationLpNorm(eps=0.1))
    assert torch.equal(wrapped(point), bounded(point)) and wrapped.module is bounded
    expected = bounded.compute_bounds(x=(point,))
    for found in (wrapped.compute_bounds(x=(point,)), wrapped(method_opt="compute_bounds", x=(point,))):
        assert torch.equal(found.lower, expected.lower)
    assert len(list(wrapped.parameters())) == len(list(bounded.parameters()))


def test_it_names_the_module_to_wrap() -> None:
    bounded = BoundedModule(nn.Linear(3, 4), torch.rand(2, 3))
    with pytest.warns(
        CompatibilityWarning, match=r"CertifiedLoss\(model, \.\.\.\) in torch\.nn\.parallel\.Distri"
    ):
        BoundDataParallel(bounded, device_ids=["cpu", "cpu"])
    with pytest.raises(InputError, match="BoundDataParallel\\(BoundedModule"):
        BoundDataParallel(nn.Linear(2, 2))  # type: ignore[arg-type]
