"""Plugins, and the registry of what they bring: rules, decompositions, kernels, perturbations."""

from lirpa_core.registry.conformance import (
    AnyCase,
    ConformanceCases,
    MapCase,
    ModelCase,
    RuleCase,
    SetCase,
)
from lirpa_core.registry.entries import (
    DecompositionEntry,
    KernelEntry,
    OperatorEntry,
    PerturbationEntry,
    PluginFailure,
    PluginInfo,
    PluginWarning,
    RuleFactory,
    WholeEntry,
)
from lirpa_core.registry.hookspecs import (
    LIRPA_API_VERSION,
    hookimpl,
    hookspec,
    lirpa_conformance_cases,
    lirpa_register_operators,
    lirpa_register_perturbations,
)
from lirpa_core.registry.manager import build_registry, default_registry
from lirpa_core.registry.operators import OperatorRegistry
from lirpa_core.registry.perturbations import PerturbationRegistry
from lirpa_core.registry.providers import provider_of, unsupported_message
from lirpa_core.registry.registry import Registry
from lirpa_core.registry.resolve import Operator, OperatorLike, resolve_operator

__all__ = [
    "LIRPA_API_VERSION",
    "AnyCase",
    "ConformanceCases",
    "DecompositionEntry",
    "KernelEntry",
    "MapCase",
    "ModelCase",
    "Operator",
    "OperatorEntry",
    "OperatorLike",
    "OperatorRegistry",
    "PerturbationEntry",
    "PerturbationRegistry",
    "PluginFailure",
    "PluginInfo",
    "PluginWarning",
    "Registry",
    "RuleCase",
    "RuleFactory",
    "SetCase",
    "WholeEntry",
    "build_registry",
    "default_registry",
    "hookimpl",
    "hookspec",
    "lirpa_conformance_cases",
    "lirpa_register_operators",
    "lirpa_register_perturbations",
    "provider_of",
    "resolve_operator",
    "unsupported_message",
]
