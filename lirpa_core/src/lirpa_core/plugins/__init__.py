"""Plugins, and the registry of what they bring: rules, kernels, perturbations, methods, readers."""

from lirpa_core.plugins.collector import Collector
from lirpa_core.plugins.entries import (
    AllowanceEntry,
    DecompositionEntry,
    KernelEntry,
    LeafModuleEntry,
    MethodEntry,
    OperatorEntry,
    PatternEntry,
    PerturbationEntry,
    PluginFailure,
    PluginInfo,
    PluginWarning,
    ReaderEntry,
    Registration,
    RuleFactory,
)
from lirpa_core.plugins.hookspecs import (
    LIRPA_API_VERSION,
    hookimpl,
    hookspec,
    lirpa_conformance_cases,
    lirpa_register_methods,
    lirpa_register_operators,
    lirpa_register_patterns,
    lirpa_register_perturbations,
    lirpa_register_readers,
)
from lirpa_core.plugins.loading import describe
from lirpa_core.plugins.manager import build_registry, default_registry
from lirpa_core.plugins.methods import MethodRegistry
from lirpa_core.plugins.operator_names import Operator, OperatorLike, key_label, resolve_operator
from lirpa_core.plugins.operators import OperatorRegistry
from lirpa_core.plugins.pattern import Pattern
from lirpa_core.plugins.patterns import PatternRegistry
from lirpa_core.plugins.perturbations import PerturbationRegistry
from lirpa_core.plugins.providers import provider_of, unsupported_message
from lirpa_core.plugins.reader import CaptureRules, LiveModel, Reader
from lirpa_core.plugins.readers import ReaderRegistry
from lirpa_core.plugins.registry import Registry

__all__ = [
    "LIRPA_API_VERSION",
    "AllowanceEntry",
    "CaptureRules",
    "Collector",
    "DecompositionEntry",
    "KernelEntry",
    "LeafModuleEntry",
    "LiveModel",
    "MethodEntry",
    "MethodRegistry",
    "Operator",
    "OperatorEntry",
    "OperatorLike",
    "OperatorRegistry",
    "Pattern",
    "PatternEntry",
    "PatternRegistry",
    "PerturbationEntry",
    "PerturbationRegistry",
    "PluginFailure",
    "PluginInfo",
    "PluginWarning",
    "Reader",
    "ReaderEntry",
    "ReaderRegistry",
    "Registration",
    "Registry",
    "RuleFactory",
    "build_registry",
    "default_registry",
    "describe",
    "hookimpl",
    "hookspec",
    "key_label",
    "lirpa_conformance_cases",
    "lirpa_register_methods",
    "lirpa_register_operators",
    "lirpa_register_patterns",
    "lirpa_register_perturbations",
    "lirpa_register_readers",
    "provider_of",
    "resolve_operator",
    "unsupported_message",
]
