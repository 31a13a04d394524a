"""The search for a box on which a rule breaks a promise: random ones first, then the simplest that fails."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import hypothesis
import torch
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st

from lirpa_core.linear import Interval
from lirpa_core.rules import Call, Rule
from lirpa_testing.profiles import Profile
from lirpa_testing.proof import GivenOracle
from lirpa_testing.report import RuleReport, RuleViolation
from lirpa_testing.rules.case import Case
from lirpa_testing.rules.checks import examine
from lirpa_testing.rules.domains import Domain
from lirpa_testing.rules.strategies import operand_boxes, random_boxes

#: Largest batch in which a failure is shown: small boxes are easier to read.
_SHOWN_BATCH = 3
_SHRINKS = 40
_SEARCHED = 60


@dataclass(frozen=True)
class Kinds:
    """What boxes are drawn from, whatever their regime."""

    kinks: tuple[float, ...]
    domains: tuple[Domain, ...]

    def random(self, call: Call, regime: str | Sequence[str], seed: str) -> tuple[Interval, ...]:
        return random_boxes(
            call.shapes, seed, batch=call.batch, regime=regime, kinks=self.kinks, domains=self.domains
        )

    def strategy(self, call: Call, regime: str) -> st.SearchStrategy[tuple[Interval, ...]]:
        return operand_boxes(
            call.shapes, batch=call.batch, regime=regime, kinks=self.kinks, domains=self.domains
        )


@dataclass(frozen=True, eq=False)
class Search:
    """One rule on one call: draws boxes and examines them."""

    rule: Rule
    call: Call
    checks: Mapping[str, Callable[[Case], None]]
    seed: int
    plan: Profile
    report: RuleReport
    oracle: GivenOracle | None

    def draw_many(self, kinds: Kinds, regime: str, count: int) -> None:
        """Examine batches of random boxes; after a failure, let Hypothesis look for a simple box that fails so."""
        for k in range(count):
            case = self._case(kinds.random(self.call, regime, f"{self.seed} {regime} {k}"))
            found = self._violation(case, self.checks, self.report, regime)
            if found is not None:
                self._minimise(kinds, regime, case, found)
                raise found

    def draw_together(self, kinds: Kinds, regimes: Sequence[str], count: int) -> None:
        """As `draw_many`, for batches whose examples are of one regime after the other."""
        for k in range(count):
            case = self._case(kinds.random(self.call, regimes, f"{self.seed} {' '.join(regimes)} {k}"))
            refused = self.report.refused
            found = self._violation(case, self.checks, self.report, "together")
            if found is None and self.report.refused == refused:
                continue
            # What one regime's boxes do, be it that the rule refuses them, is not to hide what the others do.
            self.report.refused = refused
            for i, regime in enumerate(regimes[: case.batch]):
                part = case.only(torch.arange(i, case.batch, len(regimes)))
                alone = self._violation(part, self.checks, self.report, regime)
                if alone is not None:
                    self._minimise(kinds, regime, part, alone)
                    raise alone
            if found is not None:
                raise found

    def _minimise(self, kinds: Kinds, regime: str, case: Case, found: RuleViolation) -> None:
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
            examine(case, checks, report)
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
        def look(drawn: tuple[Interval, ...] | Interval) -> None:
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
                examine(self._case(inputs), wanted, self.report)
            except RuleViolation as violation:
                if failing and violation.check != next(iter(failing.values())).check:
                    return
                violation.details["regime"] = regime
                failing[key] = violation
                raise

        try:
            look()
        except RuleViolation as violation:
            violation.__notes__ = []  # Hypothesis' own words for the box, which the message shows
            raise
