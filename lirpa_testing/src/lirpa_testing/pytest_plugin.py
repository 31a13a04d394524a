"""Pytest plugin of lirpa's conformance tests.

It is a package of its own, so that pytest, which loads it in every run, does not load lirpa and torch with it.
It does nothing but add options unless `lirpa_testing.conformance` is among the tests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

_PROPERTY = "lirpa_outcome"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--lirpa-profile` and `--lirpa-package`."""
    group = parser.getgroup("lirpa", "conformance of lirpa's plugins (--pyargs lirpa_testing.conformance)")
    group.addoption(
        "--lirpa-profile",
        metavar="NAME",
        help="how hard lirpa's test kit tries: fast, ci or thorough (default: LIRPA_PROFILE, else ci)",
    )
    group.addoption(
        "--lirpa-package",
        action="append",
        default=[],
        metavar="NAME",
        help="only what this plugin, distribution or module registers; may be repeated (default: all)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Hand the profile to `check_rule` in all tests, by the environment."""
    import os

    profile = config.getoption("lirpa_profile")
    if profile:
        os.environ["LIRPA_PROFILE"] = profile


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the report of the conformance tests that ran."""
    found = [
        value
        for reports in terminalreporter.stats.values()
        for report in reports
        for name, value in getattr(report, "user_properties", ())
        if name == _PROPERTY and getattr(report, "when", "") == "call"
    ]
    if not found:
        return
    from lirpa_testing.conformance import Outcome, Report
    from lirpa_testing.profiles import profile_of

    outcomes = sorted((Outcome.from_json(data) for data in found), key=lambda outcome: outcome.key)
    report = Report(profile_of(config.getoption("lirpa_profile")), tuple(outcomes))
    terminalreporter.section("lirpa conformance")
    for line in report.lines():
        terminalreporter.write_line(line)
