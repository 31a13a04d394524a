"""Products in full precision: bounds hold for factors that nobody rounds on the way.

PyTorch may round the factors of a product in float32 to fewer bits: to TF32 (11 bits) on CUDA, which it does by default
for convolutions and recurrent layers, and to bfloat16 or TF32 on CPUs that multiply these faster, after
`torch.set_float32_matmul_precision("medium")` or `("high")`. A bound that was computed so is none: its error is thousands
of times that of float32, for which `rounding="outward"` accounts.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import torch

F = TypeVar("F", bound=Callable[..., Any])

_FULL = ("none", "ieee")
_CUDNN: Any = torch.backends.cudnn
#: Backend, kind of product, and the public object with the switch `fp32_precision`.
_ON_CPU: tuple[tuple[str, str, Any], ...] = (
    ("mkldnn", "matmul", torch.backends.mkldnn.matmul),  # type: ignore[attr-defined]
    ("mkldnn", "conv", torch.backends.mkldnn.conv),  # type: ignore[attr-defined]
    ("mkldnn", "rnn", torch.backends.mkldnn.rnn),  # type: ignore[attr-defined]
)
_ON_CUDA: tuple[tuple[str, str, Any], ...] = (
    ("cuda", "matmul", torch.backends.cuda.matmul),
    ("cuda", "conv", _CUDNN.conv),
    ("cuda", "rnn", _CUDNN.rnn),
)
_SWITCHES = _ON_CPU if torch.version.cuda is None and torch.version.hip is None else _ON_CPU + _ON_CUDA
#: Reads a switch; the public property takes five times as long.
_read: Callable[[str, str], str] = torch._C._get_fp32_precision_getter


@dataclass(eq=False)
class _Switches:
    """PyTorch's switches are of the process: the first who needs full precision sets them, the last one sets them back.

    Attributes:
        holders: How many computations need full precision now.
        changed: Switches that were set, and to what they are to be set back.
    """

    holders: int = 0
    changed: list[tuple[Any, str]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def hold(self) -> None:
        """Set what may shorten factors, unless somebody holds it already."""
        with self.lock:
            for backend, kind, switch in _SWITCHES:
                value = _read(backend, kind)
                if value not in _FULL:
                    switch.fp32_precision = "ieee"
                    self.changed.append((switch, value))
            self.holders += 1

    def let_go(self) -> None:
        """Set back what was set, if nobody else holds it."""
        with self.lock:
            self.holders -= 1
            if self.holders == 0:
                while self.changed:
                    switch, value = self.changed.pop()
                    switch.fp32_precision = value


_SHARED = _Switches()


@contextmanager
def full_precision() -> Iterator[None]:
    """While this is open, float32 is multiplied as float32, on every device and in every thread.

    Everything that computes bounds opens it by itself; an attack or a check of a model may want it too.

    >>> import torch
    >>> torch.set_float32_matmul_precision("medium")
    >>> with full_precision():
    ...     torch.backends.mkldnn.matmul.fp32_precision
    'ieee'
    >>> torch.get_float32_matmul_precision()
    'medium'
    >>> torch.set_float32_matmul_precision("highest")
    """
    _SHARED.hold()
    try:
        yield
    finally:
        _SHARED.let_go()


def in_full_precision(function: F) -> F:
    """A function that runs inside of `full_precision`; under `torch.compile`, as the caller's switches say."""

    @functools.wraps(function)
    def held(*args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_compiling():
            return function(*args, **kwargs)
        _SHARED.hold()
        try:
            return function(*args, **kwargs)
        finally:
            _SHARED.let_go()

    return cast("F", held)


def shortened_products(device: torch.device) -> str | None:
    """Which switch lets a device round factors of float32 to fewer bits, as the program has it; None: none does."""
    with _SHARED.lock:
        held = {id(switch): value for switch, value in _SHARED.changed}
        switches = _ON_CPU if device.type == "cpu" else _ON_CUDA
        for backend, kind, switch in switches:
            value = held.get(id(switch)) or _read(backend, kind)
            if value not in _FULL:
                return f"{_name(backend, kind)}.fp32_precision = {value!r}"
    return None


def _name(backend: str, kind: str) -> str:
    return f"torch.backends.{'cudnn' if backend == 'cuda' and kind != 'matmul' else backend}.{kind}"
