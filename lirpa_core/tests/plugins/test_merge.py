"""Several plugins, one operator: who wins never depends on the order."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from types import ModuleType
from typing import Any

import pytest
import torch

from lirpa_core.errors import PluginConflictError
from lirpa_core.linear.coefficients.base import Coefficients
from lirpa_core.linear.operators import Diagonal
from lirpa_core.plugins import build_registry

RELU = torch.ops.aten.relu.default


@pytest.fixture
def registering(
    make_plugin: Callable[..., ModuleType], fake_rule: Callable[..., Any]
) -> Callable[..., ModuleType]:
    """Makes a plugin that registrations ReLU."""

    def make(name: str, override: bool = False) -> ModuleType:
        return make_plugin(name, lambda r: r.register("aten.relu", fake_rule(name), override=override))

    return make


def test_two_claims_conflict_in_any_order(registering: Callable[..., ModuleType]) -> None:
    messages = set()
    for plugins in permutations([registering("alpha"), registering("beta")]):
        with pytest.raises(PluginConflictError) as caught:
            build_registry(plugins, entry_points=False)
        messages.add(str(caught.value))
    (message,) = messages
    assert message == (
        "plugins 'alpha' and 'beta' both register a rule for operator aten.relu.default: pass override=True "
        "in the one that is to win, or disable one, for example LIRPA_DISABLE_PLUGINS=beta"
    )


def test_three_claims_name_all_three(registering: Callable[..., ModuleType]) -> None:
    plugins = [registering("gamma"), registering("alpha"), registering("beta")]
    with pytest.raises(PluginConflictError, match="plugins 'alpha', 'beta' and 'gamma' all register"):
        build_registry(plugins, entry_points=False)


def test_the_only_override_wins_in_any_order(registering: Callable[..., ModuleType]) -> None:
    plugins = [registering("alpha"), registering("beta", override=True), registering("gamma")]
    for order in permutations(plugins):
        entry = build_registry(order, entry_points=False).operators[RELU]
        assert (entry.plugin, entry.rule.label) == ("beta", "beta")


def test_two_overrides_conflict_and_bystanders_are_not_named(registering: Callable[..., ModuleType]) -> None:
    plugins = [registering("alpha", override=True), registering("beta"), registering("gamma", override=True)]
    for order in permutations(plugins):
        with pytest.raises(PluginConflictError) as caught:
            build_registry(order, entry_points=False)
        assert "plugins 'alpha' and 'gamma' both pass override=True for a rule" in str(caught.value)
        assert "drop override=True in all but one" in str(caught.value)
        assert "'beta'" not in str(caught.value)


def test_override_without_rival_is_an_ordinary_claim(registering: Callable[..., ModuleType]) -> None:
    registry = build_registry([registering("alpha", override=True)], entry_points=False)
    assert registry.operators[RELU].plugin == "alpha"


def test_disabling_one_resolves_a_conflict(registering: Callable[..., ModuleType]) -> None:
    plugins = [registering("alpha"), registering("beta")]
    registry = build_registry(plugins, entry_points=False, disabled=["alpha"])
    assert registry.operators[RELU].plugin == "beta"


def test_the_remedy_never_disables_the_core(registering: Callable[..., ModuleType]) -> None:
    core = registering("lirpa_core.plugin")
    with pytest.raises(PluginConflictError, match=r"'core' and 'alpha' .*LIRPA_DISABLE_PLUGINS=alpha$"):
        build_registry([registering("alpha"), core], entry_points=False)


def test_further_conflicts_are_listed(
    make_plugin: Callable[..., ModuleType], fake_rule: Callable[..., Any]
) -> None:
    def hook(registry: Any) -> None:
        for name in ("sin", "cos", "tan", "exp", "neg", "abs", "relu", "tanh"):
            registry.register(f"aten.{name}", fake_rule())

    with pytest.raises(PluginConflictError) as caught:
        build_registry([make_plugin("alpha", hook), make_plugin("beta", hook)], entry_points=False)
    assert "aten.abs.default (and 7 more in conflict: aten.cos.default, " in str(caught.value)
    assert "aten.sin.default, …): pass" in str(caught.value)


def test_decompositions_kernels_and_perturbations_conflict_too(
    make_plugin: Callable[..., ModuleType],
) -> None:
    def kernel(op: Any, coefficients: Any) -> None: ...

    hooks: dict[str, Callable[[Any], None]] = {
        "a decomposition of operator aten.relu.default": lambda r: r.decompose("aten.relu", torch.relu),
        "a kernel of Diagonal for Coefficients": lambda r: r.kernel(Diagonal, Coefficients, kernel),
    }
    for what, hook in hooks.items():
        with pytest.raises(PluginConflictError, match=what):
            build_registry([make_plugin("alpha", hook), make_plugin("beta", hook)], entry_points=False)
    plugins = [make_plugin(n, perturbations=lambda r: r.register("ball", dict)) for n in ("alpha", "beta")]
    with pytest.raises(PluginConflictError, match="perturbation ball"):
        build_registry(plugins, entry_points=False)


def test_a_rule_and_a_decomposition_of_one_operator_do_not_conflict(
    make_plugin: Callable[..., ModuleType], registering: Callable[..., ModuleType]
) -> None:
    apart = make_plugin("apart", lambda r: r.decompose("aten.relu", torch.relu))
    both = build_registry([registering("alpha"), apart], entry_points=False)
    assert RELU in both.decompositions
    assert both.decomposition_table() == {}
    assert build_registry([apart], entry_points=False).decomposition_table() == {RELU: torch.relu}


def test_two_plugins_of_one_name_are_refused(make_plugin: Callable[..., ModuleType]) -> None:
    with pytest.raises(PluginConflictError, match="two plugins are called 'alpha': alpha and alpha"):
        build_registry([make_plugin("alpha"), make_plugin("alpha")], entry_points=False)
