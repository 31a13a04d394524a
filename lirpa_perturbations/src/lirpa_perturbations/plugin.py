"""What this package registers with lirpa: its threat models by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lirpa_core.plugins import OperatorRegistry, PerturbationRegistry, hookimpl
from lirpa_perturbations.affine import PerturbationAffine
from lirpa_perturbations.categorical import PerturbationCategorical
from lirpa_perturbations.ellipsoid import PerturbationEllipsoid
from lirpa_perturbations.l0 import PerturbationL0Norm
from lirpa_perturbations.linear_constraints import PerturbationLinearConstraints
from lirpa_perturbations.patch import PerturbationPatch
from lirpa_perturbations.synonym import PerturbationSynonym

if TYPE_CHECKING:
    from lirpa_testing import ConformanceCases

#: The version of the plugin interface that this module was written for.
LIRPA_API_VERSION = 1


@hookimpl
def lirpa_register_operators(registry: OperatorRegistry) -> None:
    """Register nothing: threat models need no operators."""


@hookimpl
def lirpa_register_perturbations(registry: PerturbationRegistry) -> None:
    """Register the threat models that this package provides."""
    registry.register("affine", PerturbationAffine)
    registry.register("categorical", PerturbationCategorical)
    registry.register("ellipsoid", PerturbationEllipsoid)
    registry.register("l0", PerturbationL0Norm)
    registry.register("linear_constraints", PerturbationLinearConstraints)
    registry.register("patch", PerturbationPatch)
    registry.register("synonym", PerturbationSynonym)


@hookimpl
def lirpa_conformance_cases(cases: ConformanceCases) -> None:
    """Declare sets to check."""
    from lirpa_perturbations import conformance  # which nobody else needs

    conformance.declare(cases)
