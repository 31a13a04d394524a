"""Runs a model that may need gradients to give a value: one that calls `torch.autograd.grad` in `forward`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree  # the public torch.utils.pytree is not in all supported versions


def run(model: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """The model's output, without gradients.

    A model that fails, because nothing is recorded for `torch.autograd.grad` say, is run again as its user would, on inputs
    that require gradients.

    Args:
        model: The model.
        args: Positional inputs.
        kwargs: Keyword inputs.
    """
    with torch.no_grad():
        output = recorded_if_needed(model, args, kwargs)
    return pytree.tree_map_only(Tensor, Tensor.detach, output)


def recorded_if_needed(model: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """The model's output on its inputs as they are, or, where it fails on those, on inputs that require gradients."""
    try:
        return model(*args, **kwargs)
    except Exception as error:  # noqa: BLE001  models raise whatever they like
        try:
            return run_recorded(model, args, kwargs)
        except Exception:  # noqa: BLE001  what the model says of its inputs as they are is what counts
            raise error from None


def run_recorded(model: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """The model's output of inputs that require gradients."""
    with torch.enable_grad():
        args, kwargs = pytree.tree_map_only(Tensor, requiring_grad, (args, dict(kwargs)))
        return model(*args, **kwargs)


def requiring_grad(x: Tensor) -> Tensor:
    """The same numbers in a tensor of its own that gradients are recorded of, where its type allows."""
    return x.detach().requires_grad_() if x.is_floating_point() else x
