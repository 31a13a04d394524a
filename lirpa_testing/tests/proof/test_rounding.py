"""Running errors are as large as what single precision really does to a formula, and not much larger."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from flint import arb, ctx

from lirpa_testing.proof import Jet
from lirpa_testing.proof.rounding import running_error

EPS = torch.finfo(torch.float32).eps

#: The same steps in torch and in jets.
FORMULAS: dict[str, tuple[Any, Any]] = {
    "bump": (lambda x: (-(x * x)).exp(), lambda x: (-(x * x)).exp()),
    "silu": (lambda x: x * x.sigmoid(), lambda x: x * x.sigmoid()),
    "cancelling": (lambda x: (x + 1) * (x - 1) - x * x, lambda x: (x + 1) * (x - 1) - x * x),
    "rational": (lambda x: x / (1 + x * x) / 3, lambda x: x / (1 + x * x) / 3),
    "identity": (lambda x: x, lambda x: x),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_rounding_stays_within(name: str) -> None:
    in_torch, in_jets = FORMULAS[name]
    x = torch.linspace(-6.1, 5.7, 97, dtype=torch.float32)
    y = in_torch(x).double().tolist()
    worst = 0.0
    with ctx.workprec(128):
        for at, rounded in zip(x.double().tolist(), y, strict=True):
            exact = in_jets(Jet.value(arb(at))).f
            missed, allowed = abs(float(exact - rounded)), EPS * running_error(in_jets, at)
            assert missed <= allowed + 1e-45
            worst = max(worst, missed / allowed if allowed else 0.0)
    assert worst > 0.05 or name == "identity"  # not an empty promise
