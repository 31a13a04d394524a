"""The ladder: attack, then bounds from cheap to tight, then branch and bound."""

from lirpa_verify.ladder.attack import Attack
from lirpa_verify.ladder.climb import StepRecord, climb
from lirpa_verify.ladder.progress import Progress
from lirpa_verify.ladder.steps import AttackStep, BoundStep, Context, Report, State, Step, silent

__all__ = [
    "Attack",
    "AttackStep",
    "BoundStep",
    "Context",
    "Progress",
    "Report",
    "State",
    "Step",
    "StepRecord",
    "climb",
    "silent",
]
