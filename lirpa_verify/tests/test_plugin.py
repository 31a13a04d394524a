"""The package can be loaded as a plugin of the core, and registers a reader."""

from __future__ import annotations

from lirpa_verify import plugin

from lirpa_core.plugins import OperatorRegistry, PerturbationRegistry, ReaderRegistry


def test_states_the_interface_version_it_was_written_for() -> None:
    assert plugin.LIRPA_API_VERSION == 1


def test_registers_a_reader_and_no_rules() -> None:
    operators, perturbations, readers = (
        make("verify") for make in (OperatorRegistry, PerturbationRegistry, ReaderRegistry)
    )
    plugin.lirpa_register_operators(operators)
    plugin.lirpa_register_perturbations(perturbations)
    plugin.lirpa_register_readers(readers)
    assert not perturbations.registrations()
    assert [r.key for r in readers.registrations()] == ["onnx", "widened module"]
