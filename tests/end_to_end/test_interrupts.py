"""Ctrl-C at any report of progress leaves everything as it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm, Progress


class Interrupting:
    """Raises `KeyboardInterrupt` at one report; None: at none."""

    def __init__(self, at: int | None) -> None:
        self.at, self.count = at, 0

    def __call__(self, progress: Progress) -> None:
        self.count += 1
        if self.at is not None and self.count > self.at:
            raise KeyboardInterrupt


def network() -> tuple[nn.Module, BoundedTensor]:
    torch.manual_seed(0)
    layers = nn.Linear(4, 12), nn.ReLU(), nn.Linear(12, 12), nn.Tanh(), nn.Linear(12, 2)
    return nn.Sequential(*layers).eval(), BoundedTensor(torch.rand(3, 4), PerturbationLpNorm(eps=0.2))


def reports(run: Callable[[Interrupting], Any]) -> int:
    counting = Interrupting(None)
    run(counting)
    return counting.count


@pytest.mark.parametrize("method", ["CROWN", "CROWN-Optimized", "auto"])
def test_a_computation_that_was_cut_off_can_be_repeated(method: str) -> None:
    model, x = network()
    options = {"crown_batch_size": 4, "optimize_bound_args": {"iteration": 2}}
    bounded = BoundedModule(model, x, options)
    expected = bounded.compute_bounds(x, method=method)

    def run(report: Interrupting) -> Any:
        bounded.set_bound_opts({"progress": report})
        try:
            return bounded.compute_bounds(x, method=method)
        finally:
            bounded.set_bound_opts({"progress": None})

    count = reports(run)
    assert count > 6
    for at in range(count):
        with pytest.raises(KeyboardInterrupt):
            run(Interrupting(at))
        again = bounded.compute_bounds(x, method=method)
        assert torch.equal(again.lower, expected.lower) and torch.equal(again.upper, expected.upper)


class Exported(nn.Sequential):
    """A chain with a class of its own, which is captured by `torch.export` in more steps."""


@pytest.mark.parametrize(("kind", "least"), [(nn.Sequential, 4), (Exported, 5)])
def test_a_capture_that_was_cut_off_leaves_the_model_as_it_was(kind: type[nn.Sequential], least: int) -> None:
    chain, x = network()
    model = kind(*chain.children()).eval()
    before = [dict(vars(m)) for m in model.modules()]
    plain = model(x.as_subclass(Tensor))
    expected = BoundedModule(model, x).compute_bounds(x)
    count = reports(lambda report: BoundedModule(model, x, {"progress": report}))
    assert count >= least
    for at in range(count):
        with pytest.raises(KeyboardInterrupt):
            BoundedModule(model, x, {"progress": Interrupting(at)})
        assert [dict(vars(m)) for m in model.modules()] == before
        assert torch.equal(model(x.as_subclass(Tensor)), plain)
    assert torch.equal(BoundedModule(model, x).compute_bounds(x).lower, expected.lower)
