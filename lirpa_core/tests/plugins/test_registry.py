"""The frozen registry: look-ups, derived registries, copies, pickles, Dynamo."""

from __future__ import annotations

import copy
import pickle
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from lirpa_core.errors import PluginConflictError, PluginError
from lirpa_core.linear.coefficients.base import Coefficients
from lirpa_core.linear.coefficients.dense import DenseCoefficients
from lirpa_core.linear.operators import Diagonal
from lirpa_core.plugins import Registry, build_registry, hookimpl

RELU = torch.ops.aten.relu.default
NEG = torch.ops.aten.neg.default
SIN = torch.ops.aten.sin.default


def general_kernel(op: Any, coefficients: Any) -> Any:
    return coefficients


def dense_kernel(op: Any, coefficients: Any) -> Any:
    return coefficients + 1


class Portable:
    """A plugin that can be pickled."""

    LIRPA_API_VERSION = 1

    def __init__(self, rule: Any) -> None:
        self.rule = rule

    @hookimpl
    def lirpa_register_operators(self, registry: Any) -> None:
        registry.register(NEG, self.rule)


@pytest.fixture
def alpha(make_plugin: Callable[..., ModuleType], fake_rule: Callable[..., Any]) -> ModuleType:
    def operators(registry: Any) -> None:
        registry.register(SIN, fake_rule("sin"))
        registry.register(RELU, fake_rule("relu"))
        registry.decompose(NEG, torch.neg)
        registry.kernel(RELU, Coefficients, general_kernel)
        registry.kernel(RELU, DenseCoefficients, dense_kernel, form="special")

    return make_plugin("alpha", operators, lambda r: r.register("ball", dict))


@pytest.fixture
def registry(alpha: ModuleType) -> Registry:
    return build_registry([alpha], entry_points=False)


def test_look_ups(registry: Registry, fake_rule: Callable[..., Any]) -> None:
    assert registry.rule_for(RELU) == fake_rule("relu")
    assert registry.rule_for(NEG) is None
    assert registry.decomposition_table() == {NEG: torch.neg}
    assert registry.perturbations["ball"].cls is dict
    assert registry.decompositions[NEG].plugin == "alpha"
    assert registry.kernels[RELU, DenseCoefficients].plugin == "alpha"
    assert repr(registry) == (
        "<Registry of 2 rules, 1 decompositions, 2 kernels, 1 perturbations from: alpha>"
    )


def test_operators_are_sorted_by_name(registry: Registry) -> None:
    assert list(registry.operators) == [RELU, SIN]


def test_kernels_are_found_along_the_bases_of_the_structure(registry: Registry) -> None:
    class Special(DenseCoefficients):
        pass

    class Other(Coefficients):
        pass

    assert registry.find_kernel(RELU, DenseCoefficients) is dense_kernel
    assert registry.find_kernel(RELU, Special) is dense_kernel
    assert registry.find_kernel(RELU, Other) is general_kernel
    assert registry.find_kernel(NEG, DenseCoefficients) is None
    assert registry.find_kernel(Diagonal, DenseCoefficients) is None


@pytest.mark.parametrize("table", ["operators", "decompositions", "kernels", "perturbations"])
def test_tables_cannot_be_changed(registry: Registry, table: str) -> None:
    view = getattr(registry, table)
    with pytest.raises(TypeError):
        view[next(iter(view))] = None


def test_the_table_of_decompositions_is_a_copy(registry: Registry) -> None:
    registry.decomposition_table().clear()
    assert registry.decomposition_table() == {NEG: torch.neg}


def test_with_rules_replaces_and_leaves_the_original(
    registry: Registry, fake_rule: Callable[..., Any]
) -> None:
    mine = registry.with_rules({RELU: fake_rule("mine"), "aten.neg": fake_rule("neg")})
    assert mine.rule_for(RELU) == fake_rule("mine")
    assert mine.rule_for(NEG) == fake_rule("neg")
    assert mine.rule_for(SIN) == fake_rule("sin")
    assert mine.decomposition_table() == {}
    assert registry.rule_for(RELU) == fake_rule("relu")
    assert registry.rule_for(NEG) is None


def test_with_rules_wins_over_an_override_and_over_earlier_ones(
    make_plugin: Callable[..., ModuleType], fake_rule: Callable[..., Any]
) -> None:
    bold = make_plugin("bold", lambda r: r.register(RELU, fake_rule("bold"), override=True))
    first = build_registry([bold], entry_points=False).with_rules({RELU: fake_rule("first")})
    second = first.with_rules(**{"aten.relu.default": fake_rule("second")})
    assert first.rule_for(RELU) == fake_rule("first")
    assert second.rule_for(RELU) == fake_rule("second")
    assert second.without("with_rules-2").rule_for(RELU) == fake_rule("first")
    assert second.without("bold").rule_for(RELU) == fake_rule("second")


def test_with_rules_checks_what_it_gets(registry: Registry) -> None:
    with pytest.raises(PluginError, match=r"operator aten\.relu\.default: expected a rule"):
        registry.with_rules({RELU: "no rule"})  # type: ignore[dict-item]
    with pytest.raises(PluginError, match="registered twice"):
        registry.with_rules({RELU: registry.rule_for(RELU), "aten.relu": registry.rule_for(RELU)})


def test_extended_adds_a_plugin(
    registry: Registry, make_plugin: Callable[..., ModuleType], fake_rule: Callable[..., Any]
) -> None:
    beta = make_plugin("beta", lambda r: r.register(NEG, fake_rule("neg")))
    more = registry.extended(beta)
    assert more.operators[NEG].plugin == "beta"
    assert registry.extended(beta, name="other").operators[NEG].plugin == "other"
    assert [info.name for info in more.plugins] == ["alpha", "beta"]
    assert registry.rule_for(NEG) is None


def test_extended_raises_where_installation_would_record(
    registry: Registry,
    make_plugin: Callable[..., ModuleType],
    alpha: ModuleType,
    fake_rule: Callable[..., Any],
) -> None:
    def broken(registry: Any) -> None:
        raise ZeroDivisionError

    with pytest.raises(PluginError, match="plugin 'broken' was not loaded") as caught:
        registry.extended(make_plugin("broken", broken))
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    with pytest.raises(PluginError, match="add the line `LIRPA_API_VERSION = 1`"):
        registry.extended(make_plugin("beta", api=None))
    with pytest.raises(PluginConflictError, match="two plugins are called 'alpha'"):
        registry.extended(alpha)
    with pytest.raises(PluginConflictError, match="'alpha' and 'beta' both register"):
        registry.extended(make_plugin("beta", lambda r: r.register(RELU, fake_rule())))


def test_without_removes_a_plugin(registry: Registry) -> None:
    empty = registry.without("alpha")
    assert not empty.operators
    assert not empty.kernels
    assert empty.plugins == ()
    assert repr(empty).endswith("from: no plugin>")
    with pytest.raises(PluginError, match="no plugin 'beta' is loaded; loaded are: alpha"):
        registry.without("beta")
    with pytest.raises(PluginError, match="loaded are: none"):
        empty.without("alpha")


def test_without_form_removes_the_kernels_of_that_form(registry: Registry) -> None:
    plain = registry.without_form("special")
    assert plain.find_kernel(RELU, DenseCoefficients) is general_kernel
    assert registry.find_kernel(RELU, DenseCoefficients) is dense_kernel
    assert registry.without_form("another").kernels.keys() == registry.kernels.keys()


def test_copies_are_the_same_object(registry: Registry) -> None:
    model = nn.Module()
    model.registry = registry  # type: ignore[assignment]
    assert copy.copy(registry) is registry
    assert copy.deepcopy(model).registry is registry


def test_pickling_loads_the_plugins_again(
    alpha: ModuleType, fake_rule: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "alpha", alpha)
    made = build_registry([alpha], entry_points=False).with_rules({RELU: fake_rule("mine")})
    made = made.extended(Portable(fake_rule("neg")), name="portable").without("alpha")
    again = pickle.loads(pickle.dumps(made))
    assert again is not made
    assert {op: entry.rule for op, entry in again.operators.items()} == {
        RELU: fake_rule("mine"),
        NEG: fake_rule("neg"),
    }
    assert again.plugins == made.plugins
    assert pickle.loads(pickle.dumps(again)).plugins == made.plugins


def test_pickling_keeps_what_was_disabled(alpha: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "alpha", alpha)
    made = build_registry([alpha], entry_points=False, disabled=["alpha"])
    assert pickle.loads(pickle.dumps(made)).disabled == made.disabled


def test_dynamo_traces_look_ups(registry: Registry) -> None:
    def function(x: torch.Tensor) -> torch.Tensor:
        if registry.rule_for(RELU) is None or registry.rule_for(NEG) is not None:
            return x
        kernel = registry.find_kernel(RELU, DenseCoefficients)
        return x if kernel is None else kernel(RELU, x)

    compiled = torch.compile(function, fullgraph=True, backend="eager")
    assert torch.equal(compiled(torch.ones(2)), torch.full((2,), 2.0))
