"""Tensors and parameters that carry a perturbation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any, TypeVar

from torch import Tensor, nn

from lirpa_core.devices import unreadable
from lirpa_core.errors import PerturbationError
from lirpa_core.perturbations.base import Perturbation

T = TypeVar("T", bound="BoundedTensor")


class BoundedTensor(Tensor):
    """A tensor together with the set of values that it may take.

    It is an ordinary tensor in every computation: results of operations are plain tensors. Copies and
    conversions (`to`, `cuda`, `cpu`, `double`, `float`, `clone`, `detach`, `requires_grad_`, `copy`,
    `pickle`) keep the perturbation and take its tensors along.

    Args:
        x: The nominal value. Memory and gradient history are shared with it.
        ptb: The set around it; None for none yet, and until `ptb` is assigned the tensor is taken to stay as it is.

    Raises:
        PerturbationError: `x` is no floating point tensor, or `ptb` is no `Perturbation`.

    >>> import torch
    >>> from lirpa_core import BoundedTensor, PerturbationLpNorm
    >>> x = BoundedTensor(torch.zeros(1, 3), PerturbationLpNorm(eps=0.1))
    """

    _ptb: Perturbation

    @staticmethod
    def __new__(cls: type[T], x: Tensor, ptb: Perturbation | None = None) -> T:
        _check(cls.__name__, x, ptb, optional=True)
        bounded = x.as_subclass(cls)
        bounded._ptb = ptb  # type: ignore[assignment]  # None until one is assigned
        return bounded

    def __init__(self, x: Tensor, ptb: Perturbation | None = None) -> None:
        super().__init__()

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Sequence[Any], args: Any = (), kwargs: Any = None
    ) -> Any:
        # As a plain tensor would: with no subclass among the types, results are not wrapped again.
        return Tensor.__torch_function__(func, (), args, kwargs)  # type: ignore[no-untyped-call]

    @property
    def ptb(self) -> Perturbation:
        """The set of values that this tensor may take; None where none was given."""
        return self._ptb

    @ptb.setter
    def ptb(self, ptb: Perturbation | None) -> None:
        """Exchange the set."""
        _check(type(self).__name__, self, ptb, optional=True)
        self._ptb = ptb  # type: ignore[assignment]

    @property
    def has_set(self) -> bool:
        """Whether there is a set of values; without one the tensor is an ordinary, fixed one."""
        return self._ptb is not None

    def plain(self) -> Tensor:
        """The nominal value as an ordinary tensor, sharing memory and gradient history."""
        return self.as_subclass(Tensor)

    def _mapped(self: T, function: Callable[..., Tensor], *args: Any, **kwargs: Any) -> T:
        value = function(self.plain(), *args, **kwargs)
        kwargs.pop("memory_format", None)  # is about the value; the perturbation's tensors differ in rank
        if not self.has_set:
            return type(self)(value)
        return type(self)(value, self._ptb.map_tensors(lambda t: function(t, *args, **kwargs)))

    def to(self: T, *args: Any, **kwargs: Any) -> T:
        """Convert or move the tensor and its perturbation."""
        return self._mapped(Tensor.to, *args, **kwargs)

    def cuda(self: T, *args: Any, **kwargs: Any) -> T:
        """Move the tensor and its perturbation to a CUDA device."""
        return self._mapped(Tensor.cuda, *args, **kwargs)

    def cpu(self: T, **kwargs: Any) -> T:  # type: ignore[override]
        """Move the tensor and its perturbation to the CPU."""
        return self._mapped(Tensor.cpu, **kwargs)

    def double(self: T, **kwargs: Any) -> T:
        """Convert the tensor and its perturbation to float64."""
        return self._mapped(Tensor.double, **kwargs)

    def float(self: T, **kwargs: Any) -> T:
        """Convert the tensor and its perturbation to float32."""
        return self._mapped(Tensor.float, **kwargs)

    def clone(self: T, **kwargs: Any) -> T:
        """A copy with the same perturbation."""
        return type(self)(self.plain().clone(**kwargs), self._ptb)

    def detach(self: T) -> T:
        """Without gradient history, the perturbation's tensors included."""
        return self._mapped(Tensor.detach)

    def requires_grad_(self: T, requires_grad: bool = True) -> T:
        """Record gradients with respect to the nominal value, in place."""
        super().requires_grad_(requires_grad)
        return self

    def __deepcopy__(self: T, memo: dict[int, Any]) -> T:
        if id(self) in memo:
            return memo[id(self)]  # type: ignore[no-any-return]
        if not self.is_leaf:
            raise RuntimeError("only tensors created by the user (graph leaves) support deepcopy")
        value = self.plain().detach().clone()
        copied = type(self)(value, deepcopy(self._ptb, memo)).requires_grad_(self.requires_grad)
        memo[id(self)] = copied
        return copied

    def __reduce_ex__(self, protocol: Any) -> Any:
        value = self.plain().detach()
        return _rebuild_tensor, (type(self), value, self._ptb, self.requires_grad and self.is_leaf)

    def __format__(self, format_spec: str) -> str:
        return format(self.plain(), format_spec)

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        what = f", {self._ptb!r}" if self.has_set else ""
        return f"{type(self).__name__}({self.plain()!r}{what})"


class BoundedParameter(nn.Parameter):
    """A parameter together with the set of values that it may take.

    It registers, trains, saves and moves like any parameter. `Module.to` converts the values in place;
    the tensors of the perturbation follow when they are used.

    Args:
        data: The nominal value.
        ptb: The set around it.
        requires_grad: Whether it is trained.

    Raises:
        PerturbationError: `data` is no floating point tensor, or `ptb` is no `Perturbation`.
    """

    _ptb: Perturbation

    @staticmethod
    def __new__(
        cls, data: Tensor, ptb: Perturbation | None = None, requires_grad: bool = True
    ) -> BoundedParameter:
        _check(cls.__name__, data, ptb)
        assert ptb is not None
        parameter = super().__new__(cls, data.detach().as_subclass(Tensor), requires_grad)
        parameter._ptb = ptb
        return parameter

    def __init__(self, data: Tensor, ptb: Perturbation | None = None, requires_grad: bool = True) -> None:
        super().__init__()

    @property
    def ptb(self) -> Perturbation:
        """The set of values that this parameter may take."""
        return self._ptb

    @ptb.setter
    def ptb(self, ptb: Perturbation) -> None:
        """Exchange the set, so that a radius can grow while the parameter is trained."""
        _check(type(self).__name__, self, ptb)
        self._ptb = ptb

    def __deepcopy__(self, memo: dict[int, Any]) -> BoundedParameter:
        if id(self) in memo:
            return memo[id(self)]  # type: ignore[no-any-return]
        copied = type(self)(self.detach().clone(), deepcopy(self._ptb, memo), self.requires_grad)
        memo[id(self)] = copied
        return copied

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _rebuild_parameter, (type(self), self.detach(), self._ptb, self.requires_grad)

    def __repr__(self) -> str:  # type: ignore[override]
        return f"{type(self).__name__}({self.detach()!r}, {self._ptb!r}, requires_grad={self.requires_grad})"


def _check(owner: str, value: Any, ptb: Any, *, optional: bool = False) -> None:
    if not isinstance(value, Tensor):
        raise PerturbationError(f"{owner} needs a tensor, not {type(value).__name__}")
    what = unreadable(value)
    if what is not None:
        raise PerturbationError(f"{owner} was given {what}.")
    if not value.is_floating_point():
        raise PerturbationError(
            f"{owner} needs a floating point tensor, not {value.dtype}: integers cannot be perturbed"
        )
    if not isinstance(ptb, Perturbation) and not (optional and ptb is None):
        given = f"class {ptb.__name__}: give an instance" if isinstance(ptb, type) else type(ptb).__name__
        raise PerturbationError(
            f"{owner} needs ptb to be a Perturbation, such as PerturbationLpNorm(eps=0.1), not {given}"
        )


def _rebuild_tensor(cls: Any, value: Tensor, ptb: Perturbation, requires_grad: bool) -> Any:
    return cls(value, ptb).requires_grad_(requires_grad)


def _rebuild_parameter(cls: Any, value: Tensor, ptb: Perturbation, requires_grad: bool) -> Any:
    return cls(value, ptb, requires_grad)


#: Functions that a saved tensor or parameter is made again by.
SAVED = (_rebuild_tensor, _rebuild_parameter)
