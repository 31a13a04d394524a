"""Results unpack as users expect, and inner bounds are found by node and by module."""

from __future__ import annotations

import io
import pickle

import pytest
import torch
from torch import nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm


def test_unpacking_and_inner_bounds() -> None:
    x = torch.randn(4, 3).double()
    model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2)).double().eval()
    bounded, point = BoundedModule(model, x), BoundedTensor(x, PerturbationLpNorm(eps=0.2))
    found = bounded.compute_bounds(x=point, method="CROWN")
    lower, upper = found
    assert found[0] is lower and found[1] is upper and len(found) == 2 and found.A is None
    more = bounded.compute_bounds(x=point, method="CROWN", return_A=True)
    assert len(more) == 3 and more[2] is more.A
    inner = found.intermediate
    assert len(inner) == len(list(inner))
    hidden = inner["0"]  # the first module
    assert hidden.lower.shape == (4, 5)
    value = model[0](x)
    assert bool((hidden.lower <= value).all()) and bool((value <= hidden.upper).all())
    with pytest.raises(KeyError, match="no bounds for 'nonsense'; there are nodes"):
        inner["nonsense"]


def test_results_are_pickled_and_saved() -> None:
    x = torch.randn(4, 3)
    bounded = BoundedModule(nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2)), x)
    found = bounded.compute_bounds(
        BoundedTensor(x, PerturbationLpNorm(eps=0.2)), method="CROWN", return_A=True
    )
    file = io.BytesIO()
    torch.save(found, file)
    file.seek(0)
    for copy in (pickle.loads(pickle.dumps(found)), torch.load(file, weights_only=True)):
        assert torch.equal(copy.lower, found.lower) and torch.equal(copy.upper, found.upper)
        assert torch.equal(copy.A["linear_1"]["input"]["lA"], found.A["linear_1"]["input"]["lA"])
        for name in (*found.intermediate, "0", "1"):
            assert torch.equal(copy.intermediate[name].upper, found.intermediate[name].upper)
        with pytest.raises(KeyError, match="'nonsense'"):
            copy.intermediate["nonsense"]
        again = pickle.loads(pickle.dumps(copy))
        assert list(again.intermediate) == list(found.intermediate)
