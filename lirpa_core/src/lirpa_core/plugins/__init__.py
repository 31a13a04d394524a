"""Plugins, and the registry of what they bring: rules, decompositions, kernels, perturbations."""

from lirpa_core.plugins.entries import (
    DecompositionEntry,
    KernelEntry,
    LeafModuleEntry,
    OperatorEntry,
    PerturbationEntry,
    PluginFailure,
    PluginInfo,
    PluginWarning,
    RuleFactory,
)
from lirpa_core.plugins.hookspecs import (
    LIRPA_API_VERSION,
    hookimpl,
    hookspec,
    lirpa_conformance_cases,
    lirpa_register_operators,
    lirpa_register_perturbations,
)
from lirpa_core.plugins.manager import build_registry, default_registry
from lirpa_core.plugins.operator_names import Operator, OperatorLike, resolve_operator
from lirpa_core.plugins.operators import OperatorRegistry
from lirpa_core.plugins.perturbations import PerturbationRegistry
from lirpa_core.plugins.providers import provider_of, unsupported_message
from lirpa_core.plugins.registry import Registry

__all__ = [
    "LIRPA_API_VERSION",
    "DecompositionEntry",
    "KernelEntry",
    "LeafModuleEntry",
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
    "RuleFactory",
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
