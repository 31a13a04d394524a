"""`check_method` passes methods that are sound, and catches those that are wrong in one promise each."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import pytest

from lirpa_core.errors import SoundnessError
from lirpa_core.methods import CROWN, IBP, RowBounds
from lirpa_core.plugins import default_registry
from lirpa_testing import Violation, check_method, method_names, profile_of
from lirpa_testing.conformance.methods import Networks, check_networks

FAST = profile_of("fast")


@pytest.fixture(scope="module")
def networks() -> Networks:
    """Captured once for all methods."""
    return Networks(default_registry())


@pytest.mark.parametrize("method", method_names())
def test_every_method_passes_on_random_networks(method: str, networks: Networks) -> None:
    report = check_networks(method, default_registry(), FAST, networks=networks)
    assert len(networks.captured) == report.networks
    assert report.networks == 4 and report.boxes >= 4 and report.models == 0
    assert report.loosest >= 0


def test_a_method_need_not_be_registered() -> None:
    given, named = (check_networks(m, default_registry(), FAST) for m in (IBP(), "IBP"))
    assert given == named


def shifted(bounds: RowBounds, **changes: Any) -> RowBounds:
    return dataclasses.replace(bounds, **changes)


@dataclass(frozen=True)
class TooTight(CROWN):
    """Moves the lower bound up by a part of the gap."""

    def bound_rows(self, *arguments: Any, **options: Any) -> RowBounds:
        found = super().bound_rows(*arguments, **options)
        assert found.lower is not None and found.upper is not None
        return shifted(found, lower=found.lower + 0.6 * (found.upper - found.lower))


@dataclass(frozen=True)
class WrongRows(CROWN):
    """Forgets the specification: bounds of other rows."""

    def bound_rows(self, problem: Any, node: str, inner: Any, rows: Any = None, **options: Any) -> RowBounds:
        found = super().bound_rows(problem, node, inner, rows, **options)
        if rows is None or found.lower is None or found.upper is None:
            return found
        return shifted(found, lower=found.lower + 5, upper=found.upper + 5)


@dataclass(frozen=True)
class WrongForms(CROWN):
    """Linear bounds with a bias that is too large."""

    def bound_rows(self, *arguments: Any, **options: Any) -> RowBounds:
        found = super().bound_rows(*arguments, **options)
        if found.lower_form is None:
            return found
        return shifted(
            found, lower_form=dataclasses.replace(found.lower_form, bias=found.lower_form.bias + 5)
        )


@dataclass(frozen=True)
class NotANumber(CROWN):
    def bound_rows(self, *arguments: Any, **options: Any) -> RowBounds:
        found = super().bound_rows(*arguments, **options)
        assert found.lower is not None
        return shifted(found, lower=found.lower * float("nan"))


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (TooTight(), r"leaves the bounds by .*\[check: bounds\]|lies outside of its bounds"),
        (WrongRows(), r"a row of C leaves its bounds by .*\[check: rows\]|lies outside of its bounds"),
        (WrongForms(), r"an output leaves the linear bounds by .*\[check: linear bounds\]"),
    ],
)
def test_wrong_methods_are_caught(method: CROWN, message: str) -> None:
    with pytest.raises(
        (Violation, SoundnessError), match=message
    ):  # the library notices the crudest mistakes itself
        check_method(method, profile="fast")


def test_bounds_that_are_not_numbers_do_not_pass() -> None:
    with pytest.raises(Exception, match=r"NaN|nan|finite"):
        check_networks(NotANumber(), default_registry(), FAST)
