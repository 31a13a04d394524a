"""A batch's inputs with the perturbation on the right one."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from lirpa_core import BoundedTensor, Perturbation
from lirpa_core.errors import InputError


def perturb(x: Any, perturbation: Perturbation | None) -> tuple[Any, ...]:
    """The model's positional inputs, the first plain floating point tensor with the perturbation on it.

    Args:
        x: An input, or a tuple of them.
        perturbation: The set; None leaves the inputs as they are.

    Raises:
        InputError: If no input can take the perturbation.
    """
    inputs = tuple(x) if isinstance(x, (tuple, list)) else (x,)
    if perturbation is None:
        return inputs
    for place, value in enumerate(inputs):
        plain = isinstance(value, Tensor) and value.is_floating_point()
        if plain and not (isinstance(value, BoundedTensor) and value.has_set):
            return (*inputs[:place], BoundedTensor(value, perturbation), *inputs[place + 1 :])
    raise InputError("a perturbation was given, but no input is a floating point tensor without one.")
