"""Batch norm and dropout in training mode: one function a batch, which bounds and attacks share."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.errors import InputError, TrainingModeError, TrainingModeWarning
from lirpa_testing import method_names


class Twice(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(torch.relu(self.layer(x)))


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.4), nn.Unflatten(1, (2, 4)),
        nn.BatchNorm1d(2, affine=False), nn.Flatten(), nn.Linear(8, 3),
    ).double()  # fmt: skip


@pytest.fixture(scope="module")
def bounded() -> BoundedModule:
    return BoundedModule(network().train(), torch.rand(5, 6).double())


def test_capture_leaves_no_trace() -> None:
    model = network().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    BoundedModule(model, torch.rand(5, 6).double())
    assert model.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(m.training and "forward" not in m.__dict__ for m in model.modules())


def test_a_clean_pass_is_an_ordinary_pass_in_training_mode(bounded: BoundedModule) -> None:
    model, x = network().train(), torch.rand(5, 6).double()
    torch.manual_seed(1)
    expected = model(x)
    bounded.load_state_dict(network().state_dict())
    torch.manual_seed(1)
    output, _ = bounded.clean_pass(x)
    torch.testing.assert_close(output, expected)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(bounded.state_dict()[name], value)


@pytest.mark.filterwarnings("ignore::lirpa_core.errors.TrainingModeWarning")
def test_bounds_update_no_statistics(bounded: BoundedModule) -> None:
    x = torch.rand(5, 6).double()
    before = {name: value.clone() for name, value in bounded.named_buffers()}
    bounded.compute_bounds(x=(BoundedTensor(x, PerturbationLpNorm(eps=0.1)),), method="IBP")
    assert all(torch.equal(value, before[name]) for name, value in bounded.named_buffers())


@pytest.mark.parametrize("method", method_names())
def test_bounds_hold_for_the_function_that_the_state_fixes(bounded: BoundedModule, method: str) -> None:
    x, ball = torch.rand(5, 6).double(), PerturbationLpNorm(eps=0.1)
    output, state = bounded.clean_pass(x)
    with bounded.holding(state), torch.no_grad():
        torch.testing.assert_close(bounded(x), output)
        values = torch.stack([bounded(z) for z in ball.sample(x, 60)])
    lower, upper = bounded.compute_bounds(x=(BoundedTensor(x, ball),), method=method, batch_state=state)
    assert (values >= lower - 1e-12).all() and (values <= upper + 1e-12).all()
    point = BoundedTensor(x, PerturbationLpNorm(eps=0.0))
    lower, upper = bounded.compute_bounds(x=(point,), method=method, batch_state=state)
    torch.testing.assert_close(lower, output)
    torch.testing.assert_close(upper, output)


def test_gradients_flow_through_the_statistics_unless_detached(bounded: BoundedModule) -> None:
    x = torch.rand(5, 6).double()
    _, state = bounded.clean_pass(x)
    point = BoundedTensor(x, PerturbationLpNorm(eps=0.0))
    weight = next(bounded.parameters())

    def gradient(of: Tensor) -> Tensor:
        return torch.autograd.grad((of**2).sum(), weight, retain_graph=True)[0]

    with bounded.holding(state):
        exact = gradient(bounded(x))
    through, _ = bounded.compute_bounds(x=(point,), method="CROWN-IBP", batch_state=state)
    constant, _ = bounded.compute_bounds(x=(point,), method="CROWN-IBP", batch_state=state.detach())
    torch.testing.assert_close(gradient(through), exact)
    assert not torch.allclose(gradient(constant), exact)


def test_a_batch_of_one_and_evaluation_mode() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5)).double()
    bounded = BoundedModule(model, torch.rand(4, 3).double())
    x = torch.rand(1, 3).double()
    output, state = bounded.clean_pass(x)
    lower, _ = bounded.compute_bounds(x=(BoundedTensor(x, PerturbationLpNorm(eps=0.0)),), batch_state=state)
    torch.testing.assert_close(lower, output)
    bounded.eval()
    output, state = bounded.clean_pass(x)
    assert not state.masks and not state.statistics
    torch.testing.assert_close(output, model(x))


@pytest.mark.parametrize("layer", [nn.BatchNorm1d(3), nn.Dropout(0.5)])
def test_a_module_that_is_called_twice_is_refused(layer: nn.Module) -> None:
    x = torch.rand(4, 3)
    with pytest.raises(TrainingModeError, match="called more than once"):
        BoundedModule(Twice(layer), x).clean_pass(x)


def test_masks_follow_a_batch_that_does_not_come_first() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.ReLU(), nn.Linear(4, 2)).double()
    x = torch.rand(2, 5, 3).double()  # [T, B, D]
    bounded = BoundedModule(model, x, batch_dims=(1,))
    output, state = bounded.clean_pass(x)
    lower, _ = bounded.compute_bounds(x=(BoundedTensor(x, PerturbationLpNorm(eps=0.0)),), batch_state=state)
    torch.testing.assert_close(lower, output)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_is_refused(dtype: torch.dtype) -> None:
    x = torch.rand(2, 3)
    bounded = BoundedModule(nn.Linear(3, 2), x)
    point = BoundedTensor(x, PerturbationLpNorm(eps=0.1))
    with torch.autocast("cpu", dtype=dtype), pytest.raises(InputError, match=f"autocast.*{dtype}"):
        bounded.compute_bounds(x=(point,))


def test_a_forgotten_eval_is_said_once_with_the_layers() -> None:
    x, ball = torch.rand(5, 6).double(), PerturbationLpNorm(eps=0.1)
    model = BoundedModule(network().train(), x)
    with pytest.warns(TrainingModeWarning, match=r"'1' \(BatchNorm1d\), '3' \(Dropout\).*eval") as found:
        model.compute_bounds(x=(BoundedTensor(x, ball),), method="IBP")
    assert found[0].filename == __file__
    model.compute_bounds(x=(BoundedTensor(x, ball),), method="IBP")  # a second warning would be an error


def test_nothing_is_said_where_training_mode_is_meant() -> None:
    x, ball = torch.rand(5, 6).double(), PerturbationLpNorm(eps=0.1)
    model = BoundedModule(network().train(), x)
    _, state = model.clean_pass(x)
    model.compute_bounds(x=(BoundedTensor(x, ball),), method="IBP", batch_state=state)
    model.eval()
    model.compute_bounds(x=(BoundedTensor(x, ball),), method="IBP")
