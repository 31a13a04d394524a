"""Methods are registered under their names in any case, and conflicts name both plugins."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pytest

from lirpa_core.errors import OptionError, PluginConflictError, PluginError
from lirpa_core.methods import CROWN
from lirpa_core.plugins import MethodRegistry, build_registry, default_registry, hookimpl


@dataclass(frozen=True)
class Mine(CROWN):
    name = "Mine"
    aliases = ("my-way",)
    summary = "CROWN under another name"


def plugin(name: str, method: Any, *, override: bool = False) -> ModuleType:
    module = ModuleType(name)

    @hookimpl
    def lirpa_register_methods(registry: MethodRegistry) -> None:
        registry.register(method, override=override)

    vars(module).update(LIRPA_API_VERSION=1, lirpa_register_methods=lirpa_register_methods)
    return module


def test_every_name_in_any_case_finds_it() -> None:
    method = Mine()
    registry = default_registry().extended(plugin("mine", method))
    for name in ("Mine", "mine", "MY-WAY", " my-way "):
        assert registry.find_method(name) is method
    assert [e.plugin for e in registry.methods if e.method is method] == ["mine"]
    assert len(registry.methods) == len(default_registry().methods) + 1


def test_unknown_names_list_all_with_their_plugin() -> None:
    registry = default_registry().extended(plugin("mine", Mine()))
    for name in ("crwon", None, 3):
        with pytest.raises(OptionError, match=r"'CROWN' = 'backward'.*'Mine' = 'my-way' \(plugin mine\)"):
            registry.find_method(name)


@pytest.mark.parametrize("method", [Mine, object(), "CROWN"])
def test_what_is_no_method_is_refused(method: Any) -> None:
    with pytest.raises(
        PluginError, match=r"expected an instance of a subclass of lirpa_core\.methods\.Method"
    ):
        default_registry().extended(plugin("wrong", method))


def test_a_method_has_a_name() -> None:
    @dataclass(frozen=True)
    class Nameless(CROWN):
        name = ""

    with pytest.raises(PluginError, match="with a name"):
        default_registry().extended(plugin("wrong", Nameless()))


def test_two_methods_of_one_name_conflict_unless_one_overrides() -> None:
    with pytest.raises(PluginConflictError, match=r"one.*two"):
        build_registry([plugin("one", Mine()), plugin("two", Mine())], entry_points=False)
    best = Mine()
    registry = build_registry([plugin("one", Mine()), plugin("two", best, override=True)], entry_points=False)
    assert registry.find_method("mine") is best
