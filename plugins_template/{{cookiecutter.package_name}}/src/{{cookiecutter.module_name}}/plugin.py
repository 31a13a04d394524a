"""What {{ cookiecutter.package_name }} registers with lirpa."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lirpa_core.plugins import OperatorRegistry, PerturbationRegistry, hookimpl

from {{ cookiecutter.module_name }} import functions, rules
from {{ cookiecutter.module_name }}.perturbation import PerturbationBrightness

if TYPE_CHECKING:
    from lirpa_testing import ConformanceCases

#: The version of the plugin interface that this module was written for.
LIRPA_API_VERSION = 1


@hookimpl
def lirpa_register_operators(registry: OperatorRegistry) -> None:
    """Register the operators that this package bounds."""
    registry.function(functions.differences, rules.DIFFERENCES)
    registry.function(functions.pairwise, rules.PAIRWISE)
    registry.function(functions.bump, rules.BUMP)
    registry.module(functions.Squash, rules.squash)
    registry.register(functions.length, rules.LENGTH)


@hookimpl
def lirpa_register_perturbations(registry: PerturbationRegistry) -> None:
    """Register the threat models that this package provides."""
    registry.register("{{ cookiecutter.plugin_name }}_brightness", PerturbationBrightness)


@hookimpl
def lirpa_conformance_cases(cases: ConformanceCases) -> None:
    """Declare calls to try the rules on."""
    from {{ cookiecutter.module_name }} import conformance  # which only tests need

    conformance.declare(cases)
