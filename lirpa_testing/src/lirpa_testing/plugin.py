"""What the test kit brings as a plugin of lirpa: the cases of what the core registers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lirpa_core.plugins import hookimpl

if TYPE_CHECKING:
    from lirpa_testing.conformance import ConformanceCases

#: The version of the plugin interface that this module was written for.
LIRPA_API_VERSION = 1


@hookimpl
def lirpa_conformance_cases(cases: ConformanceCases) -> None:
    """Declare cases for the core, which carries no test code of its own."""
    from lirpa_testing import core_cases  # which only a conformance run needs

    core_cases.declare(cases)
