"""Inner bounds that a user brings are used, by module or node, in the user's shape or flat."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lirpa_core import BoundedModule, BoundedTensor, Interval, PerturbationLpNorm
from lirpa_core.errors import InputError


def test_sound_bounds_from_elsewhere_make_others_tighter() -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 3).double()
    model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2)).double().eval()
    bounded, point = BoundedModule(model, x), BoundedTensor(x, PerturbationLpNorm(norm=2, eps=0.5))
    tight = bounded.compute_bounds(x=point, method="CROWN")
    inner = tight.intermediate["0"]
    loose = bounded.compute_bounds(x=point, method="IBP")
    results = [
        bounded.compute_bounds(x=point, method="IBP", interm_bounds={"0": given})
        for given in (
            (inner.lower, inner.upper),
            inner,
            Interval(inner.lower.unsqueeze(1), inner.upper.unsqueeze(1)),
        )
    ]
    for found in results:
        assert torch.equal(found.lower, results[0].lower)
        assert bool((found.lower >= loose.lower).all()) and bool((found.upper <= loose.upper).all())
        for z in point.ptb.sample(x, 50):
            assert bool((found.lower <= model(z) + 1e-9).all()) and bool(
                (model(z) <= found.upper + 1e-9).all()
            )


def test_refusals() -> None:
    x = torch.zeros(1, 3)
    bounded = BoundedModule(nn.Linear(3, 2), x)
    point = BoundedTensor(x, PerturbationLpNorm(eps=0.5))
    with pytest.raises(InputError, match="no node or module 'nonsense'"):
        bounded.compute_bounds(x=point, interm_bounds={"nonsense": (x, x)})
    (node,) = bounded.output_name
    with pytest.raises(InputError, match=r"have shape \[1, 3\]"):
        bounded.compute_bounds(x=point, interm_bounds={node: (x, x)})
