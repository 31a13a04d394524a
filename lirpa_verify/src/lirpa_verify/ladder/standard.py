"""The ladder that is climbed unless another is given."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from lirpa_verify.branching import Heuristics, Smart, heuristics
from lirpa_verify.ladder.attack import Attack
from lirpa_verify.ladder.steps import AttackStep, BoundStep, Step
from lirpa_verify.search import InputSplitting, NeuronSplitting

#: What stands for the heuristic that fits the network.
AUTO = "auto"

#: Boxes of the search before the thorough attack.
_FIRST_BOXES: Final = 512


def standard_ladder(branching: str = AUTO) -> tuple[Step, ...]:
    """Attack, then bounds from cheap to tight, a thorough attack before the expensive ones, then a search.

    Where few inputs move, a search that takes about as long as the thorough attack comes before it: it decides most of
    what can be proved, and attacks as well.

    Args:
        branching: Name of the heuristic that splits inputs or neurons; `"auto"`: those that fit.

    Raises:
        BranchingError: If there is no such heuristic.
    """
    chosen = Heuristics() if branching == AUTO else heuristics(branching)
    splitting = InputSplitting(chosen.inputs or Smart())
    return (
        AttackStep(Attack(steps=20, restarts=3, samples=1024)),
        BoundStep("IBP", "IBP"),
        BoundStep("CROWN-IBP", "CROWN-IBP"),
        BoundStep("CROWN", "CROWN"),
        replace(splitting, name="first splits", most_boxes=_FIRST_BOXES),
        AttackStep(
            Attack(steps=60, restarts=24, samples=200_000, chosen=1000), "long attack", guide="CROWN-IBP"
        ),
        splitting,
        BoundStep("α-CROWN", "CROWN-Optimized", iterations=20),
        NeuronSplitting(chosen.neurons),
    )
