"""Schedules of the weights κ and β of CROWN-IBP training (Zhang et al. 2020, section 3)."""

from __future__ import annotations

import math

from lirpa_core.errors import OptionError
from lirpa_training.schedules.clock import Clock
from lirpa_training.schedules.options import require_ramp


class WeightSchedule(Clock):
    """A weight that goes from one value to another in equal steps.

    For κ, the weight of the clean loss, commonly from 1 to 0 or 0.5 while the radius grows; for β, the weight
    of the backward bounds against interval bounds, from 1 to 0. Both go to `CertifiedLoss`'s call.

    Args:
        before: The weight until epoch `start`.
        after: The weight once `length` epochs have gone by since.
        start: Epoch at whose beginning the change begins; epochs count from 1.
        length: Epochs that it takes.

    Raises:
        OptionError: For a weight outside [0, 1], or a ramp that ends before it starts.
    """

    def __init__(self, before: float, after: float, *, start: float = 1, length: float = 10) -> None:
        super().__init__()
        for name, value in (("before", before), ("after", after)):
            if not (math.isfinite(value) and 0 <= value <= 1):
                raise OptionError(f"{name}={value!r}: expected a weight from 0 to 1.")
        require_ramp(start, length)
        self.before, self.after, self.start, self.length = before, after, start, length

    def get(self) -> float:
        """The weight of the present batch; in evaluation, the last one."""
        if not self.training:
            return self.after
        return self.before + (self.after - self.before) * self.ramp(self.start, self.length)
