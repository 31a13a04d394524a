"""What this package registers with lirpa: nothing but itself."""

from __future__ import annotations

from lirpa_core.plugins import OperatorRegistry, PerturbationRegistry, hookimpl

#: The version of the plugin interface that this module was written for.
LIRPA_API_VERSION = 1


@hookimpl
def lirpa_register_operators(registry: OperatorRegistry) -> None:
    """Register nothing yet: losses are made of operators that the core knows."""


@hookimpl
def lirpa_register_perturbations(registry: PerturbationRegistry) -> None:
    """Register nothing: training uses the threat models there are."""
