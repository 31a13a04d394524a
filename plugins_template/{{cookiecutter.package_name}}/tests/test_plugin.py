"""lirpa finds the package and what it registers."""

from __future__ import annotations

from lirpa_core.plugins import build_registry, resolve_operator

from {{ cookiecutter.module_name }} import (
    PerturbationBrightness,
    Squash,
    bump,
    differences,
    length,
    pairwise,
    plugin,
)


def test_states_the_interface_version_it_was_written_for() -> None:
    assert plugin.LIRPA_API_VERSION == 1


def test_registers_everything() -> None:
    registry = build_registry([plugin])
    assert not registry.failures
    assert {differences, pairwise, bump, Squash} <= set(registry.leaf_modules)
    assert resolve_operator(length) in registry.operators
    assert registry.perturbations["{{ cookiecutter.plugin_name }}_brightness"].cls is PerturbationBrightness
