"""The package can be loaded as a plugin."""

from __future__ import annotations

import lirpa_perturbations
from lirpa_core import Perturbation
from lirpa_core.plugins import PerturbationRegistry
from lirpa_perturbations import plugin


def test_states_the_interface_version_it_was_written_for() -> None:
    assert plugin.LIRPA_API_VERSION == 1


def test_registers_every_threat_model_by_name() -> None:
    registry = PerturbationRegistry("perturbations")
    plugin.lirpa_register_perturbations(registry)
    registered = {claim.entry.name: claim.entry.cls for claim in registry.registrations()}
    public = (getattr(lirpa_perturbations, name) for name in lirpa_perturbations.__all__)
    sets = {c for c in public if isinstance(c, type) and issubclass(c, Perturbation)}
    assert set(registered.values()) == sets
    assert registered["l0"] is lirpa_perturbations.PerturbationL0Norm
    assert registered["synonym"] is lirpa_perturbations.PerturbationSynonym
