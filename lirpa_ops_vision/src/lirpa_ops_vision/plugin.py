"""What this package registers with lirpa."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lirpa_core.plugins import OperatorRegistry, PerturbationRegistry, hookimpl
from lirpa_ops_vision import conv, padding, patches, pooling, resize

if TYPE_CHECKING:
    from lirpa_testing import ConformanceCases

#: The version of the plugin interface that this module was written for.
LIRPA_API_VERSION = 1


@hookimpl
def lirpa_register_operators(registry: OperatorRegistry) -> None:
    """Register the operators that this package bounds."""
    for group in (conv, pooling, resize, padding, patches):
        group.register(registry)


@hookimpl
def lirpa_register_perturbations(registry: PerturbationRegistry) -> None:
    """Register the threat models that this package provides."""


@hookimpl
def lirpa_conformance_cases(cases: ConformanceCases) -> None:
    """Declare calls to try the rules on."""
    from lirpa_ops_vision import conformance  # which nobody else needs

    conformance.declare(cases)
