"""The tests that `pytest --pyargs lirpa_testing.conformance` collects: one for each item of the suite."""

from __future__ import annotations

import pytest

from lirpa_core.errors import LirpaError
from lirpa_testing.conformance.outcome import Outcome
from lirpa_testing.conformance.packages import suite_of
from lirpa_testing.conformance.run import run
from lirpa_testing.conformance.suite import Item, Suite


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each item of the plugins that `--lirpa-package` names, of all plugins by default."""
    try:
        suite = suite_of(*metafunc.config.getoption("lirpa_package", default=[]))
    except LirpaError as error:
        raise pytest.UsageError(str(error)) from error
    metafunc.parametrize(
        ("item", "suite"), [(i, suite) for i in suite.items], ids=[str(i) for i in suite.items]
    )


def test_conforms(item: Item, suite: Suite, request: pytest.FixtureRequest, record_property) -> None:  # type: ignore[no-untyped-def]
    """Whatever is registered keeps its promises."""
    outcome: Outcome = run(item, suite.registry, request.config.getoption("lirpa_profile", default=None))
    record_property("lirpa_outcome", outcome.to_json())
    if outcome.failure is not None:
        pytest.fail(outcome.failure.message, pytrace=False)
