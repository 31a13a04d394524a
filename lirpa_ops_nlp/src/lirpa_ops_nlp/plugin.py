"""What this package registers with lirpa."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lirpa_core.plugins import OperatorRegistry, PatternRegistry, PerturbationRegistry, hookimpl
from lirpa_ops_nlp import attention, embedding, losses, normalization, recurrent, weighted_sum, written_out
from lirpa_ops_nlp.gates import rules as gates
from lirpa_ops_nlp.softmax import rules as softmax

if TYPE_CHECKING:
    from lirpa_testing import ConformanceCases

#: The version of the plugin interface that this module was written for.
LIRPA_API_VERSION = 1


@hookimpl
def lirpa_register_operators(registry: OperatorRegistry) -> None:
    """Register the operators that this package bounds."""
    for module in (softmax, gates, recurrent, weighted_sum, attention, normalization, embedding, losses):
        module.register(registry)


@hookimpl
def lirpa_register_perturbations(registry: PerturbationRegistry) -> None:
    """Register the threat models that this package provides."""


@hookimpl
def lirpa_register_patterns(registry: PatternRegistry) -> None:
    """Register the ways in which people write what this package has operators for."""
    written_out.register(registry)


@hookimpl
def lirpa_conformance_cases(cases: ConformanceCases) -> None:
    """Declare calls to try the rules on."""
    from lirpa_ops_nlp import conformance  # which nobody else needs

    conformance.declare(cases)
