"""Bounds of Jacobians, of their norms, and of local Lipschitz constants."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm, jacobian
from lirpa_core.api.jacobian.norms import lower_norm, upper_norm
from lirpa_core.errors import InputError, OptionError, TrainingModeError, UnsupportedOperatorError
from lirpa_testing import method_names

METHODS = method_names()
NORMS = (1, 2, math.inf)


def perturbed(x: Tensor, eps: float = 0.1, norm: float = math.inf) -> BoundedTensor:
    return BoundedTensor(x, PerturbationLpNorm(norm=norm, eps=eps))


def points(x: Tensor, eps: float, count: int = 500) -> Tensor:
    g = torch.Generator().manual_seed(0)
    inside = torch.rand(count, *x.shape, generator=g, dtype=x.dtype) * 2 - 1
    inside[: count // 4] = inside[: count // 4].sign()
    return x + eps * inside


def mlp(activation: nn.Module, *, inputs: int = 3, outputs: int = 2) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(inputs, 6), activation, nn.Linear(6, outputs)).double()


class Side(nn.Module):
    """A small network for each of several activations, side by side."""

    def __init__(self, activations: list[nn.Module]) -> None:
        super().__init__()
        self.nets = nn.ModuleList([mlp(activation) for activation in activations])

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([net(x) for net in self.nets], dim=1)


def by_hand(net: nn.Sequential, slope: Tensor) -> Tensor:
    """`W₂ diag(f'(W₁ x + b)) W₁` of points `[N, I]`, from the slopes `[N, H]`."""
    return torch.einsum("oh,nh,hi->noi", net[2].weight, slope, net[0].weight).detach()


#: The derivative of each activation, written out by hand.
SLOPES = {
    nn.Tanh(): lambda z: 1 - z.tanh() ** 2,
    nn.Sigmoid(): lambda z: torch.exp(-z) / (1 + torch.exp(-z)) ** 2,
    nn.Softplus(): lambda z: 1 / (1 + torch.exp(-z)),
    nn.LogSigmoid(): lambda z: 1 / (1 + torch.exp(z)),
    nn.GELU(): lambda z: (1 + torch.erf(z / 2**0.5)) / 2 + z * torch.exp(-(z**2) / 2) / (2 * math.pi) ** 0.5,
    nn.SiLU(): lambda z: (1 + torch.exp(-z) * (1 + z)) / (1 + torch.exp(-z)) ** 2,
    nn.ELU(): lambda z: torch.where(z > 0, 1.0, z.exp()),
    nn.ReLU(): lambda z: (z > 0).double(),
    nn.LeakyReLU(0.1): lambda z: 0.1 + 0.9 * (z > 0).double(),
    nn.Hardtanh(): lambda z: (z.abs() < 1).double(),
    nn.Softsign(): lambda z: (1 + z.abs()) ** -2,
}


def test_jacobians_are_those_of_the_formula() -> None:
    model, eps = Side(list(SLOPES)), 0.2
    x = torch.tensor([[0.2, -0.5, 0.4], [-1.0, 0.3, 0.7]], dtype=torch.float64)
    places = points(x, eps).flatten(0, 1)
    exact = torch.stack(
        [by_hand(net, slope(net[0](places))) for net, slope in zip(model.nets, SLOPES.values(), strict=True)],
        dim=1,
    ).unflatten(0, (-1, 2))  # [points, B, activations, O, I]
    bounded = BoundedModule(model, x)
    for method, most in (("IBP", math.inf), ("CROWN", 1.35)):
        found = jacobian(bounded, perturbed(x, eps), method=method)
        lower, upper = (bound.unflatten(1, (-1, 2)) for bound in found)
        assert bool((exact >= lower - 1e-12).all())
        assert bool((exact <= upper + 1e-12).all())
        seen = (exact.amax(0) - exact.amin(0)).mean((0, 2, 3))
        ratio = (upper - lower).mean((0, 2, 3)) / seen
        tight = torch.tensor([not isinstance(a, (nn.Hardtanh, nn.Softsign)) for a in SLOPES])
        assert float(ratio[tight].detach().max()) <= most
    for norm in NORMS:
        norms = torch.linalg.matrix_norm(exact.flatten(2, 3), norm)
        least, largest = found.norm(norm)
        assert bool((norms >= least - 1e-12).all())
        assert bool((norms <= largest + 1e-12).all())
        assert torch.equal(found.lipschitz(norm), largest)


def test_every_method() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 3), nn.GELU(), nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 2)).double()
    x = torch.rand(2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    exact = torch.func.vmap(torch.func.vmap(torch.func.jacrev(net)))(points(x, 0.1)).detach()
    bounded = BoundedModule(net, x, {"optimize_bound_args": {"iteration": 3}})
    for method in METHODS:
        found = jacobian(bounded, perturbed(x), method=method)
        assert bool((exact >= found.lower - 1e-12).all())
        assert bool((exact <= found.upper + 1e-12).all())


def test_the_derivative_at_one_point() -> None:
    net = mlp(nn.SiLU())
    x = torch.rand(2, 3, dtype=torch.float64)
    exact = torch.func.vmap(torch.func.jacrev(net))(x).detach()
    found = jacobian(net, perturbed(x, 1e-9))
    torch.testing.assert_close(found.lower, exact, rtol=0, atol=1e-7)
    torch.testing.assert_close(found.upper, exact, rtol=0, atol=1e-7)


def test_a_linear_model_has_one_jacobian() -> None:
    net = nn.Linear(3, 2).double()
    found = jacobian(net, perturbed(torch.rand(2, 3).double()))
    exact = net.weight.detach().expand(2, 2, 3)
    torch.testing.assert_close(found.lower, exact)
    torch.testing.assert_close(found.upper, exact)


def test_lipschitz_constants_hold_between_points_at_kinks() -> None:
    model = BoundedModule(lambda z: torch.relu(z) + 2 * z.abs(), torch.zeros(1, 2, dtype=torch.float64))
    x = torch.zeros(1, 2, dtype=torch.float64)
    for shift in (0.0, 0.1, -0.1):  # the box surrounds the kink, or touches it
        found = jacobian(model, perturbed(x + shift))
        # Clarke's generalised Jacobian at the kink is all of [-2, 3].
        assert bool((found.lower.diagonal(0, 1, 2) <= -2).all())
        assert bool((found.upper.diagonal(0, 1, 2) >= 3).all())
        assert bool((found.lipschitz(math.inf) >= 3).all())


def test_ties_of_a_pooling_window() -> None:
    net = nn.Sequential(nn.Unflatten(1, (1, 4, 4)), nn.MaxPool2d(2), nn.Flatten())
    x = torch.zeros(1, 16, dtype=torch.float64)
    x[0, 0] = 1.0  # this window has one largest element, in the others all tie
    found = jacobian(net, perturbed(x))
    window = found.lower[0, 0].reshape(4, 4), found.upper[0, 0].reshape(4, 4)
    assert window[0][0, 0] == pytest.approx(1)
    assert float(window[1].sum()) == pytest.approx(1)
    tied = found.upper[0, 1].reshape(4, 4)
    assert bool((tied[:2, 2:] >= 1).all())
    assert float(tied.sum()) == pytest.approx(4)


@pytest.mark.parametrize(
    "layers",
    [
        lambda: (nn.Conv2d(1, 2, 3, padding=1, stride=2), nn.GroupNorm(1, 2), nn.SiLU(), nn.Flatten(), nn.Linear(8, 2)),
        lambda: (nn.AvgPool2d(3, 2, padding=1, ceil_mode=True, count_include_pad=False), nn.ConvTranspose2d(1, 1, 2), nn.MaxPool2d(2), nn.Flatten()),
        lambda: (nn.Flatten(), nn.Linear(16, 4), nn.LayerNorm(4), nn.Softmax(-1)),
    ],
    ids=["convolution", "pooling", "normalisation"],
)  # fmt: skip
def test_layers(layers: Callable[[], tuple[nn.Module, ...]]) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Unflatten(1, (1, 4, 4)), *layers()).double().eval()
    x, eps = torch.randn(1, 16, dtype=torch.float64), 0.02
    exact = torch.func.vmap(torch.func.vmap(torch.func.jacrev(lambda z: net(z[None])[0])))(points(x, eps, 60))
    found = jacobian(net, perturbed(x, eps))
    assert bool((exact >= found.lower - 1e-10).all())
    assert bool((exact <= found.upper + 1e-10).all())
    width, seen = (found.upper - found.lower).detach().mean(), (exact.amax(0) - exact.amin(0)).detach().mean()
    assert float(width) < 20 * float(seen) + 1e-12


def test_what_is_hidden_from_autograd_is_differentiated() -> None:
    found = jacobian(lambda x: x.detach() * x, perturbed(torch.full((1, 1), 2.0, dtype=torch.float64)))
    assert float(found.lower) == pytest.approx(3.8)
    assert float(found.upper) == pytest.approx(4.2)


JUMPS: list[Callable[[Tensor], Tensor]] = [
    lambda z: z.round() + z,
    lambda z: torch.where(z > 0, z, z - 1),
    lambda z: (z > 0).to(z.dtype) * z,
    lambda z: torch.remainder(z, 0.5),
    lambda z: z.detach().sign() * z,
    lambda z: z.half().to(z.dtype) + z,
    lambda z: nn.functional.softplus(z, threshold=0.05),
]


def test_there_is_no_lipschitz_constant_of_what_may_jump() -> None:
    x = torch.full((1, 2), 0.05, dtype=torch.float64)
    for model in JUMPS:  # each by itself: the derivative of all of them would be captured for each output
        found = jacobian(model, perturbed(x))
        with pytest.raises(UnsupportedOperatorError, match="Lipschitz"):
            found.lipschitz()
    bounded = BoundedModule(lambda z: (JUMPS[0](z), nn.functional.softplus(z), z.relu()), x)
    for output, least in ((1, 0.5), (2, 1.0)):  # what jumps in another output is no matter
        assert float(jacobian(bounded, perturbed(x), output=output).lipschitz()) >= least


def test_several_inputs_and_outputs() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor, *, y: Tensor) -> tuple[Tensor, Tensor]:
            return x.sin() * y, x + y.square()

    x, y = torch.rand(2, 3).double(), torch.rand(2, 3).double()
    model = BoundedModule(Two(), x, kwargs={"y": y})
    for wrt, output, exact in (
        (0, 0, x.cos() * y),
        (1, 0, x.sin()),
        (1, 1, 2 * y),
        (0, 1, torch.ones_like(x)),
    ):
        found = jacobian(model, perturbed(x, 1e-8), kwargs={"y": y}, wrt=wrt, output=output)
        torch.testing.assert_close(found.lower, torch.diag_embed(exact), rtol=0, atol=1e-6)
    with pytest.raises(InputError, match="outputs"):
        jacobian(model, perturbed(x), kwargs={"y": y}, output=2)
    with pytest.raises(InputError, match="wrt"):
        jacobian(model, perturbed(x), kwargs={"y": y}, wrt=2)


def test_bounds_follow_the_model() -> None:
    net = mlp(nn.Tanh())
    x = torch.rand(2, 3).double()
    model = BoundedModule(net, x)
    for change in (
        lambda: None,
        lambda: net[0].weight.data.mul_(3),
        lambda: net.append(nn.SiLU()),
    ):
        change()
        exact = torch.func.vmap(torch.func.vmap(torch.func.jacrev(net)))(points(x, 0.1, 100)).detach()
        found = jacobian(model, perturbed(x))
        assert bool((exact >= found.lower - 1e-12).all())
        assert bool((exact <= found.upper + 1e-12).all())
        lower, _ = model.compute_jacobian_bounds(perturbed(x))
        assert torch.equal(lower, found.lower)


def test_models_that_differentiate_themselves() -> None:
    net = mlp(nn.Softplus(), inputs=2, outputs=1)

    def gradient(x: Tensor) -> Tensor:
        return torch.func.vmap(torch.func.grad(lambda z: net(z).sum()))(x)

    x = torch.rand(1, 2).double()
    exact = torch.func.vmap(torch.func.hessian(lambda z: net(z).sum()))(points(x, 0.1, 100)[:, 0]).detach()
    found = jacobian(gradient, perturbed(x))
    assert bool((exact >= found.lower[0] - 1e-12).all())
    assert bool((exact <= found.upper[0] + 1e-12).all())


def test_training_mode_and_missing_batches_are_refused() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    with pytest.raises(TrainingModeError, match="eval"):
        jacobian(net, perturbed(torch.rand(3, 2)))
    model = BoundedModule(lambda x: x.sin(), torch.rand(2), batch_dims=None)
    with pytest.raises(InputError, match="batch dimension"):
        jacobian(model, perturbed(torch.rand(2)))


class TestNorms:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("shape", [(3, 5), (5, 3), (1, 4), (4, 1)])
    def test_all_matrices_between_are_covered(self, shape: tuple[int, int], dtype: torch.dtype) -> None:
        g = torch.Generator().manual_seed(0)
        for size in (1e-30, 1e-3, 1.0, 1e15):
            middle = torch.randn(8, *shape, generator=g, dtype=torch.float64) * size
            radius = torch.rand(8, *shape, generator=g, dtype=torch.float64) * size * 0.3
            lower, upper = (middle - radius).to(dtype), (middle + radius).to(dtype)
            t = torch.rand(100, *middle.shape, generator=g, dtype=torch.float64).round()
            inside = lower.double() * (1 - t) + upper.double() * t
            for norm in NORMS:
                exact = torch.linalg.matrix_norm(inside, norm)
                most, least = upper_norm(lower, upper, norm), lower_norm(lower, upper, norm)
                assert bool((exact <= most * (1 + 1e-14)).all())
                assert bool((exact >= least * (1 - 1e-14)).all())

    def test_one_matrix_has_its_norm(self) -> None:
        x = torch.randn(4, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        for norm in NORMS:
            exact = torch.linalg.matrix_norm(x, norm)
            found = upper_norm(x, x, norm)
            assert bool((found >= exact * (1 - 1e-15)).all())
            assert bool((found <= exact * (1 + 1e-5)).all())

    def test_zeros_and_gradients(self) -> None:
        zero = torch.zeros(1, 2, 2, dtype=torch.float64, requires_grad=True)
        for norm in NORMS:
            found = upper_norm(zero, zero, norm)
            assert float(found.detach()) < 1e-100
            assert bool(torch.autograd.grad(found.sum(), zero)[0].isfinite().all())
        x = torch.rand(1, 2, 3, dtype=torch.float64, requires_grad=True)
        assert bool(torch.autograd.grad(upper_norm(x, x + 1, 2).sum(), x)[0].isfinite().all())

    def test_others_are_refused(self) -> None:
        x = torch.zeros(1, 2, 2)
        for function in (upper_norm, lower_norm):
            with pytest.raises(OptionError, match="expected 1, 2"):
                function(x, x, 3)
