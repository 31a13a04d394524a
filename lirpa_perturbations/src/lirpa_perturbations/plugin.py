"""What this package registers with lirpa: its threat models by name."""

from __future__ import annotations

from lirpa_core.registry import OperatorRegistry, PerturbationRegistry, hookimpl
from lirpa_perturbations.l0 import PerturbationL0Norm

#: The version of the plugin interface that this module was written for.
LIRPA_API_VERSION = 1


@hookimpl
def lirpa_register_operators(registry: OperatorRegistry) -> None:
    """Register nothing: threat models need no operators."""


@hookimpl
def lirpa_register_perturbations(registry: PerturbationRegistry) -> None:
    """Register the threat models that this package provides."""
    registry.register("l0", PerturbationL0Norm)
