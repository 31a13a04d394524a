"""The test kit of lirpa: check that a rule, a perturbation, a method or a structure of coefficients keeps its promises.

Each name is imported when it is first asked for, because pytest and the command `lirpa` import this package in every
run, and torch, hypothesis and python-flint take seconds.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lirpa_testing.coefficients.check import check_coefficients
    from lirpa_testing.conformance import ConformanceCases
    from lirpa_testing.conformance.methods import MethodReport, check_method
    from lirpa_testing.methods.names import few_steps, method_names
    from lirpa_testing.perturbations.check import check_perturbation
    from lirpa_testing.profiles import PROFILES, Profile, profile_of
    from lirpa_testing.report import (
        CoefficientsViolation,
        PerturbationReport,
        PerturbationViolation,
        RuleReport,
        RuleViolation,
        Violation,
    )
    from lirpa_testing.rules.check import check_box, check_rule
    from lirpa_testing.rules.checks import CHECKS
    from lirpa_testing.rules.strategies import REGIMES, boxes, operand_boxes

__all__ = [
    "CHECKS",
    "PROFILES",
    "REGIMES",
    "CoefficientsViolation",
    "ConformanceCases",
    "MethodReport",
    "PerturbationReport",
    "PerturbationViolation",
    "Profile",
    "RuleReport",
    "RuleViolation",
    "Violation",
    "boxes",
    "check_box",
    "check_coefficients",
    "check_method",
    "check_perturbation",
    "check_rule",
    "few_steps",
    "method_names",
    "operand_boxes",
    "profile_of",
]

#: The module of each name.
_HOMES = {
    "check_coefficients": "lirpa_testing.coefficients.check",
    "ConformanceCases": "lirpa_testing.conformance",
    "MethodReport": "lirpa_testing.conformance.methods",
    "check_method": "lirpa_testing.conformance.methods",
    "few_steps": "lirpa_testing.methods.names",
    "method_names": "lirpa_testing.methods.names",
    "check_perturbation": "lirpa_testing.perturbations.check",
    "PROFILES": "lirpa_testing.profiles",
    "Profile": "lirpa_testing.profiles",
    "profile_of": "lirpa_testing.profiles",
    "CoefficientsViolation": "lirpa_testing.report",
    "PerturbationReport": "lirpa_testing.report",
    "PerturbationViolation": "lirpa_testing.report",
    "RuleReport": "lirpa_testing.report",
    "RuleViolation": "lirpa_testing.report",
    "Violation": "lirpa_testing.report",
    "check_box": "lirpa_testing.rules.check",
    "check_rule": "lirpa_testing.rules.check",
    "CHECKS": "lirpa_testing.rules.checks",
    "REGIMES": "lirpa_testing.rules.strategies",
    "boxes": "lirpa_testing.rules.strategies",
    "operand_boxes": "lirpa_testing.rules.strategies",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
