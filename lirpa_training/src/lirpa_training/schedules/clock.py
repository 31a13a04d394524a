"""Where training stands, in epochs and batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lirpa_core.errors import OptionError


class Clock:
    """Counts epochs from 1, and batches within one.

    Call `set_epoch_length` once, `step_epoch` before each epoch and `step_batch` before each batch.
    """

    def __init__(self) -> None:
        self.epoch = 0
        self.batch = 0
        self.epoch_length = 1
        self.training = True

    def train(self) -> None:
        """Let epochs and batches count."""
        self.training = True

    def eval(self) -> None:
        """Let nothing count until `train`."""
        self.training = False

    def set_epoch_length(self, batches: int) -> None:
        """State how many batches an epoch has.

        Raises:
            OptionError: If that is not a positive whole number.
        """
        if not isinstance(batches, int) or batches < 1:
            raise OptionError(f"set_epoch_length({batches!r}): expected a positive whole number of batches.")
        self.epoch_length = batches

    def step_epoch(self) -> None:
        """Begin the next epoch."""
        if self.training:
            self.epoch += 1
            self.batch = 0

    def step_batch(self) -> None:
        """Begin the next batch."""
        if self.training:
            self.batch += 1

    def ramp(self, start: float, length: float) -> float:
        """The part of a ramp that has gone by at the end of the present batch, from 0 to 1.

        Args:
            start: Epoch at whose beginning it begins.
            length: How many epochs it takes.
        """
        if self.epoch < start:
            return 0.0
        done = self.epoch - start + min(self.batch, self.epoch_length) / self.epoch_length
        return 1.0 if length == 0 else min(1.0, done / length)

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to go on."""
        return {"epoch": self.epoch, "batch": self.batch, "epoch_length": self.epoch_length}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where a `state_dict` was taken.

        Raises:
            OptionError: If the state is of another kind of schedule.
        """
        known = self.state_dict()
        if set(state) != set(known):
            raise OptionError(
                f"the state is not one of {type(self).__name__}: it has {sorted(state)}, expected {sorted(known)}."
            )
        for name, value in state.items():
            setattr(self, name, value)
