"""The check `proof`: what samples cannot show about a unary rule, ball arithmetic can."""

from __future__ import annotations

from lirpa_testing.proof import Refuted, prove_bounds, resolve
from lirpa_testing.rules.case import Case

#: At most so many elements of a batch of boxes are proved, evenly spread: a fraction of a second.
_ELEMENTS = 512

_SAYS = {
    "lower line": "a value lies below the lower affine function",
    "upper line": "a value lies above the upper affine function",
    "lower end": "a value lies below the interval",
    "upper end": "a value lies above the interval",
}


def check_proof(case: Case) -> None:
    """Of a unary operator with an oracle, the interval and both lines hold everywhere, by ball arithmetic."""
    if resolve(case.call, case.oracle) is None:
        return
    proof = prove_bounds(
        case.call,
        case.inputs[0],
        case.interval if case.has_interval else None,
        case.relaxation if case.has_lines else None,
        case.oracle,
        elements=_ELEMENTS,
    )
    case.counts["proved"] += proof.proved
    worst = proof.refuted
    if worst is None or not isinstance(worst.verdict, Refuted):
        return
    shown = {"output element": list(worst.index[1:]), "point": repr(worst.verdict.point)}
    if worst.claim.endswith("line"):
        shown["line"] = f"{worst.line.slope!r} * x + {worst.line.bias!r}"
    else:
        shown["bound"] = repr(worst.line.bias)
    case.fail(
        "proof",
        f"by proof, {_SAYS[worst.claim]} by {worst.verdict.amount:.3g} more than rounding allows",
        mode="relax" if worst.claim.endswith("line") else "interval",
        amount=worst.verdict.amount,
        example=worst.index[0],
        details=shown,
    )
