"""Notices whether a model differentiates while it computes its value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._C._functorch import TransformType, get_interpreter_stack  # no public function tells
from torch.overrides import TorchFunctionMode

from lirpa_core.capture.derivatives.running import run_recorded
from lirpa_core.errors import CaptureError

#: Functions by which derivatives are taken without `torch.func`.
_DIFFERENTIATING = (torch.autograd.grad, torch._VF._make_dual)  # behind torch.autograd.forward_ad.make_dual


@dataclass(frozen=True)
class Noticed:
    """How a model computes its value.

    Attributes:
        differentiates: Whether it takes derivatives.
        maps: Whether it maps a function over a dimension by `torch.func.vmap`.
        recorded: Whether it was run on inputs that require gradients, because it fails on others.
    """

    differentiates: bool = False
    maps: bool = False
    recorded: bool = False


class _Noticing(TorchFunctionMode):
    """Looks at every function of a tensor that a model calls."""

    def __init__(self) -> None:
        super().__init__()
        self.differentiates = self.maps = False

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        levels = {level.key() for level in get_interpreter_stack() or ()}
        self.maps |= TransformType.Vmap in levels
        self.differentiates |= not levels.isdisjoint((TransformType.Grad, TransformType.Jvp))
        self.differentiates |= func in _DIFFERENTIATING
        if func in (Tensor.backward, torch.autograd.backward):
            raise CaptureError(
                "forward() calls backward(), which adds to the gradients of the parameters whenever the model runs. Take "
                "the derivative as a value: torch.autograd.grad(y.sum(), x, create_graph=True) or torch.func.grad."
            )
        return func(*args, **(kwargs or {}))


def noticed(model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Noticed:
    """Run a model, and notice what it does.

    Args:
        model: The model.
        args: Positional inputs.
        kwargs: Keyword inputs.

    Raises:
        CaptureError: If the model changes gradients when it runs.
        Exception: The model's own.
    """
    mode = _Noticing()
    try:
        with torch.no_grad(), mode:
            model(*args, **kwargs)
    except CaptureError:
        raise
    except Exception as error:  # noqa: BLE001  models raise whatever they like
        try:
            with mode:
                run_recorded(model, args, kwargs)
        except Exception:  # noqa: BLE001  what the model says of its inputs as they are is what counts
            raise error from None
        return Noticed(mode.differentiates, mode.maps, True)
    return Noticed(mode.differentiates, mode.maps, False)
