"""Short cuts of the linear maps and intervals agree with what they replace."""

from __future__ import annotations

import pytest
import torch

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.linear.coefficients import DenseCoefficients, SelectedRows, base
from lirpa_core.linear.finite import all_finite
from lirpa_core.linear.interval import Interval
from lirpa_core.linear.relax import eager
from lirpa_testing import method_names

torch_double = {"dtype": torch.float64}


@pytest.fixture
def maps():
    torch.manual_seed(0)
    index = torch.randint(0, 12, (5, 3))
    return [
        DenseCoefficients(torch.randn(5, 3, 4, 3, **torch_double)),
        DenseCoefficients(torch.randn(5, 1, 4, 3, **torch_double)),
        SelectedRows(index, torch.randn(5, 3, **torch_double), (4, 3)),
    ]


@pytest.mark.parametrize("batch", [1, 3])
def test_half_of_a_split_dot(maps, batch):
    value = torch.randn(batch, 4, 3, **torch_double)
    for A in maps:
        zero = torch.zeros_like(value)
        torch.testing.assert_close(A.split_dot(None, value), A.split_dot(zero, value))
        torch.testing.assert_close(A.split_dot(value, None), A.split_dot(value, zero))


def test_relax_is_exact(maps):
    low, up = torch.rand(3, 4, 3, **torch_double), torch.rand(3, 4, 3, **torch_double)
    for A in maps[:2]:
        expected = A.to_dense() * torch.where(A.to_dense() >= 0, low, up)
        assert torch.equal(A.relax(low, up).to_dense(), expected)


def test_gradient_at_zero_coefficients_is_one_of_the_slopes():
    A = torch.zeros(1, 1, 2, **torch_double, requires_grad=True)
    slope = torch.ones(1, 2, **torch_double)
    (gradient,) = torch.autograd.grad(DenseCoefficients(A).relax(slope, slope).to_dense().sum(), A)
    assert gradient.tolist() == [[[1.0, 1.0]]]
    (gradient,) = torch.autograd.grad(DenseCoefficients(A).split_dot(2 * slope, 4 * slope).sum(), A)
    assert gradient.tolist() == [[[3.0, 3.0]]]


@pytest.mark.parametrize("shape", [(1, 4, 3), (3, 4, 3), (4, 3), (1, 1, 1)])
def test_weighted_one_norm(maps, shape):
    weight = torch.randn(shape, **torch_double)
    for A in maps:
        expected = (A.to_dense() * weight).abs().flatten(2).sum(-1)
        torch.testing.assert_close(A.dual_norm(1, weight).expand_as(expected), expected)


def test_ball_of_an_interval():
    low, up = torch.tensor([-1.0, 2.0, 3.0]), torch.tensor([5.0, 2.0, 4.0])
    center, radius = Interval(low, up).midpoint_radius()
    assert center.tolist() == [2.0, 2.0, 3.5]
    assert radius.tolist() == [3.0, 0.0, 0.5]
    known = (torch.ones(2, 3), torch.ones(1, 3))
    assert Interval(low, up, known_midpoint_radius=known).midpoint_radius() == known


class _Moved(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        padded = torch.cat([-x.transpose(1, 2).flatten(1), torch.full((x.shape[0], 2), 0.5)], 1)
        return self.linear(padded)


@pytest.mark.parametrize("eps", [0.1, torch.tensor([0.1, 0.2, 0.05, 0.0]), torch.rand(1, 2, 3)])
def test_shared_radius_gives_the_bounds_of_the_box(eps):
    torch.manual_seed(0)
    model, x = _Moved().double(), torch.randn(4, 2, 3, **torch_double)
    eps = eps.double() if isinstance(eps, torch.Tensor) else eps
    wide = eps.reshape(-1, 1, 1) if isinstance(eps, torch.Tensor) and eps.dim() == 1 else eps
    bounded = BoundedModule(model, x)
    for method in method_names():
        ball = bounded.compute_bounds(x=(BoundedTensor(x, PerturbationLpNorm(eps=eps)),), method=method)
        walls = PerturbationLpNorm(x_L=x - wide, x_U=x + wide)
        box = bounded.compute_bounds(x=(BoundedTensor(x, walls),), method=method)
        torch.testing.assert_close(ball.lower, box.lower)
        torch.testing.assert_close(ball.upper, box.upper)


def test_all_finite():
    assert all_finite(torch.tensor([1.0, -2.0]))
    assert all_finite(
        torch.full((4,), torch.finfo(torch.float32).max)
    )  # the sum overflows, no element is infinite
    for bad in (float("nan"), float("inf"), float("-inf")):
        assert not all_finite(torch.tensor([1.0, bad]))
    assert not all_finite(torch.tensor([float("inf"), float("-inf")]))
    assert all_finite(torch.zeros(0))


@pytest.mark.parametrize("recording", [True, False])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("present", [(True, True), (True, False), (False, True), (False, False)])
def test_mirrored_rows_are_relaxed_as_both_halves(maps, batch, recording, present, monkeypatch):
    monkeypatch.setattr(eager, "PIECE", 30)
    slopes = tuple(torch.randn(batch, 4, 3, **torch_double) for _ in range(2))
    biases = tuple(torch.randn(batch, 4, 3, **torch_double) if there else None for there in present)
    for A in maps:
        both = torch.cat([A.to_dense(), -A.to_dense()])
        wanted = torch.where(both > 0, both * slopes[0], both * slopes[1])
        sums = sum(
            (torch.zeros_like(half) if side is None else half * side).flatten(2).sum(2)
            for half, side in zip((both.clamp(min=0), both.clamp(max=0)), biases, strict=True)
        )
        with torch.set_grad_enabled(recording):
            for found, bias in (
                A.relax_mirrored(slopes, biases),
                A.with_negated().relax_affine(slopes, biases),
            ):
                torch.testing.assert_close(found.to_dense(), wanted)
                if bias is None:
                    assert biases == (None, None)
                else:
                    torch.testing.assert_close(bias, sums.expand_as(bias))


@pytest.mark.parametrize("recording", [True, False])
@pytest.mark.parametrize("batch", [1, 3])
def test_sums_in_pieces(maps, batch, recording, monkeypatch):
    monkeypatch.setattr(eager, "PIECE", 30)
    monkeypatch.setattr(base, "_LARGE", 1)
    middle, radius = torch.randn(batch, 4, 3, **torch_double), torch.rand(batch, 4, 3, **torch_double)
    for A in maps:
        dense = A.to_dense()
        with torch.set_grad_enabled(recording):
            found = A.midpoint_radius(middle, radius)
        wanted = (dense * middle).flatten(2).sum(2), (dense.abs() * radius).flatten(2).sum(2)
        for one, other in zip(found, wanted, strict=True):
            torch.testing.assert_close(one.expand_as(other), other)


def test_rows_of_each_example_are_picked(maps):
    index = torch.tensor([[4, 0, 2], [1, 1, 3]])
    for A in maps:
        dense = A.to_dense().expand(-1, 3, -1, -1)
        expected = torch.stack([dense[index[:, b], b] for b in range(3)], 1)
        assert torch.equal(A.pick(index).to_dense(), expected)
