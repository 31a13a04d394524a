"""What one run says of a model is what `torch.export` says; what it does not say is left to `torch.export`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.capture import recording
from lirpa_core.errors import CaptureError
from lirpa_core.plugins import LiveModel


class Written(nn.Module):
    """A function of the input and of a linear layer."""

    def __init__(self, function: Callable[[Tensor, nn.Linear], Any]) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.layer = nn.Linear(4, 4)
        self.function = function

    def forward(self, x: Tensor) -> Any:
        return self.function(x, self.layer)


_ELSEWHERE = torch.ones(4)

SAID = {
    "layers": lambda x, f: f(f(x).relu()).sigmoid(),
    "a product": lambda x, f: x @ f.weight.T + f.bias,
    "three dimensions": lambda x, f: f(x.reshape(-1, 2, 2, 1).expand(-1, 2, 2, 4)).flatten(1),
    "several results": lambda x, f: torch.cat([part * 2 for part in f(x).split(2, 1)], 1),
    "one tensor twice": lambda x, f: f(x) * f(x) + x * x,
    "broken down": lambda x, f: torch.nn.functional.mish(f(x)) / 3 - f.bias.exp(),
    "unused": lambda x, f: (f(x), x.tanh())[0],
    "the input itself": lambda x, f: x,
    "two outputs": lambda x, f: (f(x), x.relu()),
    "of a shape": lambda x, f: f(x) * x.shape[1] if x.dim() == 2 else x,
}

UNSAID = {
    "a branch": lambda x, f: f(x) if x.sum() > 0 else x,
    "a list": lambda x, f: f(x) * x.tolist()[0][0],
    "an array": lambda x, f: f(x) * float(x.detach().numpy()[0, 0]),
    "a number of a weight": lambda x, f: f(x) * f.bias.sum().item(),
    "a write": lambda x, f: f(x).add_(1),
    "a tensor from elsewhere": lambda x, f: f(x) * _ELSEWHERE,
    "random numbers": lambda x, f: f(x) + torch.rand_like(x),
    "a size that depends on values": lambda x, f: f(x) * x.nonzero().shape[0],
    "no tensor": lambda x, f: (f(x), 3),
}


@pytest.mark.parametrize("name", SAID)
def test_bounds_are_those_of_the_exported_model(name: str) -> None:
    torch.manual_seed(0)
    model, x = Written(SAID[name]).eval(), torch.rand(3, 4)
    assert recording.recorded(model, (x[:1],), {}) is not None
    point = BoundedTensor(x, PerturbationLpNorm(eps=0.1))
    for method in ("IBP", "CROWN"):
        results = [
            BoundedModule(source, x).compute_bounds(x=point, method=method)
            for source in (LiveModel(model, straight=True), model)
        ]
        for run, exported in zip(*([r.lower, r.upper] for r in results), strict=True):
            torch.testing.assert_close(run, exported)


def test_a_recorded_model_reads_its_weights_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.export, "export", None)  # nothing is exported
    model, x = Written(SAID["layers"]).eval(), torch.rand(3, 4)
    bounded = BoundedModule(LiveModel(model, straight=True), x)
    with torch.no_grad():
        model.layer.bias.add_(1)
    lower, upper = bounded.compute_bounds(x=BoundedTensor(x, PerturbationLpNorm(eps=0.0)))
    torch.testing.assert_close(lower, model(x))
    torch.testing.assert_close(upper, model(x))


@pytest.mark.parametrize("name", UNSAID)
def test_what_one_run_does_not_say_is_left_to_an_export(name: str) -> None:
    x = torch.rand(3, 4)
    assert recording.recorded(Written(UNSAID[name]).eval(), (x[:1],), {}) is None


def test_a_branch_on_values_is_refused_as_ever() -> None:
    with pytest.raises(CaptureError):
        BoundedModule(LiveModel(Written(UNSAID["a branch"]).eval(), straight=True), torch.rand(3, 4))
    for name in ("a write", "a number of a weight"):
        model, x = Written(UNSAID[name]).eval(), torch.rand(3, 4)
        lower, _ = BoundedModule(LiveModel(model, straight=True), x).compute_bounds(
            x=BoundedTensor(x, PerturbationLpNorm(eps=0.0))
        )
        torch.testing.assert_close(lower, model(x))


def test_layers_that_behave_otherwise_in_training_are_exported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lirpa_core.capture.capture.recorded", None)
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)).train()
    with pytest.warns(match="in training mode"):
        BoundedModule(LiveModel(model, straight=True), torch.rand(3, 4)).compute_bounds(
            x=BoundedTensor(torch.rand(3, 4), PerturbationLpNorm(eps=0.1))
        )


def test_pytorchs_compiler_is_not_imported() -> None:
    program = """
import sys, torch
from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.plugins import LiveModel
from lirpa_core.rules import pulled_back
model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2)).eval()
x = torch.rand(1, 4)
bounded = BoundedModule(LiveModel(model, straight=True), x)
for method in ("IBP", "CROWN-IBP", "CROWN"):
    bounded.compute_bounds(x=BoundedTensor(x, PerturbationLpNorm(eps=0.1)), method=method)
assert pulled_back(model, x, torch.ones(1, 2)).shape == x.shape
assert not {"torch._dynamo", "sympy"} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", program], check=True)
