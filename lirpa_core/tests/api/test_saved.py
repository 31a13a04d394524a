"""Saved bounds are the tightest: those of the model cut at each node, on the same inner bounds."""

import pytest
import torch
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_testing import method_names


class Net(nn.Module):
    """Two affine layers in a row, a sum that no activation reads, and an output."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.c, self.d = nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 3)
        self.double()

    def parts(self, x: Tensor) -> list[Tensor]:
        h = torch.tanh(self.a(x))
        p = self.b(h)
        q = self.c(p) - p
        return [h, p, q, self.d(torch.relu(q)) + p[..., :3]]

    def forward(self, x: Tensor) -> Tensor:
        return self.parts(x)[-1]


class Cut(nn.Module):
    def __init__(self, net: Net, at: int) -> None:
        super().__init__()
        self.net, self.at = net, at

    def forward(self, x: Tensor) -> Tensor:
        return self.net.parts(x)[self.at]


X = torch.randn(2, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
BALL = PerturbationLpNorm(eps=0.4)


@pytest.mark.parametrize("method", method_names())
def test_no_wider_than_what_was_known_and_samples_stay_inside(method: str) -> None:
    model, bounded = Net(), BoundedModule(Net(), X)
    found = bounded.compute_bounds(BoundedTensor(X, BALL), method=method)
    known, saved = found.intermediate.by_node, bounded.save_intermediate()
    assert saved.keys() == known.keys()
    for name, interval in known.items():
        assert bool((saved[name][0] >= interval.lower).all()) and bool(
            (saved[name][1] <= interval.upper).all()
        )
    (out,) = bounded.output_name
    assert bool((saved[out][0].squeeze(1) >= found.lower).all())
    assert bool((saved[out][1].squeeze(1) <= found.upper).all())
    points = X + 0.4 * (2 * torch.rand(200, *X.shape, dtype=torch.float64) - 1).clamp(-0.5, 0.5) * 2
    names = ["tanh", "linear_1", "sub", out]
    for name, values in zip(names, model.parts(points), strict=True):
        low, up = (end.squeeze(1) for end in saved[name])
        assert bool(((values >= low) & (values <= up)).all())


@pytest.mark.parametrize("at", [1, 2, 3])
def test_as_tight_as_the_model_cut_there(at: int) -> None:
    bounded = BoundedModule(Net(), X)
    bounded.compute_bounds(BoundedTensor(X, BALL), method="CROWN")
    name = ["tanh", "linear_1", "sub", bounded.output_name[0]][at]
    low, up = (end.squeeze(1) for end in bounded.save_intermediate()[name])
    lower, upper = BoundedModule(Cut(Net(), at), X).compute_bounds(BoundedTensor(X, BALL), method="CROWN")
    assert bool((low >= lower - 1e-12).all()) and bool((up <= upper + 1e-12).all())


def test_rows_are_not_taken_for_the_output() -> None:
    bounded, C = BoundedModule(Net(), X), 0.01 * torch.eye(3, dtype=torch.float64).expand(2, 3, 3)
    found = bounded.compute_bounds(BoundedTensor(X, BALL), method="CROWN", C=C)
    low, up = (end.squeeze(1) for end in bounded.save_intermediate()[bounded.output_name[0]])
    value = Net()(X)
    assert bool(((low <= value) & (value <= up)).all()) and bool(
        ((up - low) > 2 * (found.upper - found.lower)).all()
    )
