"""Lp perturbations against brute force, and their refusals."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from lirpa_core.errors import PerturbationError
from lirpa_core.linear.coefficients import DenseCoefficients, SelectedRows
from lirpa_core.perturbations import Perturbation, PerturbationLpNorm

F64 = torch.float64
NORMS = [1, 1.3, 1.5, 2, 3, 10, math.inf]


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, dtype=F64, generator=torch.Generator().manual_seed(seed))


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=F64, generator=torch.Generator().manual_seed(seed))


def descend(ptb: Perturbation, x: Tensor, A: Tensor) -> Tensor:
    """Smallest `A·z` found on a convex set by proximal steps, for one row `[1, B, *S]`.

    One step of length t ends within `diameter² / 2t` of the minimum.
    """
    z = ptb.sample(x, 4, torch.Generator().manual_seed(1))
    for exponent in range(8):
        z = ptb.project(x, z - A * 10.0**exponent)
    return (A * z).flatten(2).sum(-1).amin(0)


@pytest.mark.parametrize("p", NORMS)
@pytest.mark.parametrize("box", ["none", "both", "lower", "tight"])
def test_minimum_is_attained_and_not_undercut(p: float, box: str) -> None:
    x = rand(3, 5)
    limits = {
        "none": {},
        "both": {"x_L": 0.0, "x_U": 1.0},
        "lower": {"x_L": torch.zeros(5)},
        "tight": {"x_L": x - 0.02 * rand(3, 5, seed=4), "x_U": x + 0.02 * rand(3, 5, seed=5)},
    }[box]
    ptb = PerturbationLpNorm(eps=0.6, norm=p, **limits)
    ptb.validate(x)
    for seed in range(2):
        A = randn(1, 3, 5, seed=seed)
        bound = ptb.concretize(x, DenseCoefficients(A))[0]
        samples = ptb.sample(x, 200, torch.Generator().manual_seed(seed))
        assert ptb.contains(x, samples).all()
        assert (bound <= (A * samples).sum(-1).amin(0) + 1e-12).all()
        torch.testing.assert_close(bound, descend(ptb, x, A), atol=1e-7, rtol=1e-7)


@pytest.mark.parametrize("p", [1, 1.5, 2, 7])
def test_intersection_is_never_worse_than_ball_or_box(p: float) -> None:
    x, A = rand(4, 20), DenseCoefficients(randn(50, 4, 20))
    both = PerturbationLpNorm(0.8, p, x_L=0.0, x_U=1.0)
    ball = PerturbationLpNorm(0.8, p)
    box = PerturbationLpNorm(norm=math.inf, x_L=both.hull(x).lower, x_U=both.hull(x).upper)
    value = both.concretize(x, A)
    assert (value >= ball.concretize(x, A).maximum(box.concretize(x, A)) - 1e-14).all()
    assert (value > ball.concretize(x, A) + 1e-3).any()


@pytest.mark.parametrize("p", [1, 2, math.inf])
def test_known_values(p: float) -> None:
    x, A = torch.zeros(1, 2, dtype=F64), DenseCoefficients(torch.tensor([[[3.0, -4.0]]], dtype=F64))
    expected = {1: -4.0, 2: -5.0, math.inf: -7.0}[p]
    assert PerturbationLpNorm(1.0, p).concretize(x, A).item() == pytest.approx(expected)


def test_knapsack_by_hand() -> None:
    x = torch.tensor([[0.1, 0.5, 0.9]], dtype=F64)
    A = DenseCoefficients(torch.tensor([[[5.0, 2.0, -1.0]]], dtype=F64))
    ptb = PerturbationLpNorm(0.4, 1, x_L=0.0, x_U=1.0)  # 0.1 of the first, 0.3 of the second
    assert ptb.concretize(x, A).item() == pytest.approx(0.6 - 0.5 - 0.6)


@pytest.mark.parametrize("p", NORMS)
@pytest.mark.parametrize("box", [False, True])
@pytest.mark.parametrize("eps", [0.0, 0.3, 1e-300, 1e3])
def test_finite_values_and_gradients_at_zero_radius_and_zero_rows(p: float, box: bool, eps: float) -> None:
    x = torch.tensor([[0.0, 1.0, 0.25, 0.5]], dtype=F64, requires_grad=True)
    A = torch.cat([torch.zeros(1, 1, 4), torch.eye(4).unsqueeze(1), torch.ones(1, 1, 4)]).to(F64)
    A.requires_grad_()
    radius = torch.tensor(eps, dtype=F64, requires_grad=True)
    lower, upper = (torch.full((4,), v, dtype=F64, requires_grad=True) for v in (0.0, 1.0))
    ptb = PerturbationLpNorm(radius, p, x_L=lower if box else None, x_U=upper if box else None)
    value = ptb.concretize(x, DenseCoefficients(A))
    assert value.isfinite().all()
    assert value[0] == 0
    if eps == 0:
        torch.testing.assert_close(value[:, 0], A[:, 0] @ x[0])
    leaves = [x, A, radius] + ([lower, upper] if box else [])
    for gradient in torch.autograd.grad(value.sum(), leaves):
        assert gradient.isfinite().all()


@pytest.mark.parametrize("p", [1, 1.5, 2, 4, math.inf])
@pytest.mark.parametrize("box", [False, True])
def test_gradients_are_those_of_finite_differences(p: float, box: bool) -> None:
    x, A, eps = 0.2 + 0.6 * rand(2, 4), randn(3, 2, 4), torch.tensor([0.5, 0.7], dtype=F64)
    lower, upper = -0.1 * rand(4, seed=3), 1 + 0.1 * rand(4, seed=4)

    def bound(x: Tensor, A: Tensor, eps: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        limits = {"x_L": lower, "x_U": upper} if box else {}
        return PerturbationLpNorm(eps, p, **limits).concretize(x, DenseCoefficients(A))

    inputs = [t.requires_grad_() for t in (x, A, eps, lower, upper)]
    assert torch.autograd.gradcheck(bound, inputs, atol=1e-5, eps=1e-7)


@pytest.mark.parametrize("p", [1, 1.5, 2, math.inf])
@pytest.mark.parametrize("box", [False, True])
def test_structured_and_broadcast_coefficients(p: float, box: bool) -> None:
    x = rand(3, 2, 2)
    limits = {"x_L": 0.0, "x_U": 1.0} if box else {}
    ptb = PerturbationLpNorm(0.4, p, **limits)
    rows = SelectedRows(torch.tensor([[0], [3]]), torch.tensor([[2.0], [-1.0]], dtype=F64), (2, 2))
    value = ptb.concretize(x, rows)
    assert value.shape == (2, 3)
    torch.testing.assert_close(value, ptb.concretize(x, rows.dense()))
    own = DenseCoefficients(rows.to_dense().expand(2, 3, 2, 2))
    torch.testing.assert_close(value, ptb.concretize(x, own))
    torch.testing.assert_close(ptb.concretize(x[:1], own), value[:, :1].expand(2, 3))
    hull = ptb.hull(x)
    torch.testing.assert_close(value[0], 2 * hull.lower.flatten(1)[:, 0])
    torch.testing.assert_close(value[1], -hull.upper.flatten(1)[:, 3])


@pytest.mark.parametrize("p", [1, 1.5, 2, math.inf])
@pytest.mark.parametrize("box", [False, True])
def test_shared_coefficients_equal_repeated_ones(p: float, box: bool) -> None:
    x, A = rand(3, 5), randn(4, 1, 5)
    ptb = PerturbationLpNorm(torch.tensor([0.2, 0.5, 0.9]), p, **({"x_L": 0.0, "x_U": 1.0} if box else {}))
    shared = ptb.concretize(x, DenseCoefficients(A))
    torch.testing.assert_close(shared, ptb.concretize(x, DenseCoefficients(A.expand(4, 3, 5).contiguous())))
    for b, eps in enumerate((0.2, 0.5, 0.9)):
        alone = PerturbationLpNorm(eps, p, **({"x_L": 0.0, "x_U": 1.0} if box else {}))
        torch.testing.assert_close(shared[:, b : b + 1], alone.concretize(x[b : b + 1], DenseCoefficients(A)))


def test_radius_per_example_and_per_element() -> None:
    x = torch.zeros(2, 3, dtype=F64)
    per_example = PerturbationLpNorm(torch.tensor([1.0, 2.0]), 2)
    torch.testing.assert_close(
        per_example.hull(x).upper, torch.tensor([[1.0], [2.0]], dtype=F64).expand(2, 3)
    )
    per_element = PerturbationLpNorm(torch.tensor([[1.0, 2.0, 3.0]]))
    per_element.validate(x)
    torch.testing.assert_close(per_element.hull(x).upper[1], torch.tensor([1.0, 2.0, 3.0], dtype=F64))


def test_large_exponents_do_not_underflow() -> None:
    x = torch.zeros(1, 3, dtype=torch.float32)
    A = DenseCoefficients(torch.full((1, 1, 3), 1e-6))
    for p, limit in ((1.01, None), (1.01, 0.5), (60.0, None), (60.0, 0.5)):
        ptb = PerturbationLpNorm(1.0, p, x_L=limit and -limit)
        exact = PerturbationLpNorm(1.0, p, x_L=limit and -limit).concretize(
            x.double(), DenseCoefficients(A.A.double())
        )
        torch.testing.assert_close(ptb.concretize(x, A).double(), exact, rtol=1e-4, atol=0)
        assert exact.item() < -0.9e-6 * (limit or 1)


def test_box_without_radius_is_the_set_and_ignores_the_centre() -> None:
    x = torch.full((2, 3), 7.0)
    ptb = PerturbationLpNorm(norm=2, x_L=torch.zeros(3), x_U=torch.ones(2, 3))
    ptb.validate(x)
    assert ptb.is_box
    assert ptb.hull(x).lower.eq(0).all()
    assert ptb.concretize(x, DenseCoefficients(torch.ones(1, 1, 3)))[0].tolist() == [0, 0]


def test_centre_a_rounding_outside_its_box_stays_in_the_set() -> None:
    x = torch.tensor([[1.0]]).nextafter(torch.tensor(2.0))
    for p in NORMS:
        ptb = PerturbationLpNorm(0.0, p, x_L=0.0, x_U=1.0)
        ptb.validate(x)
        hull = ptb.hull(x)
        assert hull.lower.equal(x)
        assert hull.upper.equal(x)
        assert ptb.concretize(x, DenseCoefficients(torch.ones(1, 1, 1))).item() == x.item()


@pytest.mark.parametrize("batch_dim", [0, 1, 2, None])
def test_aligned_moves_the_examples_to_the_front(batch_dim: int | None) -> None:
    user = rand(2, 3, 4)
    x = user.unsqueeze(0) if batch_dim is None else user.movedim(batch_dim, 0)
    lower, upper = user - rand(4, seed=1), user + rand(3, 1, seed=2)
    ptb = PerturbationLpNorm(norm=math.inf, x_L=lower, x_U=upper).aligned(batch_dim, 3)
    ptb.validate(x)
    back = ptb.hull(x).lower.squeeze(0) if batch_dim is None else ptb.hull(x).lower.movedim(0, batch_dim)
    assert back.equal(lower)
    channels = PerturbationLpNorm(eps=torch.tensor([[0.1], [0.2], [0.3]])).aligned(batch_dim, 3)
    channels.validate(x)
    if batch_dim is not None:
        size = user.shape[batch_dim]
        radius = 0.1 * torch.arange(1, size + 1)
        each = PerturbationLpNorm(radius, 2).aligned(batch_dim, 3)
        each.validate(x)
        torch.testing.assert_close(each.hull(x).upper - x, radius.double().reshape(-1, 1, 1).expand_as(x))
        assert each.concretize(x, DenseCoefficients(torch.ones(1, 1, *x.shape[1:], dtype=F64))).shape == (
            1,
            size,
        )


def test_scalar_parameter() -> None:
    x = torch.tensor([0.5], dtype=F64)  # a 0-d weight with the leading one
    for p in NORMS:
        ptb = PerturbationLpNorm(0.1, p, x_L=0.45)
        ptb.validate(x)
        torch.testing.assert_close(ptb.hull(x).lower, torch.tensor([0.45], dtype=F64))
        assert ptb.contains(x, ptb.sample(x, 5)).all()


@pytest.mark.parametrize("p", NORMS)
@pytest.mark.parametrize("box", [False, True])
def test_projection_is_nearest_idempotent_and_inside(p: float, box: bool) -> None:
    x = rand(2, 4)
    limits = {"x_L": 0.0, "x_U": 1.0} if box else {}
    ptb = PerturbationLpNorm(0.5, p, **limits)
    z = x + 2 * randn(6, 2, 4)
    w = ptb.project(x, z)
    assert ptb.contains(x, w).all()
    torch.testing.assert_close(ptb.project(x, w), w, atol=1e-12, rtol=1e-12)
    members = ptb.sample(x, 300, torch.Generator().manual_seed(3))
    assert torch.equal(ptb.project(x, members[:1] * 0 + x), x.unsqueeze(0))
    inner = ((z - w).unsqueeze(1) * (members - w.unsqueeze(1))).sum(-1)  # obtuse at the nearest point
    assert inner.max() <= 1e-7
    assert not ptb.contains(x, x + 1.01 * (ptb.hull(x).upper - x).amax() * torch.ones_like(z)).any()


def test_contains_rejects_what_is_just_outside() -> None:
    x = torch.zeros(1, 2, dtype=F64)
    for p in (1, 2, 3, math.inf):
        z = torch.tensor([[[1.0, 0.0]], [[1.0 + 1e-12, 0.0]]], dtype=F64)
        assert PerturbationLpNorm(1.0, p).contains(x, z)[:, 0].tolist() == [True, False]


BAD = {
    "eps negative": (lambda: PerturbationLpNorm(-0.1), "eps"),
    "eps tensor negative": (lambda: PerturbationLpNorm(torch.tensor([0.1, -1.0])), "eps"),
    "eps nan": (lambda: PerturbationLpNorm(math.nan), "eps"),
    "eps infinite": (lambda: PerturbationLpNorm(math.inf), "eps"),
    "eps text": (lambda: PerturbationLpNorm("0.1"), "eps"),
    "eps boolean": (lambda: PerturbationLpNorm(torch.tensor([True])), "eps"),
    "eps object": (lambda: PerturbationLpNorm(object()), "eps"),
    "norm below one": (lambda: PerturbationLpNorm(0.1, 0.5), "norm"),
    "norm zero": (lambda: PerturbationLpNorm(0.1, 0), "norm"),
    "norm nan": (lambda: PerturbationLpNorm(0.1, math.nan), "norm"),
    "norm text": (lambda: PerturbationLpNorm(0.1, "inf"), "norm"),
    "norm none": (lambda: PerturbationLpNorm(0.1, None), "norm"),
    "nothing": (lambda: PerturbationLpNorm(), "give eps"),
    "half a box": (lambda: PerturbationLpNorm(x_L=0.0), "give eps"),
    "crossed": (lambda: PerturbationLpNorm(x_L=torch.tensor([0.0, 2.0]), x_U=1.0), "x_L must not exceed x_U"),
    "misfit": (lambda: PerturbationLpNorm(x_L=torch.zeros(2), x_U=torch.ones(3)), "x_L has shape"),
    "nan box": (lambda: PerturbationLpNorm(1.0, x_L=math.nan), "x_L"),
    "infinite box": (lambda: PerturbationLpNorm(x_L=0.0, x_U=math.inf), "x_U"),
}


@pytest.mark.parametrize("name", BAD)
def test_refused_when_made(name: str) -> None:
    make, message = BAD[name]
    with pytest.raises(PerturbationError, match=message):
        make()


UNFIT = {
    "eps count": (PerturbationLpNorm(torch.ones(3)), torch.zeros(2, 3), r"eps has shape \[3\], but"),
    "eps element for L2": (PerturbationLpNorm(torch.ones(1, 3), 2), torch.zeros(2, 3), "one an example"),
    "eps shape": (PerturbationLpNorm(torch.ones(1, 4)), torch.zeros(2, 3), "eps has shape"),
    "eps rank": (PerturbationLpNorm(torch.ones(1, 1, 1, 3)), torch.zeros(2, 3), "eps has shape"),
    "x_L shape": (PerturbationLpNorm(1.0, x_L=torch.zeros(4)), torch.zeros(2, 3), "x_L has shape"),
    "x_U shape": (PerturbationLpNorm(1.0, x_U=torch.ones(2, 2, 3)), torch.zeros(2, 3), "x_U has shape"),
    "outside": (PerturbationLpNorm(1.0, x_U=1.0), torch.full((2, 3), 1.1), "outside the box"),
    "below": (PerturbationLpNorm(1.0, x_L=0.0), torch.full((2, 3), -0.1), "x_L = 0"),
    "integer": (PerturbationLpNorm(1.0), torch.zeros(2, 3, dtype=torch.long), "dtype torch.int64"),
    "nan": (PerturbationLpNorm(1.0), torch.full((2, 3), math.nan), "finite"),
    "inf": (PerturbationLpNorm(1.0), torch.full((2, 3), math.inf), "finite"),
}


@pytest.mark.parametrize("name", UNFIT)
def test_refused_for_a_tensor(name: str) -> None:
    ptb, x, message = UNFIT[name]
    with pytest.raises(PerturbationError, match=message):
        ptb.validate(x)


def test_accepts_what_users_write() -> None:
    np = pytest.importorskip("numpy")
    assert PerturbationLpNorm(norm=np.inf, eps=0.1).norm == math.inf
    assert PerturbationLpNorm(norm=np.float32(2), eps=np.float64(0.1)).eps == 0.1
    assert PerturbationLpNorm(x_L=np.zeros(3), x_U=np.ones(3)).is_box
    assert PerturbationLpNorm(x_L=torch.zeros(3, dtype=torch.long), x_U=1).is_box


def test_readable() -> None:
    ptb = PerturbationLpNorm(0.1, 2, x_L=torch.zeros(3), x_U=1)
    assert repr(ptb) == "PerturbationLpNorm(norm=2, eps=0.1, x_L=tensor of shape [3] in [0, 0], x_U=1)"
    assert repr(PerturbationLpNorm(torch.tensor(0.5))) == "PerturbationLpNorm(norm=inf, eps=0.5)"


def test_map_tensors() -> None:
    ptb = PerturbationLpNorm(torch.ones(2), x_L=torch.zeros(2, 3)).map_tensors(torch.Tensor.double)
    assert ptb.eps.dtype == ptb.x_L.dtype == F64


def test_attributes_may_be_assigned_and_are_checked_together() -> None:
    ball = PerturbationLpNorm(eps=0.1, x_L=0.0, x_U=1.0)
    ball.set_eps(0.2)
    assert ball.eps == 0.2
    ball.eps = torch.tensor([0.1, 0.3])
    x = torch.full((2, 1), 0.5)
    torch.testing.assert_close(ball.hull(x).upper.flatten(), torch.tensor([0.6, 0.8]))
    for name, value in (("eps", -1.0), ("norm", 0.5), ("x_L", 2.0), ("eps", float("nan"))):
        before = getattr(ball, name)
        with pytest.raises(PerturbationError):
            setattr(ball, name, value)
        assert getattr(ball, name) is before
