"""Modules and functions of a user's that the graph holds as one operator each, so that one rule covers them."""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import FunctionType, MappingProxyType
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

#: What a rule for a whole is registered for: the exact class of modules, or the function.
LeafModuleKey: TypeAlias = type[nn.Module] | FunctionType


@dataclass(frozen=True, eq=False)
class LeafModule:
    """A module or function as the target of a node; calling it computes what the original computes.

    Its arguments are those of `forward` (or of the function) by name. The parameters and buffers of a
    module follow, under their names in the module; one that is called like an argument of `forward`
    gets the prefix `self.`. So they can be perturbed, and trained, like other weights.

    Attributes:
        key: The module's class, or the function.
        function: `forward`, bound to the module, or the function.
        module: The module; None for a function.
        static: Arguments that hold no tensor, as they were given.
        single: Whether the result is one tensor, not a tuple of them.
    """

    key: LeafModuleKey
    function: Callable[..., Any]
    module: nn.Module | None = None
    static: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    single: bool = True

    @classmethod
    def of(cls, target: nn.Module | FunctionType) -> LeafModule:
        """A module or function as it is now, whatever its arguments."""
        if isinstance(target, nn.Module):
            return cls(type(target), target.forward, target)
        return cls(target, target)

    @property
    def signature(self) -> inspect.Signature:
        """Of `forward` without `self`, or of the function."""
        return inspect.signature(self.function)

    def state(self) -> dict[str, Tensor]:
        """Parameters and buffers, by the names of the arguments that stand for them."""
        return {argument: value for argument, _, value in self._state()}

    def _state(self) -> list[tuple[str, str, Tensor]]:
        if self.module is None:
            return []
        taken = self.signature.parameters
        named = [*self.module.named_parameters(), *self.module.named_buffers()]
        return [(f"self.{name}" if name in taken else name, name, value) for name, value in named]

    def __call__(self, **values: Any) -> Any:
        """Run it on values for all of its arguments.

        Returns:
            A tensor, or a tuple of tensors.
        """
        signature = self.signature
        values |= self.static
        given = OrderedDict((name, values[name]) for name in signature.parameters if name in values)
        bound = inspect.BoundArguments(signature, given)
        if self.module is None:
            return self.function(*bound.args, **bound.kwargs)
        state = {
            f"module.{name}": values[argument] for argument, name, _ in self._state() if argument in values
        }
        caller = _Forward(self.module, self.function)
        return torch.func.functional_call(caller, state, bound.args, dict(bound.kwargs))

    def __str__(self) -> str:
        kind = "function" if self.module is None else "module"
        return f"{kind} {self.key.__module__}.{self.key.__qualname__}"


class _Forward(nn.Module):
    """Calls a module's `forward` without its hooks, which are in the graph already."""

    def __init__(self, module: nn.Module, function: Callable[..., Any]) -> None:
        super().__init__()
        self.module = module
        self._function = function

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(*args, **kwargs)
