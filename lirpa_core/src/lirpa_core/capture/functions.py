"""Functions as models: `BoundedModule(torch.sin, x)`, a lambda, a `functools.partial`, a method, what `vmap` returns."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

from torch import nn


class FunctionModule(nn.Module):
    """A module that calls a function.

    Modules that the function holds, as the owner of a method, in a `partial` or in its closure, are submodules, so that
    their parameters are the model's.

    Args:
        function: Anything that can be called.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function
        modules = {id(module): module for module in _held(function)}
        self.training = any([module.training for module in modules.values()])
        for number, module in enumerate(modules.values()):
            self.add_module(f"module_{number}", module)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        return _as_forward(self.function)(*args, **kwargs)


def _as_forward(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function under the name of `forward`: of the lines that an operator comes from PyTorch notes those of such functions."""
    if not inspect.isfunction(function):
        return function
    code = function.__code__.replace(co_name="forward")
    named = FunctionType(code, function.__globals__, "forward", function.__defaults__, function.__closure__)
    named.__kwdefaults__ = function.__kwdefaults__
    return named


def _held(function: Any, depth: int = 8) -> Iterator[nn.Module]:
    """The modules that a function holds, also those of functions in it."""
    if isinstance(function, nn.Module):
        yield function
        return
    if depth == 0:
        return
    parts: list[Any] = []
    if isinstance(function, functools.partial):
        parts = [function.func, *function.args, *function.keywords.values()]
    elif inspect.ismethod(function):
        parts = [function.__self__]
    elif inspect.isfunction(function):
        parts = [cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell)]
        parts += function.__defaults__ or ()
    for part in parts:
        if callable(part) and not isinstance(part, type):
            yield from _held(part, depth - 1)


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018  raises where the variable has no value yet
    except ValueError:
        return False
    return True
