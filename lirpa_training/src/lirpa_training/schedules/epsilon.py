"""Schedules of the perturbation radius, under the names and options that users of auto_LiRPA know."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from lirpa_core.errors import OptionError
from lirpa_training.schedules.clock import Clock
from lirpa_training.schedules.options import parse, require, require_ramp


class EpsilonScheduler(Clock, ABC):
    """A radius that grows to `max_eps` while training goes on; in evaluation it is `max_eps`.

    Args:
        max_eps: The largest radius.

    Raises:
        OptionError: For a negative radius or a wrong option.
    """

    def __init__(self, max_eps: float) -> None:
        super().__init__()
        if not (isinstance(max_eps, (int, float)) and math.isfinite(max_eps) and max_eps >= 0):
            raise OptionError(f"max_eps={max_eps!r}: expected a radius, finite and not negative.")
        self.max_eps = float(max_eps)

    def get_eps(self) -> float:
        """The radius of the present batch."""
        return self._eps() if self.training else self.max_eps

    def get_max_eps(self) -> float:
        """The largest radius."""
        return self.max_eps

    def reached_max_eps(self) -> bool:
        """Whether the radius is the largest one."""
        return abs(self._eps() - self.max_eps) <= 1e-9 * max(1.0, self.max_eps)

    def update_loss(self, loss: float) -> None:
        """Tell the schedule the loss of a batch; only `AdaptiveScheduler` heeds it."""

    @abstractmethod
    def _eps(self) -> float:
        """The radius while training."""


class FixedScheduler(EpsilonScheduler):
    """The largest radius from the beginning.

    Args:
        max_eps: The radius.
        opt_str: Nothing; for the form that the other schedules have.
    """

    def __init__(self, max_eps: float, opt_str: str = "") -> None:
        super().__init__(max_eps)
        parse(_NoOptions, opt_str, {})

    def _eps(self) -> float:
        return self.max_eps


class LinearScheduler(EpsilonScheduler):
    """Zero until epoch `start`, then in equal steps to the largest radius within `length` epochs.

    Args:
        max_eps: The largest radius.
        opt_str: Options in one string.
        **options: `start` (epochs count from 1; default 1) and `length` (default 10), in epochs.

    >>> schedule = LinearScheduler(0.4, "start=2,length=2")
    >>> schedule.set_epoch_length(2)
    >>> found = []
    >>> for epoch in range(4):
    ...     schedule.step_epoch()
    ...     for batch in range(2):
    ...         schedule.step_batch()
    ...         found.append(round(schedule.get_eps(), 3))
    >>> found
    [0.0, 0.0, 0.1, 0.2, 0.3, 0.4, 0.4, 0.4]
    """

    def __init__(self, max_eps: float, opt_str: str = "", **options: Any) -> None:
        super().__init__(max_eps)
        self.options = parse(_Ramp, opt_str, options)

    def _eps(self) -> float:
        return self.max_eps * self.ramp(self.options.start, self.options.length)


class SmoothedScheduler(EpsilonScheduler):
    """A power of the time first, and a straight line with the same slope after.

    The gentle beginning follows Xu et al. 2020 (appendix on training).

    With `s` the part of the ramp that has gone by, the radius grows as `s ** beta` while `s < mid`, and
    then linearly, without a corner, to the largest radius at `s = 1`.

    Args:
        max_eps: The largest radius.
        opt_str: Options in one string.
        **options: `start` (default 1) and `length` (default 10) in epochs, `mid` in (0, 1] (default 0.25), and
            the exponent `beta`, at least 1 (default 4).
    """

    def __init__(self, max_eps: float, opt_str: str = "", **options: Any) -> None:
        super().__init__(max_eps)
        self.options = parse(_Smooth, opt_str, options)

    def _eps(self) -> float:
        mid, beta = float(self.options.mid), float(self.options.beta)
        s = self.ramp(self.options.start, self.options.length)
        slope = beta * mid ** (beta - 1)
        whole = mid**beta + slope * (1 - mid)  # what the curve below would reach at s = 1
        reached = s**beta if s < mid else mid**beta + slope * (s - mid)
        return self.max_eps * min(1.0, float(reached / whole))


class AdaptiveScheduler(EpsilonScheduler):
    """Grows by a step after each batch: the larger the more the loss fell, the smallest where it rose.

    Args:
        max_eps: The largest radius.
        opt_str: Options in one string.
        **options: `start`, the epoch before which the radius is zero (default 1); `min_step` and `max_step`, the
            limits of a step (defaults: a ten-thousandth and a hundredth of `max_eps`); `sensitivity`, radius
            gained for a loss that fell by one (default: `max_step`).
    """

    def __init__(self, max_eps: float, opt_str: str = "", **options: Any) -> None:
        super().__init__(max_eps)
        self.options = parse(_Adaptive, opt_str, options)
        self.eps = 0.0
        self.last_loss: float | None = None

    @property
    def _steps(self) -> tuple[float, float]:
        low = 1e-4 * self.max_eps if self.options.min_step is None else self.options.min_step
        high = max(low, 1e-2 * self.max_eps) if self.options.max_step is None else self.options.max_step
        return low, high

    def update_loss(self, loss: float) -> None:
        """Take a step: tell the schedule the loss of the batch just done.

        Raises:
            OptionError: If the loss is not finite.
        """
        if not self.training or self.epoch < self.options.start:
            return
        if not math.isfinite(loss):
            raise OptionError(f"update_loss({loss!r}): the loss must be finite.")
        low, high = self._steps
        gained = 0.0 if self.last_loss is None else max(0.0, self.last_loss - loss)
        factor = high if self.options.sensitivity is None else self.options.sensitivity
        self.eps = min(self.max_eps, self.eps + min(high, max(low, factor * gained)))
        self.last_loss = float(loss)

    def _eps(self) -> float:
        return self.eps

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "eps": self.eps, "last_loss": self.last_loss}


@dataclass(frozen=True)
class _NoOptions:
    pass


@dataclass(frozen=True)
class _Ramp:
    start: float = 1
    length: float = 10

    def __post_init__(self) -> None:
        require_ramp(self.start, self.length)


@dataclass(frozen=True)
class _Smooth(_Ramp):
    mid: float = 0.25
    beta: float = 4.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.mid <= 1, "mid", self.mid, "a part of the ramp, above 0 and at most 1")
        require(math.isfinite(self.beta) and self.beta >= 1, "beta", self.beta, "an exponent of at least 1")


@dataclass(frozen=True)
class _Adaptive:
    start: float = 1
    min_step: float | None = None
    max_step: float | None = None
    sensitivity: float | None = None

    def __post_init__(self) -> None:
        require_ramp(self.start, 0)
        for name in ("min_step", "max_step", "sensitivity"):
            value = getattr(self, name)
            require(value is None or (math.isfinite(value) and value > 0), name, value, "a positive number")
        if self.min_step is not None and self.max_step is not None:
            require(self.min_step <= self.max_step, "min_step", self.min_step, "at most max_step")
