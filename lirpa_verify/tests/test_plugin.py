"""The package can be loaded as a plugin of the core, and registers no rules."""

from __future__ import annotations

from lirpa_verify import plugin

from lirpa_core.plugins import OperatorRegistry, PerturbationRegistry


def test_states_the_interface_version_it_was_written_for() -> None:
    assert plugin.LIRPA_API_VERSION == 1


def test_registers_nothing() -> None:
    perturbations = PerturbationRegistry("verify")
    plugin.lirpa_register_operators(OperatorRegistry("verify"))
    plugin.lirpa_register_perturbations(perturbations)
    assert not perturbations.registrations()
