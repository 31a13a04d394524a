"""Calls on which `lirpa check` and the conformance tests try the core's rules, file by file as the rules."""

from __future__ import annotations

from lirpa_testing.conformance.declarations import ConformanceCases
from lirpa_testing.core_cases import (
    activation,
    arithmetic,
    conditions,
    conversion,
    cumulative,
    derivatives,
    extremum,
    indexing,
    matmul,
    models,
    order,
    positions,
    reduction,
    scatter,
    sets,
    several,
    shape,
    spectra,
    structures,
)


def declare(cases: ConformanceCases) -> None:
    """Declare the cases of all rules, structures and perturbations of the core, and models for its methods."""
    for group in (
        activation, arithmetic, matmul, shape, reduction, indexing, scatter, conditions, conversion, extremum,
        cumulative, derivatives, order, positions, several, spectra, structures, sets, models,
    ):  # fmt: skip
        group.declare(cases)
