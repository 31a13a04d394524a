"""Products of projections: found in graphs, sound, and no looser than McCormick's planes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedParameter, BoundedTensor, PerturbationLpNorm
from lirpa_ops_nlp import projections
from lirpa_testing import method_names


class Scores(nn.Module):
    """Scores of several heads, from one layer or from two, of a sequence or of two."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way
        self.both, self.one, self.two = nn.Linear(6, 16), nn.Linear(6, 8), nn.Linear(6, 8, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.way == "packed":
            q, k = (t.unflatten(-1, (2, 4)).transpose(1, 2) for t in self.both(x).chunk(2, -1))
        elif self.way == "interleaved":
            q, k = self.both(x).unflatten(-1, (2, 2, 4)).permute(2, 0, 3, 1, 4)
        elif self.way == "cross":
            q, k = self.one(x[:, :2]), self.two(x[:, 1:] / 2)
        else:
            q, k = self.one(x) * 0.5, self.two(x) / 3
        return q @ k.mT


def _targets(model: nn.Module, x: Tensor) -> set[str]:
    return {str(n.target) for n in BoundedModule(model, x).graph.nodes}


@pytest.mark.parametrize(
    ("way", "eps"),
    [
        ("packed", (1e-12, 0.05, 1e3)),
        ("interleaved", 0.05),
        ("cross", 0.05),
        ("scaled", 1e3),
    ],
)
def test_sound_and_found(way, eps, check_in_turn) -> None:
    torch.manual_seed(0)
    model, x = Scores(way), torch.randn(2, 3, 6)
    assert "lirpa_nlp.projected_product.default" in _targets(model, x)
    check_in_turn(model, x, eps=eps)


def test_a_product_within_one_row_is_left_alone() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(6, 6)

        def forward(self, x: Tensor) -> Tensor:
            y = self.layer(x)
            return y.mT @ y.reshape(-1, 6, 3).mT  # tokens and features change places

    x = torch.randn(2, 3, 6)
    assert "lirpa_nlp.projected_product.default" not in _targets(Mixed(), x)


@pytest.mark.parametrize("method", method_names())
def test_never_looser_than_mccormick(method, monkeypatch) -> None:
    torch.manual_seed(1)
    model, x = Scores("packed").double(), torch.randn(2, 3, 6).double()
    bounded = BoundedModule(model.requires_grad_(False), x)
    widths = []
    for known in (True, False):
        if not known:
            monkeypatch.setattr(projections, "_is_known", lambda call: False)
        lb, ub = bounded.compute_bounds(x=(BoundedTensor(x, PerturbationLpNorm(eps=0.1)),), method=method)
        widths.append(ub - lb)
    assert bool((widths[0] < widths[1]).all())


def test_perturbed_weights_fall_back_to_mccormick() -> None:
    torch.manual_seed(2)
    model, x = Scores("cross").double(), torch.randn(1, 3, 6).double()
    weight = model.one.weight.detach().clone()
    model.one.weight = BoundedParameter(weight, PerturbationLpNorm(eps=0.02))
    ball = BoundedTensor(x, PerturbationLpNorm(eps=0.02))
    lb, ub = BoundedModule(model, x).compute_bounds(x=(ball,), method="CROWN")
    for _ in range(20):
        moved = weight + 0.02 * torch.randn_like(weight).sign()
        out = torch.func.functional_call(
            model, {"one.weight": moved}, (x + 0.02 * torch.randn_like(x).sign(),)
        )
        assert bool((lb - 1e-12 <= out).all() and (out <= ub + 1e-12).all())
