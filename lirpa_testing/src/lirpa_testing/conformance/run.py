"""Running one item, whatever it is: a dispatch table from kinds of cases to checks."""

from __future__ import annotations

import dataclasses
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from lirpa_core.plugins import Registry
from lirpa_testing.coefficients.check import check_coefficients
from lirpa_testing.conformance.cases import CoefficientsCase, ModelCase, RuleCase, SetCase
from lirpa_testing.conformance.kernels import check_kernel
from lirpa_testing.conformance.methods import check_networks
from lirpa_testing.conformance.models import check_model
from lirpa_testing.conformance.outcome import Failure, ModeResult, Outcome
from lirpa_testing.conformance.patterns import check_pattern
from lirpa_testing.conformance.suite import Item, KernelCase, MethodCase, NoCase, PatternCase
from lirpa_testing.perturbations.check import check_perturbation
from lirpa_testing.profiles import Profile, profile_of
from lirpa_testing.report import RuleReport, RuleViolation, Violation
from lirpa_testing.rules.check import check_rule
from lirpa_testing.rules.strategies import REGIMES

#: Kinds of boxes in the order in which the examples of a batch take them where there are fewer draws than kinds.
_REGIMES = ("mixed", "kinks", "huge", "wide", "tiny", "thin", "degenerate")
#: Up to so many boxes of all kinds are one batch, because a batch takes about as long as a smaller one.
_LARGEST_BATCH = 64
assert set(_REGIMES) == set(REGIMES)


def run(item: Item, registry: Registry, profile: Profile | str | None = None, *, seed: int = 0) -> Outcome:
    """Run one item.

    Args:
        item: What to run.
        registry: Where it is registered.
        profile: How hard to try.
        seed: Seed of everything random.

    Returns:
        What came out; a failure is part of it, not raised.
    """
    blank = Outcome(*item.key)
    start = time.process_time()
    try:
        check: Callable[..., Outcome] = _CHECKS[type(item.case)]
        done = check(blank, item, item.case, registry, profile_of(profile), seed)
    except Violation as violation:
        mode = violation.mode if isinstance(violation, RuleViolation) else ""
        done = dataclasses.replace(blank, failure=Failure(mode, violation.check, str(violation)))
    except Exception as error:  # noqa: BLE001 - whatever is registered raises is a finding
        where = "".join(traceback.format_tb(error.__traceback__)[-1:])
        what = f"{item.subject}: raised {type(error).__name__}: {error}\n{where}".rstrip()
        done = dataclasses.replace(blank, failure=Failure("", "runs", what))
    return dataclasses.replace(done, seconds=time.process_time() - start)


def assert_conforms(item: Item, registry: Registry, profile: Profile | str | None = None) -> Outcome:
    """Run one item; a failure is raised.

    Raises:
        AssertionError: With the message of the failure.
    """
    outcome = run(item, registry, profile)
    if outcome.failure is not None:
        raise AssertionError(outcome.failure.message)
    return outcome


def _run_rule(
    blank: Outcome, item: Item, case: RuleCase, registry: Registry, profile: Profile, seed: int
) -> Outcome:
    index, cases = item.turn
    regimes = case.regimes or _REGIMES
    draws = max(1, -(-profile.examples // (cases * profile.batch)))
    together = draws < len(regimes)
    if (
        together
    ):  # one batch of boxes of all regimes, of which the cases of one operator begin with another one each
        regimes = tuple(regimes[(index + k) % len(regimes)] for k in range(len(regimes)))
    report = check_rule(
        registry,
        case.call,
        profile=profile,
        examples=draws * profile.batch,
        batch=max(profile.batch, min(draws * profile.batch, _LARGEST_BATCH)) if together else profile.batch,
        together=together,
        seed=seed,
        kinks=case.kinks,
        domain=case.domains,
        regimes=regimes,
        without=(*case.without, *(("compiled",) if index else ())),  # once an operator: it takes long
        oracle=case.oracle,
    )
    return dataclasses.replace(
        blank,
        examples=report.examples,
        proved=report.proved,
        sampled=report.sampled,
        refused=report.refused,
        overflowed=report.overflowed,
        modes=_modes(report),
    )


def _modes(report: RuleReport) -> tuple[ModeResult, ...]:
    lines = ", ".join(mode for mode in report.modes if mode != "interval")
    names = {"interval": "interval", "relax": lines}
    return tuple(ModeResult(names[mode], *gap) for mode, gap in report.gaps.items())


def _run_set(
    blank: Outcome, item: Item, case: SetCase, registry: Registry, profile: Profile, seed: int
) -> Outcome:
    report = check_perturbation(case.perturbation, case.x, profile=profile, exact=case.exact, seed=seed)
    modes = (ModeResult("minimum", 0.0, report.gap),)
    return dataclasses.replace(blank, examples=report.rows, sampled=report.rows, modes=modes)


def _run_coefficients(
    blank: Outcome, item: Item, case: CoefficientsCase, registry: Registry, profile: Profile, seed: int
) -> Outcome:
    tried = 0
    for shape in case.shapes:
        made = case.make(shape)
        if made is not None:
            check_coefficients(made, seed=seed)
            tried += 1
    if tried == 0:
        return _no_case(blank, f"the case '{case.name}' makes none over its shapes {list(case.shapes)}")
    return dataclasses.replace(
        blank, examples=tried, sampled=tried, modes=(ModeResult("dense form", 0.0, 0.0),)
    )


def _run_kernel(
    blank: Outcome, item: Item, case: KernelCase, registry: Registry, profile: Profile, seed: int
) -> Outcome:
    tried = check_kernel(case.entry, case.calls, case.structures, case.terms, seed=seed)
    if tried == 0:
        return _no_case(blank, "no case of its operator makes it return anything: add a call or a structure")
    return dataclasses.replace(
        blank, examples=tried, sampled=tried, modes=(ModeResult("dense form", 0.0, 0.0),)
    )


def _run_model(
    blank: Outcome, item: Item, case: ModelCase, registry: Registry, profile: Profile, seed: int
) -> Outcome:
    tried, modes = check_model(case, registry, profile, seed=seed)
    return dataclasses.replace(blank, examples=tried, sampled=tried, modes=modes)


def _run_method(
    blank: Outcome, item: Item, case: MethodCase, registry: Registry, profile: Profile, seed: int
) -> Outcome:
    report = check_networks(case.method, registry, profile, seed=seed, networks=case.networks)
    modes = (ModeResult("bounds", report.tightest, report.loosest),)
    return dataclasses.replace(blank, examples=report.boxes, sampled=report.boxes, modes=modes)


def _run_pattern(
    blank: Outcome, item: Item, case: PatternCase, registry: Registry, profile: Profile, seed: int
) -> Outcome:
    tried = check_pattern(case.entry, registry, profile, seed=seed)
    return dataclasses.replace(blank, examples=tried, sampled=tried)


def _run_nothing(
    blank: Outcome, item: Item, case: NoCase, registry: Registry, profile: Profile, seed: int
) -> Outcome:
    return _no_case(
        blank, f"nothing tries it; declare a case in the hook lirpa_conformance_cases: {case.remedy}"
    )


def _no_case(blank: Outcome, why: str) -> Outcome:
    what = f"plugin '{blank.plugin}', {blank.kind} {blank.subject}: no case. {why[0].upper()}{why[1:]}"
    return dataclasses.replace(blank, failure=Failure("", "no case", what))


_CHECKS: Mapping[type, Any] = {
    RuleCase: _run_rule,
    SetCase: _run_set,
    CoefficientsCase: _run_coefficients,
    KernelCase: _run_kernel,
    ModelCase: _run_model,
    MethodCase: _run_method,
    PatternCase: _run_pattern,
    NoCase: _run_nothing,
}
