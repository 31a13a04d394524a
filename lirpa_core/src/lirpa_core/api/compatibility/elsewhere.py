"""Names that programs for auto_LiRPA import, and that are in another package, or not there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

_TRAINING = "from lirpa_training import {}"
_SETS = "from lirpa_perturbations import {}"
_SCHEDULE = (
    "not there: LinearScheduler and SmoothedScheduler of lirpa_training grow a radius, and any other schedule is a "
    "number that ptb.set_eps(...) takes"
)

#: By name: where it is, or why it is not there.
_ELSEWHERE: Mapping[str, str] = {
    **dict.fromkeys(
        (
            "CrossEntropyWrapper", "CrossEntropyWrapperMultiInput", "MultiAverageMeter", "sync_params", "scale_gradients",
            "LinearScheduler", "SmoothedScheduler", "AdaptiveScheduler", "FixedScheduler",
        ),
        _TRAINING,
    ),
    **dict.fromkeys(("PerturbationL0Norm", "PerturbationSynonym"), _SETS),
    **dict.fromkeys(("RangeScheduler", "BiLinearScheduler"), _SCHEDULE),
    "PerturbationLinear": (
        "not there: where the set is an affine image of a few parameters, lirpa_perturbations.PerturbationAffine is it, "
        "exactly; otherwise put the two affine functions into the model, and perturb their input"
    ),
    "Bound": "not there: an operator has a rule and no class; see 'Custom operators' in docs/migrating.md",
}  # fmt: skip


def explain(name: str, module: str) -> NoReturn:
    """Refuse a name that a module lacks, and say where it is.

    Args:
        name: The name.
        module: The module.

    Raises:
        ImportError: If it is a name that is known to be elsewhere; `from module import name` shows its text.
        AttributeError: For any other name.
    """
    where = _ELSEWHERE.get(name)
    if where is None and name.startswith("Bound") and name[5:6].isupper():
        where = _ELSEWHERE["Bound"]
    if where is None:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    raise ImportError(f"{name} of auto_LiRPA: {where.format(name)}.")
