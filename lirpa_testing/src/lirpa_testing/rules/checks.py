"""Everything that is asserted about a rule on one box, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import torch

from lirpa_core.errors import DomainError
from lirpa_testing.report import RuleReport, RuleViolation
from lirpa_testing.rules import (
    compiling,
    consistency,
    differences,
    operator_checks,
    proving,
    slopes,
    soundness,
)
from lirpa_testing.rules.case import Case

#: Every check by name, in the order in which they run: what a later one relies on comes first.
CHECKS: Final[dict[str, Callable[[Case], None]]] = {
    "declarations": consistency.check_declarations,
    "purity": consistency.check_purity,
    "results": soundness.check_results,
    "finite": soundness.check_finite,
    "linear operator": operator_checks.check_linear_ops,
    "interval": soundness.check_interval,
    "lines": soundness.check_lines,
    "slopes": slopes.check_slopes,
    "proof": proving.check_proof,
    "affine": soundness.check_affine,
    "degenerate": soundness.check_degenerate,
    "shrinking": soundness.check_shrinking,
    "batch": consistency.check_batch,
    "shared": consistency.check_shared,
    "gradients": consistency.check_gradients,
    "differences": differences.check_differences,
    "unstable inputs": consistency.check_unstable_inputs,
    "float32": consistency.check_float32,
    "compiled": compiling.check_compiled,
}

#: Checks that a profile leaves out, by the name of its field that says so.
OPTIONAL = {"proof": "prove", "compiled": "compiled"}


def examine(case: Case, checks: Mapping[str, Callable[[Case], None]], report: RuleReport) -> None:
    """Run checks on one batch of boxes.

    Args:
        case: The boxes.
        checks: Which of `CHECKS`, in their order.
        report: Where what was tried is noted.

    Raises:
        RuleViolation: The first promise that does not hold.
    """
    finite = consistency.finite_examples(case)
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
