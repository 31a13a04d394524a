"""A broken plugin is reported and leaves nothing behind; the others load."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from lirpa_core import PerturbationLpNorm
from lirpa_core.errors import PerturbationError, PluginError
from lirpa_core.plugins import PluginWarning, build_registry, hookimpl
from lirpa_core.plugins.loading import describe

RELU = torch.ops.aten.relu.default
NEG = torch.ops.aten.neg.default


@pytest.fixture
def healthy(make_plugin: Callable[..., ModuleType], fake_rule: Callable[..., Any]) -> ModuleType:
    return make_plugin("healthy", lambda r: r.register(RELU, fake_rule("healthy")))


def load_with_healthy(healthy: ModuleType, broken: object) -> Any:
    """The failure of the broken plugin, after a check that the healthy one is all there is."""
    with pytest.warns(PluginWarning) as caught:
        registry = build_registry([broken, healthy], entry_points=False)
    assert [info.name for info in registry.plugins] == ["healthy"]
    assert dict(registry.operators).keys() == {RELU}
    assert not registry.decompositions
    assert not registry.kernels
    assert not registry.perturbations
    (failure,) = registry.failures
    assert [str(w.message) for w in caught] == [failure.message]
    return failure


def test_a_hook_that_raises_half_way_registers_nothing(
    healthy: ModuleType, make_plugin: Callable[..., ModuleType], fake_rule: Callable[..., Any]
) -> None:
    def hook(registry: Any) -> None:
        registry.register(NEG, fake_rule())
        raise ZeroDivisionError("no\nluck")

    failure = load_with_healthy(healthy, make_plugin("broken", hook, lambda r: r.register("ball", dict)))
    assert (failure.name, failure.distribution, failure.stage) == ("broken", None, "register")
    assert failure.error.startswith("ZeroDivisionError: no luck (")
    assert __file__ in failure.error
    assert "plugin 'broken' was not loaded, it failed at stage 'register': Zero" in failure.message


def test_a_failing_perturbation_hook_takes_the_operators_along(
    healthy: ModuleType, make_plugin: Callable[..., ModuleType], fake_rule: Callable[..., Any]
) -> None:
    def hook(registry: Any) -> None:
        registry.register("ball", "not a class")

    failure = load_with_healthy(healthy, make_plugin("broken", lambda r: r.register(NEG, fake_rule()), hook))
    assert "perturbation 'ball': expected a class" in failure.error


def test_a_plugin_that_exits_does_not_end_the_process(
    healthy: ModuleType, make_plugin: Callable[..., ModuleType]
) -> None:
    def hook(registry: Any) -> None:
        raise SystemExit

    assert load_with_healthy(healthy, make_plugin("broken", hook)).error.startswith("SystemExit (")


def test_an_interrupt_is_not_swallowed(make_plugin: Callable[..., ModuleType]) -> None:
    def hook(registry: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_registry([make_plugin("broken", hook)], entry_points=False)


@pytest.mark.parametrize(
    ("api", "message"),
    [
        (None, r"it does not state the API version .* add the line `LIRPA_API_VERSION = 1`"),
        ("1", "must be an integer, got '1'"),
        (True, "must be an integer, got True"),
        (2, r"written for API version 2, this lirpa-core offers 1; upgrade lirpa-core \(pip install"),
        (0, r"written for API version 0, which this lirpa-core \(1\) no longer supports; upgrade the plugin"),
    ],
)
def test_api_versions(
    healthy: ModuleType,
    make_plugin: Callable[..., ModuleType],
    fake_rule: Callable[..., Any],
    api: object,
    message: str,
) -> None:
    broken = make_plugin("broken", lambda r: r.register(NEG, fake_rule()), api=api)
    failure = load_with_healthy(healthy, broken)
    assert failure.stage == "api version"
    with pytest.raises(PluginError, match=message):
        raise PluginError(failure.error)


def test_a_misspelt_hook_is_an_error(healthy: ModuleType, make_plugin: Callable[..., ModuleType]) -> None:
    broken = make_plugin("broken")
    broken.lirpa_register_operator = make_plugin  # type: ignore[attr-defined]
    failure = load_with_healthy(healthy, broken)
    assert "no hook `lirpa_register_operator`; its hooks are lirpa_register_operators, " in failure.error


def test_a_hook_without_the_marker_is_an_error(healthy: ModuleType) -> None:
    broken = SimpleNamespace(LIRPA_API_VERSION=1, lirpa_register_operators=print)
    failure = load_with_healthy(healthy, broken)
    assert failure.name == "SimpleNamespace"
    assert "`lirpa_register_operators` is not marked; decorate it with `@lirpa_core" in failure.error


def test_a_hook_with_a_wrong_argument_is_an_error(
    healthy: ModuleType, make_plugin: Callable[..., ModuleType]
) -> None:
    @hookimpl
    def lirpa_register_operators(wrong: Any) -> None: ...

    broken = make_plugin("broken")
    broken.lirpa_register_operators = lirpa_register_operators  # type: ignore[attr-defined]
    assert "PluginValidationError" in load_with_healthy(healthy, broken).error


def test_a_plugin_without_hooks_is_fine(make_plugin: Callable[..., ModuleType]) -> None:
    registry = build_registry([make_plugin("empty")], entry_points=False)
    assert [info.name for info in registry.plugins] == ["empty"]
    assert registry.failures == ()


def test_an_object_can_be_a_plugin(fake_rule: Callable[..., Any]) -> None:
    class Plugin:
        LIRPA_API_VERSION = 1
        __version__ = "3.4"

        @hookimpl
        def lirpa_register_operators(self, registry: Any) -> None:
            registry.register(RELU, fake_rule())

    registry = build_registry([Plugin()], entry_points=False)
    (info,) = registry.plugins
    assert (info.version, info.distribution, info.api_version) == ("3.4", None, 1)
    assert info.name.endswith("Plugin")
    assert info.source.endswith(info.name)
    assert registry.operators[RELU].plugin == info.name


def test_a_registry_kept_by_a_plugin_is_closed(make_plugin: Callable[..., ModuleType]) -> None:
    kept: list[Any] = []
    build_registry([make_plugin("alpha", kept.append, kept.append)], entry_points=False)
    operators, perturbations = kept
    with pytest.raises(PluginError, match="registered after the hook had returned"):
        operators.decompose(RELU, torch.relu)
    with pytest.raises(PluginError, match="registered after the hook had returned"):
        perturbations.register("ball", dict)


def test_what_lirpa_refuses_names_the_line_of_the_plugin() -> None:
    try:
        PerturbationLpNorm(eps=-1.0)  # lirpa's own lines say nothing of a plugin
    except PerturbationError as error:
        said = describe(error)
    assert "test_loading.py:" in said and "arguments.py" not in said and "lp.py" not in said
