"""A registry to show, and a way to run the command on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result

from lirpa_core.cli.group import cli
from lirpa_core.plugins import PluginFailure, PluginInfo, Registry, build_registry, hookimpl
from lirpa_core.rules import Rule


@dataclass(frozen=True)
class FakeRule(Rule):
    """A rule that computes nothing."""

    family: str
    modes: tuple[str, ...]

    def interval(self, call: Any, inputs: Any) -> Any: ...

    def relax(self, call: Any, inputs: Any) -> Any: ...


@pytest.fixture
def registry() -> Registry:
    """Two plugins that load, one that failed, one that is disabled."""
    alpha, beta = ModuleType("alpha"), ModuleType("beta")

    @hookimpl
    def alpha_operators(registry: Any) -> None:
        registry.register("aten.relu", FakeRule("unary", ("interval", "backward", "forward")))
        registry.register("aten.mm.default", FakeRule("linear", ("interval",)))

    @hookimpl
    def alpha_perturbations(registry: Any) -> None:
        registry.register("ball", dict)

    @hookimpl
    def beta_operators(registry: Any) -> None:
        registry.register("aten.tanh", FakeRule("unary", ("interval",)))
        registry.decompose("aten.silu", torch.nn.functional.silu)
        registry.decompose("aten.relu", torch.relu)

    vars(alpha).update(
        LIRPA_API_VERSION=1,
        __version__="1.2",
        lirpa_register_operators=alpha_operators,
        lirpa_register_perturbations=alpha_perturbations,
    )
    vars(beta).update(LIRPA_API_VERSION=1, lirpa_register_operators=beta_operators)
    loaded = build_registry([alpha, beta], entry_points=False)
    failure = PluginFailure("broken", "dist-broken", "import", "ImportError: no [bold]luck[/]", "0.3")
    disabled = PluginInfo("vision", "0.1", "lirpa-ops-vision", "lirpa_ops_vision.plugin")
    return replace(loaded, failures=(failure,), disabled=(disabled,))


@pytest.fixture
def lirpa(registry: Registry) -> Callable[..., Result]:
    """Runs `lirpa ARGS` on the registry above."""

    def run(*args: str, obj: Registry | None = registry) -> Result:
        return CliRunner().invoke(cli, args, obj=obj, prog_name="lirpa")

    return run
