"""Conformance: everything that plugins register, tried on the cases that they declare.

`pytest --pyargs lirpa_testing.conformance` and `lirpa check` run it; both print the same report.
"""

from lirpa_testing.conformance.cases import AnyCase, CoefficientsCase, ModelCase, RuleCase, SetCase
from lirpa_testing.conformance.declarations import ConformanceCases, conformance_cases
from lirpa_testing.conformance.methods import MethodReport, check_method, check_networks
from lirpa_testing.conformance.outcome import Failure, ModeResult, Outcome
from lirpa_testing.conformance.packages import select, suite_of
from lirpa_testing.conformance.report import Report
from lirpa_testing.conformance.run import assert_conforms, run
from lirpa_testing.conformance.suite import Item, Suite

__all__ = [
    "AnyCase",
    "CoefficientsCase",
    "ConformanceCases",
    "Failure",
    "Item",
    "MethodReport",
    "ModeResult",
    "ModelCase",
    "Outcome",
    "Report",
    "RuleCase",
    "SetCase",
    "Suite",
    "assert_conforms",
    "check_method",
    "check_networks",
    "conformance_cases",
    "run",
    "select",
    "suite_of",
]
