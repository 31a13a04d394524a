"""The ladder that is climbed unless another is given."""

from __future__ import annotations

from lirpa_verify.branching import Heuristics, Smart, heuristics
from lirpa_verify.ladder.attack import Attack
from lirpa_verify.ladder.steps import AttackStep, BoundStep, Step
from lirpa_verify.search import InputSplitting, NeuronSplitting

#: What stands for the heuristic that fits the network.
AUTO = "auto"


def standard_ladder(branching: str = AUTO) -> tuple[Step, ...]:
    """Attack, then bounds from cheap to tight, a thorough attack before the expensive ones, then a search.

    Where few inputs move, the search comes first, and has the thorough attack inside: a few boxes prove most of what can
    be proved, in less time than the attack takes.

    Args:
        branching: Name of the heuristic that splits inputs or neurons; `"auto"`: those that fit.

    Raises:
        BranchingError: If there is no such heuristic.
    """
    chosen = Heuristics() if branching == AUTO else heuristics(branching)
    thorough = Attack(steps=60, restarts=24, samples=200_000, chosen=1000)
    return (
        AttackStep(Attack(steps=20, restarts=3, samples=1024)),
        BoundStep("IBP", "IBP"),
        BoundStep("CROWN-IBP", "CROWN-IBP"),
        BoundStep("CROWN", "CROWN"),
        InputSplitting(chosen.inputs or Smart(), attack=thorough),
        AttackStep(thorough, "long attack", guide="CROWN-IBP"),
        BoundStep("α-CROWN", "CROWN-Optimized", iterations=20),
        NeuronSplitting(chosen.neurons),
    )
