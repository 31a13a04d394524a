"""What the kit says: violations that name what is wrong, and reports of what was tried."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

_SHOWN = 24


class Violation(AssertionError):  # noqa: N818 - the sentence reads better
    """A promise of an interface does not hold.

    Attributes:
        subject: What was checked: the operator and its rule, the perturbation, or the structure.
        check: Short name of the promise.
        what: What is wrong, in a sentence.
        details: Everything needed to see it again: shapes, the box, the point.
        amount: By how much, where that makes sense.
    """

    def __init__(
        self,
        subject: str,
        check: str,
        what: str,
        details: Mapping[str, Any] | None = None,
        amount: float | None = None,
    ) -> None:
        self.subject = subject
        self.check = check
        self.what = what
        self.details = dict(details or {})
        self.amount = amount
        lines = [f"{subject}: {what} [check: {check}]"]
        lines += [f"  {name}: {show(value)}" for name, value in self.details.items()]
        super().__init__("\n".join(lines))


class RuleViolation(Violation):
    """A rule is unsound, inexact where it must be exact, or breaks the interface of rules.

    Attributes:
        mode: `"interval"`, `"relax"`, or `""` where the violation concerns no mode in particular.
    """

    def __init__(
        self,
        subject: str,
        check: str,
        what: str,
        details: Mapping[str, Any] | None = None,
        amount: float | None = None,
        mode: str = "",
    ) -> None:
        self.mode = mode
        extra = {"mode": mode} if mode else {}
        super().__init__(subject, check, what, extra | dict(details or {}), amount)


class PerturbationViolation(Violation):
    """A perturbation is unsound, not exact, or breaks its interface."""


class CoefficientsViolation(Violation):
    """A structure of coefficients disagrees with its own dense form."""


@dataclass
class RuleReport:
    """What `check_rule` tried.

    Attributes:
        subject: Operator and rule.
        modes: Modes of the rule.
        examples: Boxes on which everything was checked.
        refused: Boxes that the rule refused with a `DomainError`.
        overflowed: Boxes on which the operator itself is not finite, where only NaN counts.
        proved: Elements of boxes on which the interval and both lines are proved to hold everywhere.
        sampled: Elements that were only sampled: for want of an oracle, or because the proof was not to end.
        compiled: How often the bounds that `torch.compile` computes were compared with those without it.
        gaps: Per mode, the smallest and the largest mean gap found, relative to the values' scale.
    """

    subject: str
    modes: tuple[str, ...]
    examples: int = 0
    refused: int = 0
    overflowed: int = 0
    proved: int = 0
    sampled: int = 0
    compiled: int = 0
    gaps: dict[str, tuple[float, float]] = field(default_factory=dict)

    def record_gap(self, mode: str, gap: float) -> None:
        """Widen the range of gaps seen in a mode."""
        low, high = self.gaps.get(mode, (gap, gap))
        self.gaps[mode] = min(low, gap), max(high, gap)

    def record_proofs(self, proved: int, elements: int) -> None:
        """Count a box of so many elements, some of them proved."""
        self.proved += proved
        self.sampled += elements - proved

    def __str__(self) -> str:
        gaps = ", ".join(f"{mode} {low:.3g} to {high:.3g}" for mode, (low, high) in self.gaps.items())
        return (
            f"{self.subject}: {self.examples} boxes checked, {self.refused} refused, "
            f"{self.overflowed} overflowed; {self.proved} elements proved, {self.sampled} sampled; relative gaps: {gaps or 'none'}"
        )


@dataclass(frozen=True)
class PerturbationReport:
    """What `check_perturbation` found.

    Attributes:
        subject: The perturbation.
        rows: Number of linear forms minimised over the set.
        gap: Largest difference between a minimum claimed and the best point an attack found, relative
            to how far the form can move over the set.
    """

    subject: str
    rows: int
    gap: float

    def __str__(self) -> str:
        return f"{self.subject}: {self.rows} forms minimised, largest gap to an attack {self.gap:.3g}"


def show(value: Any) -> str:
    """A value in one line; large tensors by shape and range."""
    if isinstance(value, Tensor):
        value = value.detach()
        if value.numel() <= _SHOWN or not value.is_floating_point():
            return str(value.tolist()) if value.numel() <= _SHOWN else f"tensor of shape {list(value.shape)}"
        finite = value[torch.isfinite(value)]
        span = f" in [{finite.min().item():g}, {finite.max().item():g}]" if finite.numel() else ""
        return f"tensor of shape {list(value.shape)}{span}"
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value)
