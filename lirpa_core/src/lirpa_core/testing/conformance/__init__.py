"""Conformance: everything that plugins register, tried on the cases that they declare.

`pytest --pyargs lirpa_core.testing.conformance` and `lirpa check` run it; both print the same report.
"""

from lirpa_core.testing.conformance.outcome import Failure, ModeResult, Outcome
from lirpa_core.testing.conformance.packages import select, suite_of
from lirpa_core.testing.conformance.report import Report
from lirpa_core.testing.conformance.run import assert_conforms, run
from lirpa_core.testing.conformance.suite import Item, Suite

__all__ = [
    "Failure",
    "Item",
    "ModeResult",
    "Outcome",
    "Report",
    "Suite",
    "assert_conforms",
    "run",
    "select",
    "suite_of",
]
