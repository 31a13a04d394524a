"""The core as its own first plugin: it registers through the same hooks as everybody else."""

from __future__ import annotations

from lirpa_core.capture.readers import ExportedProgramReader, FunctionReader, LiveModelReader, ModuleReader
from lirpa_core.methods import CROWN, IBP, AlphaCROWN, Auto, Forward, crown_forward, crown_ibp
from lirpa_core.operators import (
    activation,
    among_topk,
    arithmetic,
    bessel,
    composites_as_executed,
    compositions,
    conditions,
    conversion,
    cumulative,
    decompositions,
    derivatives,
    extremum,
    indexing,
    linear_systems,
    logsumexp,
    matmul,
    order,
    positionwise_kernels,
    reduction,
    scatter,
    several,
    shape,
    sparsemax,
    spectra,
    written_out,
)
from lirpa_core.perturbations.joint import PerturbationJoint
from lirpa_core.perturbations.lp import PerturbationLpNorm
from lirpa_core.plugins import (
    MethodRegistry,
    OperatorRegistry,
    PatternRegistry,
    PerturbationRegistry,
    ReaderRegistry,
    hookimpl,
)

LIRPA_API_VERSION = 1


@hookimpl
def lirpa_register_operators(registry: OperatorRegistry) -> None:
    """Register the rules of the elementary operators."""
    for group in (
        activation, arithmetic, matmul, positionwise_kernels, shape, reduction, indexing, scatter, conditions, conversion, extremum,
        logsumexp, cumulative, order, among_topk, sparsemax, bessel, spectra, several, compositions, decompositions, derivatives, linear_systems, composites_as_executed,
    ):  # fmt: skip
        group.register(registry)


@hookimpl
def lirpa_register_perturbations(registry: PerturbationRegistry) -> None:
    """Register the threat models of the core."""
    registry.register("joint", PerturbationJoint)
    registry.register("lp", PerturbationLpNorm)


@hookimpl
def lirpa_register_methods(registry: MethodRegistry) -> None:
    """Register the methods of the core."""
    for method in (IBP(), Forward(), crown_ibp(), crown_forward(), CROWN(), AlphaCROWN(), Auto()):
        registry.register(method)


@hookimpl
def lirpa_register_readers(registry: ReaderRegistry) -> None:
    """Register the readers of the core."""
    registry.register(ModuleReader())
    registry.register(ExportedProgramReader())
    registry.register(LiveModelReader())
    registry.register(FunctionReader())


@hookimpl
def lirpa_register_patterns(registry: PatternRegistry) -> None:
    """Register the ways in which people write what the core has operators for."""
    written_out.register(registry)
