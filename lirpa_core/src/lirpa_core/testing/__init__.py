"""The test kit: check that a rule, a perturbation or a structure of coefficients keeps its promises.

Needs the extra `testing`: `pip install 'lirpa-core[testing]'`.
"""

from lirpa_core.testing.check_coefficients import check_coefficients
from lirpa_core.testing.check_perturbation import check_perturbation
from lirpa_core.testing.check_rule import check_box, check_rule
from lirpa_core.testing.checks import CHECKS
from lirpa_core.testing.profiles import PROFILES, Profile, profile_of
from lirpa_core.testing.report import (
    LinearMapViolation,
    PerturbationReport,
    PerturbationViolation,
    RuleReport,
    RuleViolation,
    Violation,
)
from lirpa_core.testing.strategies import REGIMES, boxes, operand_boxes

__all__ = [
    "CHECKS",
    "PROFILES",
    "REGIMES",
    "LinearMapViolation",
    "PerturbationReport",
    "PerturbationViolation",
    "Profile",
    "RuleReport",
    "RuleViolation",
    "Violation",
    "boxes",
    "check_box",
    "check_coefficients",
    "check_perturbation",
    "check_rule",
    "operand_boxes",
    "profile_of",
]
