"""`torch.inference_mode()`: tensors made there take no part in a search by gradient, so bounds are computed outside of it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree  # the public torch.utils.pytree is not in all supported versions

from lirpa_core.perturbations.tensors import BoundedTensor

F = TypeVar("F", bound=Callable[..., Any])


def outside_inference_mode(method: F) -> F:
    """A method of a module that leaves inference mode, if it is called there, for `torch.no_grad()`.

    A model that was itself made in inference mode stays there: then CROWN-Optimized keeps the slopes of CROWN.

    Args:
        method: The method; its tensors are copied then, because those of inference mode cannot be used elsewhere.
    """

    @functools.wraps(method)
    def outside(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        if (
            torch.compiler.is_compiling()
            or not torch.is_inference_mode_enabled()
            or _is_of_inference_mode(self)
        ):
            return method(self, *args, **kwargs)
        with torch.inference_mode(False), torch.no_grad():
            args, kwargs = pytree.tree_map_only(Tensor, _copied, (args, kwargs))
            return method(self, *args, **kwargs)

    return cast("F", outside)


def _is_of_inference_mode(module: nn.Module) -> bool:
    return any(x.is_inference() for x in (*module.parameters(), *module.buffers()))


def _copied(x: Tensor) -> Tensor:
    if isinstance(x, BoundedTensor) and x.has_set:
        return type(x)(x.plain().clone(), x.ptb.map_tensors(torch.clone))
    return x.clone()
