"""How the radius and the weights of a loss change while a model is trained."""

from lirpa_training.schedules.epsilon import (
    AdaptiveScheduler,
    EpsilonScheduler,
    FixedScheduler,
    LinearScheduler,
    SmoothedScheduler,
)
from lirpa_training.schedules.weight import WeightSchedule

__all__ = [
    "AdaptiveScheduler",
    "EpsilonScheduler",
    "FixedScheduler",
    "LinearScheduler",
    "SmoothedScheduler",
    "WeightSchedule",
]
