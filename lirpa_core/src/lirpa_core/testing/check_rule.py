"""`check_rule`: everything that a rule promises, asserted on random boxes, which Hypothesis minimises."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

import hypothesis
import torch
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st

from lirpa_core.bounds.interval import Interval
from lirpa_core.errors import DomainError
from lirpa_core.registry.conformance import ANYWHERE, Domain, domains_of
from lirpa_core.rules.base import Rule
from lirpa_core.rules.call import Call, Operand
from lirpa_core.testing import compiling, consistency, operator_checks, proving, soundness
from lirpa_core.testing.calls import describe, map_call
from lirpa_core.testing.case import Case
from lirpa_core.testing.profiles import Profile, profile_of
from lirpa_core.testing.report import RuleReport, RuleViolation
from lirpa_core.testing.strategies import REGIMES, operand_boxes, random_boxes

if TYPE_CHECKING:
    from lirpa_core.testing.proof import GivenOracle  # needs python-flint

#: Every check by name, in the order in which they run: what a later one relies on comes first.
CHECKS: dict[str, Callable[[Case], None]] = {
    "declarations": consistency.check_declarations,
    "purity": consistency.check_purity,
    "results": soundness.check_results,
    "finite": soundness.check_finite,
    "linear operator": operator_checks.check_linear_ops,
    "interval": soundness.check_interval,
    "lines": soundness.check_lines,
    "proof": proving.check_proof,
    "affine": soundness.check_affine,
    "degenerate": soundness.check_degenerate,
    "shrinking": soundness.check_shrinking,
    "batch": consistency.check_batch,
    "shared": consistency.check_shared,
    "gradients": consistency.check_gradients,
    "loose": consistency.check_loose,
    "float32": consistency.check_float32,
    "compiled": compiling.check_compiled,
}

#: Checks that a profile leaves out, by the name of its field that says so.
_OPTIONAL = {"proof": "prove", "compiled": "compiled"}

#: Largest batch in which a failure is shown: small boxes are easier to read.
_SHOWN_BATCH = 3
_SHRINKS = 40
_SEARCHED = 60


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
    without: Collection[str] = (),
    oracle: GivenOracle | None = None,
) -> RuleReport:
    """Assert on drawn boxes, in float64, that a rule keeps its promises.

    Bounds are compared with the operator's values at the corners of the box (all of them up to ten
    dimensions an example, random ones beyond), at random points, and at points that gradient ascent
    on the violation finds. `CHECKS` lists what else is asserted. All comparisons allow for rounding as
    `lirpa_core.testing.tolerance` says. A box on which the rule raises `DomainError` is left out, and one
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
        without: Names of checks to leave out.
        oracle: The function of a unary operator in ball arithmetic, such as `lambda x: x * x.sigmoid()`, for
            the check `proof`; default: that of `lirpa_core.testing.proof.ORACLES`, if it knows the operator.

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
    left_out = {*without, *(name for name, wanted in _OPTIONAL.items() if not getattr(plan, wanted))}
    checks = {name: check for name, check in CHECKS.items() if name not in left_out}
    run = _Run(found, call, checks, seed, plan, report, oracle)
    if boxes is not None:
        run.draw(boxes, plan.examples, "given")
    else:
        kinds = _Kinds(tuple(kinks), domains_of(domain, len(call.shapes)))
        draws = -(-plan.examples // call.batch)
        for k, regime in enumerate(regimes):
            run.draw_many(kinds, regime, max(1, (draws + len(regimes) - 1 - k) // len(regimes)))
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
    _examine(case, CHECKS, RuleReport(subject, tuple(rule.modes)))


def _plan(profile: Profile | str | None, examples: int | None, batch: int | None) -> Profile:
    plan = profile_of(profile)
    return dataclasses.replace(plan, examples=examples or plan.examples, batch=batch or plan.batch)


def _resolve(rule: Rule | RuleSource, call: Call) -> Rule:
    target = call.node.target
    found: Any = rule.rule_for(target) if isinstance(rule, RuleSource) else rule
    if found is None:
        raise RuleViolation(str(target), "declarations", "the registry has no rule for this operator")
    members = [name for name in vars(Rule) if not name.startswith("_")]
    missing = [name for name in members if not hasattr(found, name)]
    if missing or isinstance(found, type):
        what = "is a class: pass an instance" if isinstance(found, type) else f"lacks {', '.join(missing)}"
        raise RuleViolation(str(target), "declarations", f"the rule {found!r} {what}")
    return cast(Rule, found)


def _prepare(given: Any, batch: int) -> Call:
    call: Call = given if isinstance(given, Call) else Call.of(given, Operand((3,)))
    batches = [c.value.shape[0] for c in call.constants if c.batched]
    if any(b == 1 for b in batches) and max(batches) == 1:
        return map_call(call, lambda t: t, batch=1)
    return dataclasses.replace(call, batch=max(batches, default=batch))


@dataclass(frozen=True)
class _Kinds:
    """What boxes are drawn from, whatever their regime."""

    kinks: tuple[float, ...]
    domains: tuple[Domain, ...]

    def random(self, call: Call, regime: str, seed: str) -> tuple[Interval, ...]:
        return random_boxes(
            call.shapes, seed, batch=call.batch, regime=regime, kinks=self.kinks, domains=self.domains
        )

    def strategy(self, call: Call, regime: str) -> st.SearchStrategy[tuple[Interval, ...]]:
        return operand_boxes(
            call.shapes, batch=call.batch, regime=regime, kinks=self.kinks, domains=self.domains
        )


@dataclass(frozen=True, eq=False)
class _Run:
    """One rule on one call: draws boxes and examines them."""

    rule: Rule
    call: Call
    checks: Mapping[str, Callable[[Case], None]]
    seed: int
    plan: Profile
    report: RuleReport
    oracle: GivenOracle | None

    def draw_many(self, kinds: _Kinds, regime: str, count: int) -> None:
        """Examine batches of random boxes; after a failure, let Hypothesis look for a simple box that fails so."""
        for k in range(count):
            case = self._case(kinds.random(self.call, regime, f"{self.seed} {regime} {k}"))
            found = self._violation(case, self.checks, self.report, regime)
            if found is not None:
                self._minimise(kinds, regime, case, found)
                raise found

    def _minimise(self, kinds: _Kinds, regime: str, case: Case, found: RuleViolation) -> None:
        """Raise the same violation on a simpler box, if there is one."""
        one = {name: check for name, check in self.checks.items() if name == found.check}
        size = self.call.batch if self.call.has_batched_constants else min(_SHOWN_BATCH, self.call.batch)
        small = dataclasses.replace(
            self,
            call=dataclasses.replace(self.call, batch=size),
            checks=one or self.checks,
            report=RuleReport(self.report.subject, self.report.modes),
        )
        small.draw(kinds.strategy(small.call, regime), _SEARCHED, regime)
        for b in range(case.batch):
            alone = self._violation(case.only(torch.tensor([b])), small.checks, small.report, regime)
            if alone is not None and alone.check == found.check:
                raise alone

    @staticmethod
    def _violation(
        case: Case, checks: Mapping[str, Callable[[Case], None]], report: RuleReport, regime: str
    ) -> RuleViolation | None:
        try:
            _examine(case, checks, report)
        except RuleViolation as violation:
            violation.details["regime"] = regime
            return violation
        return None

    def _case(self, inputs: tuple[Interval, ...]) -> Case:
        call = dataclasses.replace(self.call, batch=max(x.lower.shape[0] for x in inputs))
        steps = self.plan.attack_steps
        return Case(self.rule, call, inputs, self.report.subject, self.seed, steps, self.oracle).snapped()

    def draw(
        self,
        boxes: st.SearchStrategy[tuple[Interval, ...]] | st.SearchStrategy[Interval],
        count: int,
        regime: str,
    ) -> None:
        """Draw boxes and examine them; after a failure, minimise the box for that failure alone.

        Args:
            boxes: Strategy of the boxes.
            count: How often to draw.
            regime: Its name, for messages.
        """
        failing: dict[str, RuleViolation] = {}
        tries = 0

        @hypothesis.seed(self.seed)
        @hypothesis.settings(
            max_examples=count,
            database=None,
            deadline=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
            print_blob=False,
        )
        @hypothesis.given(boxes)
        def examine(drawn: tuple[Interval, ...] | Interval) -> None:
            nonlocal tries
            inputs = (drawn,) if isinstance(drawn, Interval) else drawn
            key = str([e.tolist() for x in inputs for e in (x.lower, x.upper)])
            wanted = self.checks
            if failing:
                if key in failing:
                    raise failing[key]
                tries += 1
                if tries > _SHRINKS:
                    return
                name = next(iter(failing.values())).check
                wanted = {name: self.checks[name]} if name in self.checks else self.checks
            try:
                _examine(self._case(inputs), wanted, self.report)
            except RuleViolation as violation:
                if failing and violation.check != next(iter(failing.values())).check:
                    return
                violation.details["regime"] = regime
                failing[key] = violation
                raise

        try:
            examine()
        except RuleViolation as violation:
            violation.__notes__ = []  # Hypothesis' own words for the box, which the message shows
            raise


def _examine(case: Case, checks: Mapping[str, Callable[[Case], None]], report: RuleReport) -> None:
    finite = case.start_outputs.isfinite().movedim(1, 0).reshape(case.batch, -1).all(1)
    if not bool(finite.all()):
        report.overflowed += int((~finite).sum())
        if not bool(finite.any()):
            return
        case = case.only(finite)
    try:
        for name, check in checks.items():
            if name != "compiled" or not report.compiled:  # once a call: what is traced does not change
                check(case)
    except DomainError:
        report.refused += case.batch
        return
    except RuleViolation:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a rule raises is a finding
        case.fail("runs", f"raised {type(error).__name__}: {error}")
    report.examples += case.batch
    report.compiled += case.counts["compiled"]
    report.record_proofs(case.counts["proved"], case.scale.numel())
    _record_gaps(case, report)


def _record_gaps(case: Case, report: RuleReport) -> None:
    with torch.no_grad():
        scale = case.scale.clamp(min=torch.finfo(case.scale.dtype).tiny)
        if case.has_interval:
            report.record_gap("interval", (case.interval.width / scale).mean().item())
        if case.has_lines:
            lower, upper = case.lines(case.start_points)
            report.record_gap("relax", ((upper - lower) / scale).mean().item())


def _origin(source: object, call: Call) -> str:
    """The plugin that a rule came with, where the source knows."""
    plugin_of = getattr(source, "plugin_of", None)
    name = None if plugin_of is None else plugin_of(call.node.target)
    return "" if name is None else f", plugin '{name}'"


def _name(rule: object) -> str:
    return type(rule).__name__
