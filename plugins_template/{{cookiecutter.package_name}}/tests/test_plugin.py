"""The package can be loaded as a plugin."""

from __future__ import annotations

from {{ cookiecutter.module_name }} import plugin


def test_states_the_interface_version_it_was_written_for() -> None:
    assert plugin.LIRPA_API_VERSION == 1


def test_offers_both_hooks() -> None:
    assert callable(plugin.lirpa_register_operators)
    assert callable(plugin.lirpa_register_perturbations)
