"""Plugins made up on the spot: in memory, and installed with real metadata in a folder of their own."""

from __future__ import annotations

import importlib.metadata
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from lirpa_core.plugins import default_registry, hookimpl
from lirpa_core.rules import Rule


@dataclass(frozen=True)
class FakeRule(Rule):
    """A rule that computes nothing."""

    label: str = ""
    family: str = "unary"
    modes: tuple[str, ...] = ("interval", "backward", "forward")

    def interval(self, call: Any, inputs: Any) -> Any: ...

    def relax(self, call: Any, inputs: Any) -> Any: ...


def plugin_module(
    name: str,
    operators: Callable[[Any], None] | None = None,
    perturbations: Callable[[Any], None] | None = None,
    api: object = 1,
) -> ModuleType:
    """A module with the given hooks; `api=None` states no API version."""
    module = ModuleType(name)
    if api is not None:
        module.LIRPA_API_VERSION = api  # type: ignore[attr-defined]
    if operators is not None:

        @hookimpl
        def lirpa_register_operators(registry: Any) -> None:
            operators(registry)

        module.lirpa_register_operators = lirpa_register_operators  # type: ignore[attr-defined]
    if perturbations is not None:

        @hookimpl
        def lirpa_register_perturbations(registry: Any) -> None:
            perturbations(registry)

        module.lirpa_register_perturbations = lirpa_register_perturbations  # type: ignore[attr-defined]
    return module


@pytest.fixture
def fake_rule() -> type[FakeRule]:
    return FakeRule


@pytest.fixture
def make_plugin() -> Callable[..., ModuleType]:
    return plugin_module


@dataclass(frozen=True)
class Site:
    """A folder in which distributions with entry points are "installed"."""

    folder: Path

    def install(self, distribution: str, source: str, *, name: str, version: str = "1.0") -> str:
        """Write a module with its metadata; returns the module's name."""
        module = distribution.replace("-", "_")
        (self.folder / f"{module}.py").write_text(textwrap.dedent(source))
        self.declare(distribution, f"{name} = {module}", version=version)
        return module

    def declare(self, distribution: str, entry_point: str, version: str = "1.0") -> None:
        """Write metadata alone."""
        info = self.folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[lirpa]\n{entry_point}\n")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """What is installed here is all that is installed; the core's plugin is a fake with one rule."""
    folder = tmp_path / "site"
    folder.mkdir()

    def entry_points(**params: Any) -> importlib.metadata.EntryPoints:
        found = importlib.metadata.distributions(path=[str(folder)])
        points = (point for distribution in found for point in distribution.entry_points)
        return importlib.metadata.EntryPoints(points).select(**params)

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    monkeypatch.syspath_prepend(folder)
    core = plugin_module(
        "lirpa_core.plugin", lambda registry: registry.register("aten.relu", FakeRule("core"))
    )
    monkeypatch.setitem(sys.modules, "lirpa_core.plugin", core)
    monkeypatch.delenv("LIRPA_DISABLE_PLUGINS", raising=False)
    before = set(sys.modules)
    default_registry.cache_clear()
    yield Site(folder)
    default_registry.cache_clear()
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(folder)):
            del sys.modules[name]
