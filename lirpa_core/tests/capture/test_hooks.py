"""Hooks of all modules, which are registered without the model being touched."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules import module as modules

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.capture.hooks import HOOKS_OF_ALL, hooks_of_all_on, refuse_another_call
from lirpa_core.errors import CaptureError

X = torch.tensor([[0.25, -0.5]])


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2)).eval()


@pytest.fixture(autouse=True)
def _no_hook_stays() -> Iterator[None]:
    yield
    for table in HOOKS_OF_ALL:
        table.clear()


def bounds_hold(bounded: BoundedModule, model: nn.Module) -> bool:
    """Whether bounds around `X` hold the model's own value there, and are near it."""
    ball = BoundedTensor(X, PerturbationLpNorm(eps=1e-3))
    lower, upper = bounded.compute_bounds(x=(ball,), method="IBP")
    own = model(X)
    return bool(((lower <= own) & (own <= upper) & (upper - lower < 0.5)).all())


def shifted(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
    return output + 3 if isinstance(module, nn.Tanh) else None


def shifted_before(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
    return (args[0] + 3,) if isinstance(module, nn.Tanh) else None


def doubled(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return 2 * output


@pytest.mark.parametrize(
    ("register", "hook"),
    [
        (modules.register_module_forward_hook, shifted),
        (modules.register_module_forward_pre_hook, shifted_before),
        (modules.register_module_forward_hook, doubled),
    ],
    ids=["after", "before", "on every module"],
)
def test_one_that_is_added_and_removed_later_is_followed(model, register, hook):
    bounded, before = BoundedModule(model, X), model(X)
    handle = register(hook)
    assert not torch.allclose(model(X), before)
    assert bounds_hold(bounded, model)
    handle.remove()
    assert torch.equal(model(X), before) and bounds_hold(bounded, model)


def test_what_it_reads_is_followed(model):
    state = {"shift": 0.0}

    def hook(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return output + state["shift"] if isinstance(module, nn.Tanh) else output

    modules.register_module_forward_hook(hook)
    bounded = BoundedModule(model, X)
    assert bounds_hold(bounded, model)
    state["shift"] = 3.0
    assert bounds_hold(bounded, model)


def test_modules_of_others_are_left_out_while_it_is_open(model):
    seen: list[str] = []
    handle = modules.register_module_forward_hook(
        lambda module, args, output: seen.append(type(module).__name__)
    )
    before = [dict(table) for table in HOOKS_OF_ALL]
    with hooks_of_all_on(model):
        nn.Sequential(model, nn.ReLU())(X)
    assert seen == ["Linear", "Tanh", "Linear", "Sequential"]
    assert [dict(table) for table in HOOKS_OF_ALL] == before
    with hooks_of_all_on(model):
        handle.remove()
    assert not any(HOOKS_OF_ALL)


def test_another_call_of_all_modules_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_another_call()
    call = nn.Module._call_impl
    monkeypatch.setattr(nn.Module, "_call_impl", lambda self, *given: call(self, *given))
    with pytest.raises(CaptureError, match=r"replaced torch.nn.Module._call_impl .*test_hooks.py"):
        refuse_another_call()
