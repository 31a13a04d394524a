"""Models whose `forward` differentiates: they are captured as the operators that compute the derivative."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.capture.derivatives import noticed, run
from lirpa_core.errors import (
    CaptureError,
    DataDependentBranchError,
    DataDependentShapeError,
    TrainingModeError,
    UnsupportedOperatorError,
)
from lirpa_core.graph import NodeKind
from lirpa_testing import method_names

EPS = 0.1
METHODS = method_names()


class Model(nn.Module):
    """A network, and what forward does with it."""

    def __init__(self, of: Callable[[Model, Tensor], Tensor], activation: nn.Module | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(2, 5), activation or nn.Tanh(), nn.Linear(5, 1)).double()
        self.register_buffer("scale", torch.tensor(2.0).double())
        self.factor = torch.tensor(3.0).double()
        self.of = of

    def value(self, z: Tensor) -> Tensor:
        return self.net(z).squeeze(-1)

    def forward(self, x: Tensor) -> Tensor:
        return self.of(self, x)


def gradient(model: Model, x: Tensor) -> Tensor:
    return torch.func.vmap(torch.func.grad(model.value))(x)


def by_autograd(model: Model, x: Tensor) -> Tensor:
    return torch.autograd.grad(model.value(x).sum(), x, create_graph=True)[0]


def by_autograd_itself(model: Model, x: Tensor) -> Tensor:
    with torch.enable_grad():
        x = x.detach().clone().requires_grad_()
        return torch.autograd.grad(model.value(x).sum(), x)[0]


def intermediate(model: Model, x: Tensor) -> Tensor:
    hidden = model.net[0](x)
    return torch.autograd.grad(model.net[1:](hidden).sum(), hidden, create_graph=True)[0]


FORMS: dict[str, Callable[[Model, Tensor], Tensor]] = {
    "grad": gradient,
    "grad of a sum": lambda m, x: torch.func.grad(lambda z: m.value(z).sum())(x),
    "vjp": lambda m, x: torch.func.vjp(m.value, x)[1](torch.ones_like(x[:, 0]))[0],
    "jvp": lambda m, x: torch.func.jvp(m.net, (x,), (torch.ones_like(x),))[1],
    "jacrev": lambda m, x: torch.func.vmap(torch.func.jacrev(m.net))(x),
    "jacfwd": lambda m, x: torch.func.vmap(torch.func.jacfwd(m.net))(x),
    "hessian": lambda m, x: torch.func.vmap(torch.func.hessian(m.value))(x),
    "autograd": by_autograd,
    "autograd by itself": by_autograd_itself,
    "autograd.functional": lambda m, x: torch.autograd.functional.jacobian(lambda z: m.net(z).sum(0), x, create_graph=True)[0],
    "intermediate": intermediate,
}  # fmt: skip


def points(x: Tensor, count: int = 400) -> Tensor:
    """Points of the box around each example, its corners among them, `[count, *x.shape]`."""
    g = torch.Generator().manual_seed(1)
    inside = torch.rand(count, *x.shape, generator=g, dtype=x.dtype) * 2 - 1
    inside[: count // 4] = inside[: count // 4].sign()
    return x + EPS * inside


def assert_holds(lower: Tensor, upper: Tensor, model: nn.Module, x: Tensor) -> Tensor:
    """Check bounds at points; the range that was seen is returned."""
    found = run(model, (points(x).flatten(0, 1),), {}).unflatten(0, (-1, len(x)))  # all in one batch
    slack = 1e-12
    assert bool((found >= lower - slack).all())
    assert bool((found <= upper + slack).all())
    return found.amax(0) - found.amin(0)


def perturbed(x: Tensor) -> BoundedTensor:
    return BoundedTensor(x, PerturbationLpNorm(norm=math.inf, eps=EPS))


X = torch.tensor([[0.3, -0.4], [-0.2, 0.9], [0.1, 0.2]], dtype=torch.float64)


@pytest.mark.parametrize("form", FORMS)
def test_every_way_of_differentiating_is_bounded(form: str) -> None:
    model = Model(FORMS[form])
    bounded = BoundedModule(model, X)
    lower, upper = bounded.compute_bounds(perturbed(X), method="CROWN")
    seen = assert_holds(lower, upper, model, X)
    assert float((upper - lower).detach().mean()) < 1.5 * float(seen.mean())
    one = X[:1] + 1  # another batch size, at another place
    lower, upper = bounded.compute_bounds(perturbed(one), method="CROWN")
    assert_holds(lower, upper, model, one)


def test_every_method_bounds_a_derivative() -> None:
    model = Model(gradient, nn.Softplus())
    bounded = BoundedModule(model, X, {"optimize_bound_args": {"iteration": 3}})
    for method in METHODS:
        lower, upper = bounded.compute_bounds(perturbed(X), method=method)
        assert_holds(lower, upper, model, X)


@pytest.mark.parametrize(
    "form",
    {
        "branch": lambda m, x: gradient(m, x) if x.sum() > 0 else -gradient(m, x),
        "branch on the derivative": lambda m, x: -gradient(m, x) if gradient(m, x).sum() > 0 else x,
        "branch inside": lambda m, x: torch.func.grad(
            lambda z: m.value(z).sum() if z.sum() > 0 else -m.value(z).sum()
        )(x),
        "float": lambda m, x: gradient(m, x) * float(x.max()),
        "item": lambda m, x: gradient(m, x) * x.max().item(),
        "tolist": lambda m, x: gradient(m, x) * torch.tensor(x.tolist(), dtype=x.dtype),
        "numpy": lambda m, x: gradient(m, x) * torch.from_numpy(x.detach().numpy()),
        "branch under autograd": lambda m, x: by_autograd(m, x) if x.detach().sum() > 0 else x,
    }.items(),
    ids=lambda item: item[0],
)
def test_values_of_inputs_are_never_burned_in(form: tuple[str, Callable[[Model, Tensor], Tensor]]) -> None:
    with pytest.raises(DataDependentBranchError, match=r"test_derivatives\.py"):
        BoundedModule(Model(form[1]), X)


def test_sizes_that_depend_on_inputs_are_refused() -> None:
    with pytest.raises(DataDependentShapeError, match=r"torch\.where"):
        BoundedModule(Model(lambda m, x: gradient(m, x)[x > 0]), X[:1].abs())


@pytest.mark.parametrize("draw", [torch.rand_like, lambda x: nn.functional.dropout(x, 0.5)])
def test_random_draws_are_refused(draw: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(TrainingModeError):
        BoundedModule(Model(lambda m, x: gradient(m, x) + draw(x)), X)


def test_backward_in_forward_is_refused() -> None:
    def form(model: Model, x: Tensor) -> Tensor:
        z = x.detach().clone().requires_grad_()
        model.value(z).sum().backward()
        assert z.grad is not None
        return z.grad

    with pytest.raises(CaptureError, match="create_graph=True"):
        BoundedModule(Model(form), X)


def test_bounds_follow_parameters_buffers_and_constants() -> None:
    model = Model(lambda m, x: gradient(m, x) * m.scale * m.factor)
    bounded = BoundedModule(model, X)
    assert {n.path for n in bounded.graph.nodes if n.kind is NodeKind.PARAMETER} >= {
        "net.0.weight",
        "net.2.weight",
    }
    for change in (
        lambda: model.net[0].weight.data.mul_(2),
        lambda: setattr(model.net[2], "weight", nn.Parameter(-model.net[2].weight.detach())),
        lambda: model.scale.fill_(-1.0),
        lambda: model.factor.mul_(2),
        lambda: setattr(model, "factor", torch.tensor(0.5).double()),
        lambda: setattr(model, "of", by_autograd),
    ):
        change()
        lower, upper = bounded.compute_bounds(perturbed(X), method="CROWN")
        assert_holds(lower, upper, model, X)


def test_numbers_of_buffers_have_the_model_captured_anew() -> None:
    model = Model(lambda m, x: gradient(m, x) * float(m.scale) if m.scale > 0 else x)
    bounded = BoundedModule(model, X)
    for value in (2.0, 5.0, -1.0):
        model.scale.fill_(value)
        lower, upper = bounded.compute_bounds(perturbed(X), method="CROWN")
        assert_holds(lower, upper, model, X)


def test_bounds_are_differentiable_by_weights() -> None:
    model = Model(gradient)
    lower, _ = BoundedModule(model, X).compute_bounds(perturbed(X), method="CROWN")
    lower.sum().backward()
    weight = model.net[0].weight
    assert weight.grad is not None
    with torch.no_grad():
        step, moved = 1e-6, Model(gradient)
        moved.net[0].weight[0, 0] += step
        other = BoundedModule(moved, X).compute_bounds(perturbed(X), method="CROWN").lower
    assert float(weight.grad[0, 0]) == pytest.approx(float((other - lower.detach()).sum()) / step, rel=1e-3)


def test_shared_parameters_and_changes_in_place() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(1)
            self.a = nn.Linear(2, 2).double()
            self.b = nn.Linear(2, 2).double()
            self.b.weight = self.a.weight
            self.calls, self.last = 0, None

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            self.last = x
            y = torch.func.grad(lambda z: self.b(torch.tanh(self.a(z))).sum())(x)
            y[:, 0] = x[:, 1]
            return y.mul_(2)

    model = Tied()
    bounded = BoundedModule(model, X)
    assert type(model.last) is Tensor
    lower, upper = bounded.compute_bounds(perturbed(X), method="CROWN")
    assert_holds(lower, upper, model, X)


class Normed(nn.Module):
    """The derivative of a network with a layer that training changes, along the ones."""

    def __init__(self, layer: nn.Module, *, forward: bool) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.net = nn.Sequential(nn.Linear(2, 4), layer, nn.Tanh(), nn.Linear(4, 1)).double()
        self.along = forward

    def forward(self, x: Tensor) -> Tensor:
        if self.along:
            return torch.func.jvp(self.net, (x,), (torch.ones_like(x),))[1]
        with torch.enable_grad():
            x = x if x.requires_grad else x.detach().requires_grad_()
            return torch.autograd.grad(self.net(x).sum(), x, create_graph=True)[0]


@pytest.mark.parametrize("forward", [False, True])
@pytest.mark.parametrize("layer", [nn.BatchNorm1d(4), nn.Dropout(0.5)], ids=["norm", "dropout"])
def test_batch_norm_and_dropout_in_evaluation(layer: nn.Module, forward: bool) -> None:
    model = Normed(layer, forward=forward).eval()
    lower, upper = BoundedModule(model, X).compute_bounds(perturbed(X), method="CROWN")
    assert_holds(lower, upper, model, X)


@pytest.mark.parametrize("forward", [False, True])
def test_dropout_in_training_has_the_mask_of_the_clean_pass(forward: bool) -> None:
    model = Normed(nn.Dropout(0.5), forward=forward).train()
    bounded = BoundedModule(model, X)
    torch.manual_seed(0)
    output, state = bounded.clean_pass(X, update=False)
    lower, upper = bounded.compute_bounds(perturbed(X), method="CROWN", batch_state=state)
    assert bool((lower <= output).all() and (output <= upper).all())
    with bounded.holding(state):
        found = torch.stack([run(model, (z,), {}) for z in points(X, 100)])  # the mask is that of the batch
    assert bool((found >= lower - 1e-12).all())
    assert bool((found <= upper + 1e-12).all())


def test_a_derivative_through_statistics_of_the_batch_is_refused() -> None:
    """Held statistics make another function of it: bounds of that one missed the model's own value."""
    with pytest.raises(TrainingModeError, match=r"'net\.1'"):
        BoundedModule(Normed(nn.BatchNorm1d(4), forward=False).train(), X)
    model = Normed(nn.BatchNorm1d(4), forward=False)
    bounded = BoundedModule(model.eval(), X)
    bounded.train()
    with pytest.raises(TrainingModeError, match=r"'net\.1'"):
        bounded.compute_bounds(perturbed(X))


def test_errors_and_nodes_name_the_line() -> None:
    model = Model(lambda m, x: gradient(m, x) * 2)
    nodes = BoundedModule(model, X).graph.nodes
    assert any((node.source.file or "").endswith("test_derivatives.py") for node in nodes)


def test_a_failed_capture_leaves_torch_as_it_was() -> None:
    with pytest.raises(DataDependentBranchError):
        BoundedModule(Model(lambda m, x: FORMS["jvp"](m, x) if FORMS["jvp"](m, x).sum() > 0 else x), X)
    assert torch._C._functorch.peek_interpreter_stack() is None
    assert torch.autograd.forward_ad._current_level == -1

    def entered(m: nn.Module, x: Tensor) -> Tensor:
        torch.autograd.forward_ad.enter_dual_level()
        if x.sum() > 0:
            x = 2 * x
        torch.autograd.forward_ad.exit_dual_level()
        return gradient(m, x)

    with pytest.raises(DataDependentBranchError):
        BoundedModule(Model(entered), X)
    assert torch.autograd.forward_ad._current_level == -1
    model = Model(FORMS["jvp"])
    lower, upper = BoundedModule(model, X).compute_bounds(perturbed(X))
    assert_holds(lower, upper, model, X)


class TestNoticed:
    def test_what_a_model_does(self) -> None:
        def what(form: Any) -> tuple[bool, bool, bool]:
            found = noticed(Model(form), (X,), {})
            return found.differentiates, found.maps, found.recorded

        assert what(lambda m, x: m.net(x)) == (False, False, False)
        assert what(lambda m, x: torch.func.vmap(m.net)(x)) == (False, True, False)
        assert what(gradient) == (True, True, False)
        assert what(by_autograd) == (True, False, True)
        assert what(by_autograd_itself) == (True, False, False)

    def test_the_models_own_error_is_that_of_its_inputs(self) -> None:
        with pytest.raises(RuntimeError, match="mat1"):
            noticed(Model(lambda m, x: m.net(x.repeat(1, 2))), (X,), {})


@pytest.mark.parametrize(
    "derivative",
    [
        lambda f, x: torch.func.vmap(torch.func.hessian(f))(x).flatten(1),
        # The tangent is largest where the example is, so that the replay of the example would not show the difference.
        lambda f, x: torch.func.vmap(
            lambda v: torch.func.jvp(torch.func.grad(f), (v,), (torch.tensor([0.0, 0.0, 1.0]),))[1]
        )(x),
    ],
)
def test_second_derivatives_of_maxima_are_refused(derivative):
    """PyTorch's kernel takes the places of the maxima, and a tangent in the place of what was pooled."""

    def model(x):
        return derivative(lambda v: v.max() * v[0], x)

    with pytest.raises(UnsupportedOperatorError, match="derivative of a derivative of max pooling"):
        BoundedModule(model, torch.tensor([[0.3, -0.5, 0.7]]))
