"""A chain that is read layer by layer has the graph that `torch.export` gives; what is not such a chain is exported."""

from __future__ import annotations

import dataclasses
import functools
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from lirpa_core import BoundedModule, BoundedParameter, BoundedTensor, PerturbationLpNorm
from lirpa_core.capture.capture import capture
from lirpa_core.capture.chains import chained
from lirpa_core.graph import Graph
from lirpa_core.plugins import default_registry
from lirpa_core.rules import Linear


def _mlp() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))


def _statistics(model: nn.Module) -> nn.Module:
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm1d):
            layer.running_mean.uniform_(-1, 1)
            layer.running_var.uniform_(0.5, 2)
    return model.eval()


CHAINS: dict[str, Callable[[], nn.Module]] = {
    "layers": _mlp,
    "one layer": lambda: nn.Linear(4, 3, bias=False),
    "in another": lambda: nn.Sequential(nn.Sequential(_mlp(), nn.Tanh()), nn.Identity(), nn.Sigmoid()),
    "named": lambda: nn.Sequential(),
    "a batch norm": lambda: _statistics(nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.ReLU())),
    "dropout": lambda: nn.Sequential(nn.Dropout(0.5).eval(), nn.Linear(4, 3)),
    "in place": lambda: nn.Sequential(nn.Linear(4, 3), nn.ReLU(inplace=True), nn.ReLU(), nn.ReLU(inplace=True)),
    "a flat one": lambda: nn.Sequential(nn.Flatten(), nn.Flatten(), nn.Linear(4, 3), nn.GELU(), nn.Softplus()),
}  # fmt: skip
CHAINS["named"] = lambda: nn.Sequential().append(nn.ELU()).append(nn.SiLU()).append(nn.LeakyReLU(0.3))


def _plain(graph: Graph) -> dict[str, Any]:
    """What a graph says, without lines of code: those of PyTorch's own layers say nothing of a model."""
    nodes = [
        dataclasses.asdict(dataclasses.replace(n, target=None, source=dataclasses.replace(n.source, file=None, line=None, code=None)))
        | {"target": n.target}
        for n in graph.nodes
    ]  # fmt: skip
    return {**{f.name: getattr(graph, f.name) for f in dataclasses.fields(graph)}, "nodes": nodes}


@pytest.mark.parametrize("name", CHAINS)
def test_the_graph_is_the_exported_one(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, x, registry = CHAINS[name](), torch.randn(3, 4), default_registry()
    with monkeypatch.context() as patch:
        patch.setattr(torch.export, "export", None)  # nothing is exported
        found = capture(model, (x,), registry=registry)
    monkeypatch.setattr("lirpa_core.capture.capture.chained", lambda *_: None)
    assert _plain(found) == _plain(capture(model, (x,), registry=registry))


class _Subclass(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + 1


def _with(model: nn.Module, change: Callable[[Any], Any]) -> nn.Module:
    change(model)
    return model


def _bounded_weight(model: Any) -> None:
    model[0].weight = BoundedParameter(model[0].weight.data, PerturbationLpNorm(eps=0.1))


OTHERS: dict[str, Callable[[], nn.Module]] = {
    "another module": lambda: nn.LSTM(4, 4),
    "another class": lambda: _Subclass(*_mlp()),
    "a hook": lambda: _with(_mlp(), lambda m: m[1].register_forward_hook(lambda *_: None)),
    "a hook before": lambda: _with(_mlp(), lambda m: m[2].register_forward_pre_hook(lambda *_: None)),
    "a hook on the chain": lambda: _with(_mlp(), lambda m: m.register_forward_hook(lambda *_: None)),
    "a forward of its own": lambda: _with(_mlp(), lambda m: setattr(m[1], "forward", torch.sin)),
    "a parametrization": lambda: _with(_mlp(), lambda m: parametrizations.weight_norm(m[0])),
    "a pruned weight": lambda: _with(_mlp(), lambda m: prune.l1_unstructured(m[0], "weight", 2)),
    "a weight that moves": lambda: _with(_mlp(), _bounded_weight),
    "one weight twice": lambda: _with(_mlp(), lambda m: setattr(m[2], "bias", m[0].bias)),
    "one layer twice": lambda: nn.Sequential(*[nn.ReLU()] * 2),
    "a layer in a layer": lambda: _with(_mlp(), lambda m: m[0].add_module("extra", nn.Linear(1, 1))),
    "on no device": lambda: _mlp().to("meta"),
    "statistics of a batch": lambda: nn.Sequential(nn.BatchNorm1d(4)),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_plain_chain_is_left_to_an_export(name: str) -> None:
    assert chained(OTHERS[name](), (torch.randn(1, 4),), {}, default_registry()) is None


def test_other_inputs_are_left_to_an_export() -> None:
    x, registry = torch.randn(1, 4), default_registry()
    assert chained(_mlp(), (x, x), {}, registry) is None
    assert chained(_mlp(), (), {"input": x}, registry) is None
    assert chained(_mlp(), (BoundedTensor(x, PerturbationLpNorm(eps=0.1)),), {}, registry) is None


def test_an_operator_that_gives_other_numbers_than_its_layer_is_not_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    linear = nn.functional.linear
    monkeypatch.setattr(nn.functional, "linear", lambda *given: linear(*given) + 1)
    assert chained(_mlp(), (torch.randn(1, 4),), {}, default_registry()) is None


def _low_at_first(old: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """As before, until a value exceeds what the example gives."""

    @functools.wraps(old)
    def changed(*given: Any, **settings: Any) -> Tensor:
        result = old(*given, **settings)
        return torch.where(result > 100, -result, result)

    return changed


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (nn.ReLU, "forward"),
        (nn.Sequential, "forward"),
        (nn.functional, "relu"),
        (torch, "relu"),
        (nn.Module, "__call__"),
    ],
)
def test_what_differs_from_its_layer_elsewhere_is_not_taken(
    owner: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, name, _low_at_first(getattr(owner, name)))
    assert chained(_mlp(), (torch.randn(1, 4),), {}, default_registry()) is None


def test_hooks_of_all_modules_are_left_to_an_export() -> None:
    handle = nn.modules.module.register_module_forward_hook(lambda module, args, result: None)
    try:
        assert chained(_mlp(), (torch.randn(1, 4),), {}, default_registry()) is None
    finally:
        handle.remove()


def test_a_layer_that_has_a_rule_stays_whole() -> None:
    registry = default_registry().with_rules({nn.Tanh: Linear(("input",))})
    chain = nn.Sequential(nn.Linear(4, 4), nn.Tanh())
    assert chained(chain, (torch.randn(1, 4),), {}, registry) is None
    assert chained(_mlp(), (torch.randn(1, 4),), {}, registry) is not None


def test_a_function_that_has_a_rule_stays_whole() -> None:
    registry = default_registry().with_rules({nn.functional.softsign: Linear(("input",))})
    assert chained(_mlp(), (torch.randn(1, 4),), {}, registry) is None


def test_weights_are_read_anew() -> None:
    model, x = _mlp(), torch.randn(3, 4)
    bounded = BoundedModule(model, x)
    with torch.no_grad():
        model[2].bias.add_(1)
    lower, upper = bounded.compute_bounds(BoundedTensor(x, PerturbationLpNorm(eps=0.0)))
    torch.testing.assert_close(lower, model(x))
    torch.testing.assert_close(upper, model(x))


def test_pytorchs_compiler_is_not_imported() -> None:
    program = """
import sys, torch
from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
model, x = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2)), torch.rand(1, 4)
bounded = BoundedModule(model, x)
for method in ("IBP", "CROWN-IBP", "CROWN"):
    bounded.compute_bounds(BoundedTensor(x, PerturbationLpNorm(eps=0.1)), method=method)
assert not {"torch._dynamo", "sympy"} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", program], check=True)
