"""`check_rule`: everything that a rule promises, asserted on random boxes, which Hypothesis minimises."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from typing import Any, Protocol, runtime_checkable

from hypothesis import strategies as st

from lirpa_core.linear import Interval
from lirpa_core.rules import Call, Operand, Rule
from lirpa_testing.profiles import Profile, profile_of
from lirpa_testing.proof import GivenOracle
from lirpa_testing.report import RuleReport, RuleViolation
from lirpa_testing.rules.calls import describe, map_call
from lirpa_testing.rules.case import Case
from lirpa_testing.rules.checks import CHECKS, OPTIONAL, examine
from lirpa_testing.rules.domains import ANYWHERE, Domain, domains_of
from lirpa_testing.rules.search import Kinds, Search
from lirpa_testing.rules.strategies import REGIMES


@runtime_checkable
class RuleSource(Protocol):
    """Anything that knows the rule of an operator, such as a registry."""

    def rule_for(self, op: object) -> Rule | None:
        """The operator's rule, or None."""


def check_rule(
    rule: Rule | RuleSource,
    call: Call | Any,
    *,
    profile: Profile | str | None = None,
    boxes: st.SearchStrategy[tuple[Interval, ...]] | st.SearchStrategy[Interval] | None = None,
    examples: int | None = None,
    batch: int | None = None,
    seed: int = 0,
    kinks: Sequence[float] = (0.0,),
    domain: Domain | Sequence[Domain] = ANYWHERE,
    regimes: Sequence[str] = REGIMES,
    together: bool = False,
    without: Collection[str] = (),
    oracle: GivenOracle | None = None,
) -> RuleReport:
    """Assert on drawn boxes, in float64, that a rule keeps its promises.

    Bounds are compared with the operator's values at the corners of the box (all of them up to ten
    dimensions an example, random ones beyond), at random points, and at points that gradient ascent
    on the violation finds. `CHECKS` lists what else is asserted. All comparisons allow for rounding as
    `lirpa_testing.tolerance` says. A box on which the rule raises `DomainError` is left out, and one
    on which the operator overflows is only checked for NaN in its interval.

    Args:
        rule: The rule, or a registry to look it up in.
        call: The call to bound (see `Call.of`), or an operator of one tensor, which is then called on
            three elements.
        profile: How much is tried, or the name of a profile (`profiles.PROFILES`); by default that of the
            environment variable `LIRPA_PROFILE`, else `ci`. The next arguments override parts of it.
        boxes: Strategy for a tuple of one interval an operand, `[B, *S_i]` (or an interval, if there is one
            operand); by default the regimes of `strategies.edges` in turn. `examples` says how often it is drawn.
        examples: Number of boxes, all regimes together; every regime is drawn at least once.
        batch: How many boxes are drawn at once, unless constants of the call differ between examples.
        seed: Seed of everything random.
        kinks: Where the operator or its curvature changes character; boxes are drawn around these.
        domain: Range that boxes are drawn from, one for all operands or one each.
        regimes: Which kinds of boxes to draw.
        together: Whether each batch is of boxes of all regimes, one after the other, which takes fewer batches; by
            default each batch is of one regime.
        without: Names of checks to leave out.
        oracle: The function of a unary operator in ball arithmetic, such as `lambda x: x * x.sigmoid()`, for
            the check `proof`; default: that of `lirpa_testing.proof.ORACLES`, if it knows the operator.

    Returns:
        What was tried, and how tight the bounds are.

    Raises:
        RuleViolation: With operator, mode, arguments, the minimised box, the point and the amount.
        UnsupportedOperandError: The rule refuses the call.
    """
    unknown = set(without) - set(CHECKS)
    if unknown:
        raise ValueError(f"unknown checks {sorted(unknown)}; there are: {', '.join(CHECKS)}")
    plan = _plan(profile, examples, batch)
    call = _prepare(call, plan.batch)
    found = _resolve(rule, call)
    subject = f"{call.node.target} ({_name(found)}, family {found.family}{_origin(rule, call)})"
    report = RuleReport(subject, tuple(found.modes))
    found.check(call)
    left_out = {*without, *(name for name, wanted in OPTIONAL.items() if not getattr(plan, wanted))}
    checks = {name: check for name, check in CHECKS.items() if name not in left_out}
    search = Search(found, call, checks, seed, plan, report, oracle)
    if boxes is not None:
        search.draw(boxes, plan.examples, "given")
    else:
        kinds = Kinds(tuple(kinks), domains_of(domain, len(call.shapes)))
        draws = -(-plan.examples // call.batch)
        if together:
            search.draw_together(kinds, regimes, draws)
            regimes = ()
        for k, regime in enumerate(regimes):
            search.draw_many(kinds, regime, max(1, (draws + len(regimes) - 1 - k) // len(regimes)))
    if report.examples == 0:
        raise RuleViolation(
            subject,
            "vacuous",
            f"nothing was checked: of the boxes drawn, {report.refused} were refused and {report.overflowed} "
            "overflowed; state the domain",
            {"call": describe(call)},
        )
    return report


def check_box(
    rule: Rule,
    call: Call,
    inputs: tuple[Interval, ...],
    *,
    seed: int = 0,
    oracle: GivenOracle | None = None,
) -> None:
    """Run every check of `check_rule` on one given box.

    Raises:
        RuleViolation: As `check_rule` does.
    """
    call = _prepare(call, inputs[0].lower.shape[0])
    subject = f"{call.node.target} ({_name(rule)}, family {rule.family})"
    case = Case(rule, call, inputs, subject, seed, oracle=oracle)
    examine(case, CHECKS, RuleReport(subject, tuple(rule.modes)))


def _plan(profile: Profile | str | None, examples: int | None, batch: int | None) -> Profile:
    plan = profile_of(profile)
    return dataclasses.replace(plan, examples=examples or plan.examples, batch=batch or plan.batch)


def _resolve(rule: Rule | RuleSource, call: Call) -> Rule:
    target = call.node.target
    found: Any = rule.rule_for(target) if isinstance(rule, RuleSource) else rule
    if found is None:
        raise RuleViolation(str(target), "declarations", "the registry has no rule for this operator")
    if not isinstance(found, Rule):
        what = "is a class: pass an instance" if isinstance(found, type) else "is no subclass of Rule"
        raise RuleViolation(str(target), "declarations", f"the rule {found!r} {what}")
    return found


def _prepare(given: Any, batch: int) -> Call:
    call: Call = given if isinstance(given, Call) else Call.of(given, Operand((3,)))
    batches = [c.value.shape[0] for c in call.constants if c.batched]
    if any(b == 1 for b in batches) and max(batches) == 1:
        return map_call(call, lambda t: t, batch=1)
    return dataclasses.replace(call, batch=max(batches, default=batch))


def _origin(source: object, call: Call) -> str:
    """The plugin that a rule came with, where the source knows."""
    plugin_of = getattr(source, "plugin_of", None)
    name = None if plugin_of is None else plugin_of(call.node.target)
    return "" if name is None else f", plugin '{name}'"


def _name(rule: object) -> str:
    return type(rule).__name__
