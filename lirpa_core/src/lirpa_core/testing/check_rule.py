"""`check_rule`: everything that a rule promises, asserted on boxes that Hypothesis draws and minimises."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

import hypothesis
import torch
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st

from lirpa_core.bounds.interval import Interval
from lirpa_core.errors import DomainError
from lirpa_core.rules.base import Rule
from lirpa_core.rules.call import Call, Operand
from lirpa_core.testing import consistency, operator_checks, proving, soundness
from lirpa_core.testing.calls import describe, map_call
from lirpa_core.testing.case import Case
from lirpa_core.testing.report import RuleReport, RuleViolation
from lirpa_core.testing.strategies import ANYWHERE, REGIMES, Domain, operand_boxes

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
}

_BATCH = 3
_SHRINKS = 40


@runtime_checkable
class RuleSource(Protocol):
    """Anything that knows the rule of an operator, such as a registry."""

    def rule_for(self, op: object) -> Rule | None:
        """The operator's rule, or None."""


def check_rule(
    rule: Rule | RuleSource,
    call: Call | Any,
    *,
    boxes: st.SearchStrategy[tuple[Interval, ...]] | st.SearchStrategy[Interval] | None = None,
    examples: int = 28,
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
        boxes: Strategy for a tuple of one interval an operand, `[B, *S_i]` (or an interval, if there is one
            operand); by default the regimes of `strategies.edges` in turn.
        examples: Number of boxes, all regimes together.
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
    call = _prepare(call)
    found = _resolve(rule, call)
    subject = f"{call.node.target} ({_name(found)}, family {found.family}{_origin(rule, call)})"
    report = RuleReport(subject, tuple(found.modes))
    found.check(call)
    checks = {name: check for name, check in CHECKS.items() if name not in without}
    if boxes is not None:
        _run(found, call, boxes, checks, examples, seed, report, "given", oracle)
    else:
        domains = _domains(domain, len(call.shapes))
        for k, regime in enumerate(regimes):
            count = 1 + (examples + len(regimes) - 1 - k) // len(
                regimes
            )  # the first box drawn is the simplest
            drawn = operand_boxes(call.shapes, batch=call.batch, regime=regime, kinks=kinks, domains=domains)
            _run(found, call, drawn, checks, count, seed, report, regime, oracle)
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
    call = _prepare(call)
    subject = f"{call.node.target} ({_name(rule)}, family {rule.family})"
    _examine(Case(rule, call, inputs, subject, seed, oracle), CHECKS, RuleReport(subject, tuple(rule.modes)))


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


def _prepare(given: Any) -> Call:
    call: Call = given if isinstance(given, Call) else Call.of(given, Operand((3,)))
    batches = [c.value.shape[0] for c in call.constants if c.batched]
    batch = max(batches, default=_BATCH)
    if any(b == 1 for b in batches) and batch == 1:
        return map_call(call, lambda t: t, batch=1, dtype=call.dtype)
    return dataclasses.replace(call, batch=batch)


def _domains(domain: Domain | Sequence[Domain], operands: int) -> list[Domain]:
    if len(domain) == 2 and isinstance(domain[0], (int, float)):
        return [domain] * operands  # type: ignore[list-item]
    return list(domain)  # type: ignore[arg-type]


def _run(
    rule: Rule,
    call: Call,
    boxes: st.SearchStrategy[tuple[Interval, ...]] | st.SearchStrategy[Interval],
    checks: dict[str, Callable[[Case], None]],
    examples: int,
    seed: int,
    report: RuleReport,
    regime: str,
    oracle: GivenOracle | None,
) -> None:
    """Draw boxes and examine them; after a failure, minimise the box for that failure alone."""
    failing: dict[bytes, RuleViolation] = {}
    tries = 0

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=examples,
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
        key = b"".join(e.numpy(force=True).tobytes() for x in inputs for e in (x.lower, x.upper))
        wanted = checks
        if failing:
            if key in failing:
                raise failing[key]
            tries += 1
            if tries > _SHRINKS:
                return
            name = next(iter(failing.values())).check
            wanted = {name: checks[name]} if name in checks else checks
        case = Case(rule, call, inputs, report.subject, seed, oracle)
        try:
            _examine(case, wanted, report)
        except RuleViolation as violation:
            if failing and violation.check != next(iter(failing.values())).check:
                return
            violation.details["regime"] = regime
            failing[key] = violation
            raise

    examine()


def _examine(case: Case, checks: dict[str, Callable[[Case], None]], report: RuleReport) -> None:
    if not bool(case.start_outputs.isfinite().all()):
        report.overflowed += 1
        return
    try:
        for check in checks.values():
            check(case)
    except DomainError:
        report.refused += 1
        return
    except RuleViolation:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a rule raises is a finding
        case.fail("runs", f"raised {type(error).__name__}: {error}")
    report.examples += 1
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
