"""Small helpers that training programs written for auto_LiRPA import."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from lirpa_core.errors import InputError, OptionError


class MultiAverageMeter:
    """Running averages by name.

    >>> meter = MultiAverageMeter()
    >>> meter.update("loss", 2.0, n=3)
    >>> meter.update("loss", 4.0)
    >>> meter.avg("loss"), meter.lasts("loss")
    (2.5, 4.0)
    >>> meter
    loss=2.5000
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.sums: dict[str, float] = {}
        self.counts: dict[str, int] = {}
        self.last: dict[str, float] = {}

    def update(self, key: str, val: float | Tensor, n: int = 1) -> None:
        """Count a value `n` times.

        Args:
            key: The name.
            val: A number; a tensor of one element is read.
            n: How often it counts, such as the number of examples that it is a mean of.
        """
        number = float(val.detach()) if isinstance(val, Tensor) else float(val)
        self.last[key] = number
        self.sums[key] = self.sums.get(key, 0.0) + number * n
        self.counts[key] = self.counts.get(key, 0) + n

    def avg(self, key: str) -> float:
        """The average of a name; 0 where nothing was counted."""
        count = self.counts.get(key, 0)
        return self.sums[key] / count if count else 0.0

    def lasts(self, key: str) -> float:
        """The last value of a name; 0 where there is none."""
        return self.last.get(key, 0.0)

    def __repr__(self) -> str:
        return " ".join(f"{key}={self.avg(key):.4f}" for key in self.sums)


def scale_gradients(
    optimizer: torch.optim.Optimizer, gradient_accumulation_steps: int, grad_clip: float | None = None
) -> None:
    """Divide the gradients of an optimiser's parameters by a number of steps, in place, and limit their norm.

    Args:
        optimizer: The optimiser.
        gradient_accumulation_steps: How many backward passes have been summed up.
        grad_clip: Largest norm of all gradients together; None: no limit.

    Raises:
        OptionError: If the number of steps is not positive.
    """
    if gradient_accumulation_steps < 1:
        raise OptionError(
            f"scale_gradients({gradient_accumulation_steps=}): expected a positive whole number."
        )
    parameters = list(_parameters(optimizer))
    with torch.no_grad():
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad.div_(gradient_accumulation_steps)
    if grad_clip is not None:
        nn.utils.clip_grad_norm_(parameters, grad_clip)


def _parameters(optimizer: torch.optim.Optimizer) -> Iterable[Tensor]:
    return (parameter for group in optimizer.param_groups for parameter in group["params"])


def sync_params(model_ori: nn.Module, model_loss: nn.Module, loss_fusion: bool) -> Mapping[str, Tensor]:
    """The state of a model that may have been trained inside of a `CrossEntropyWrapper`.

    A `BoundedModule` shares the parameters of the module it is made of, so this copies something only where the two were
    made of different modules.

    Args:
        model_ori: The model.
        model_loss: The wrapped model, whose names begin with `model.`; read where `loss_fusion`.
        loss_fusion: Whether the wrapped model was trained.

    Returns:
        `model_ori.state_dict()`, after the copy.

    Raises:
        InputError: If `model_loss` is not such a wrapper.
    """
    if not loss_fusion:
        return model_ori.state_dict()
    state = model_loss.state_dict()
    if any(not name.startswith("model.") for name in state):
        raise InputError(
            f"sync_params(loss_fusion=True) expects a model in a CrossEntropyWrapper, whose names begin with 'model.'; "
            f"there are {sorted(state)[:4]}."
        )
    model_ori.load_state_dict({name.removeprefix("model."): value for name, value in state.items()})
    return model_ori.state_dict()
