"""Products in full precision: bounds hold for factors that nobody rounds on the way.

PyTorch may round the factors of a product in float32 to fewer bits: to TF32 (11 bits) on CUDA, which it does by default
for convolutions and recurrent layers, and to bfloat16 or TF32 on CPUs that multiply these faster, after
`torch.set_float32_matmul_precision("medium")` or `("high")`. A bound that was computed so is none: its error is thousands
of times that of float32, for which `rounding="outward"` accounts.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar, cast

import torch

F = TypeVar("F", bound=Callable[..., Any])

_FULL = ("none", "ieee")
#: Backend and kind of product of each switch `fp32_precision`, and its public object.
_Switch: TypeAlias = tuple[str, str, Any]
_Name: TypeAlias = tuple[str, str]
_ON_CPU: tuple[_Switch, ...] = (
    ("mkldnn", "matmul", torch.backends.mkldnn.matmul),  # type: ignore[attr-defined]
    ("mkldnn", "conv", torch.backends.mkldnn.conv),  # type: ignore[attr-defined]
    ("mkldnn", "rnn", torch.backends.mkldnn.rnn),  # type: ignore[attr-defined]
)
_ON_CUDA: tuple[_Switch, ...] = (
    ("cuda", "matmul", torch.backends.cuda.matmul),
    ("cuda", "conv", torch.backends.cudnn.conv),  # type: ignore[attr-defined]
    ("cuda", "rnn", torch.backends.cudnn.rnn),
)
_HERE = _ON_CPU if torch.version.cuda is None and torch.version.hip is None else _ON_CPU + _ON_CUDA
#: Reads a switch, or what it takes over from a wider one; the public property takes five times as long.
_read: Callable[[str, str], str] = torch._C._get_fp32_precision_getter
_set: Callable[[str, str, str], object] = torch._C._set_fp32_precision_setter

#: The switches of all products, and of all of a backend, from which narrower ones that say nothing take theirs.
_ALL, _OF_BACKENDS = ("generic", "all"), (("mkldnn", "all"), ("cuda", "all"))


def _asked(older: Callable[[], Any]) -> Any:
    """What an older switch says; None where PyTorch refuses to say it, as newer ones contradict it."""
    try:
        return older()
    except RuntimeError:
        return None


@dataclass(frozen=True)
class _Saved:
    """The program's switches, as they were.

    PyTorch has older switches, of several backends at once, beside the newer ones, and code of its own (`torch.export`,
    for one) fails where the two contradict each other. So both are set, the older ones first.

    Attributes:
        matmul: `torch.get_float32_matmul_precision()`.
        cudnn: `torch.backends.cudnn.allow_tf32`.
        values: Of the newer switches, those included that they take over from wider ones.
        own: What each of these was set to itself, in the same order.
    """

    matmul: str | None
    cudnn: bool | None
    values: tuple[tuple[_Switch, str], ...]
    own: tuple[str, ...]

    @classmethod
    def now(cls) -> _Saved:
        """The switches as they are, of all backends: older switches set those of several."""
        cudnn = _asked(lambda: torch.backends.cudnn.allow_tf32)
        values = tuple([(switch, _read(switch[0], switch[1])) for switch in _ON_CPU + _ON_CUDA])
        return cls(_asked(torch.get_float32_matmul_precision), cudnn, values, _own_values())

    def set_full(self) -> None:
        """Let nothing be shortened."""
        shortened = {(backend, kind) for (backend, kind, _), value in self.values if value not in _FULL}
        if any(kind == "matmul" for _, kind in shortened):
            torch.set_float32_matmul_precision("highest")
        if any(backend == "cuda" and kind != "matmul" for backend, kind in shortened):
            torch.backends.cudnn.allow_tf32 = False
        for (backend, kind, switch), _ in self.values:
            if _read(backend, kind) not in _FULL:
                switch.fp32_precision = "ieee"

    def set_back(self) -> None:
        """Set what the program had."""
        if self.matmul is not None:
            torch.set_float32_matmul_precision(self.matmul)
        if self.cudnn is not None:
            torch.backends.cudnn.allow_tf32 = self.cudnn
        for ((backend, kind, switch), value), own in zip(self.values, self.own, strict=True):
            _set(backend, kind, own)
            if _read(backend, kind) != value:  # cuDNN's start with a value that none can be set to
                switch.fp32_precision = value


def _own_values() -> tuple[str, ...]:
    """What each switch of a kind of product was set to itself; `"none"`: nothing, so that it takes over a wider one's value.

    PyTorch says only what a switch amounts to. One that takes over a wider one's value follows when that changes, which tells
    it from one that was set to the same value. The difference matters when the program sets the wider one anew, later on.
    """
    narrow = [(backend, kind) for backend, kind, _ in _ON_CPU + _ON_CUDA]
    follow_all = _following(_ALL, [*_OF_BACKENDS, *narrow], _read(*_ALL))
    found = dict.fromkeys(follow_all, "none")
    for wider in _OF_BACKENDS:
        own = "none" if wider in follow_all else _read(*wider)
        found |= dict.fromkeys(
            _following(wider, [name for name in narrow if name[0] == wider[0]], own), "none"
        )
    return tuple([found.get(name) or _read(*name) for name in narrow])


def _following(wider: _Name, others: Sequence[_Name], own: str) -> set[_Name]:
    """Which switches change with a wider one, which was set to `own` itself."""
    before = [_read(*name) for name in others]
    _set(*wider, "tf32" if _read(*wider) == "ieee" else "ieee")
    found = {name for name, value in zip(others, before, strict=True) if _read(*name) != value}
    _set(*wider, own)
    return found


@dataclass(eq=False)
class _Holders:
    """PyTorch's switches are of the process: the first who needs full precision sets them, the last one sets them back.

    Attributes:
        count: How many computations need full precision now.
        saved: What is to be set back; None where nothing was set.
    """

    count: int = 0
    saved: _Saved | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def hold(self) -> None:
        """Set what may shorten factors, unless somebody did already."""
        with self.lock:
            values = [(switch, _read(switch[0], switch[1])) for switch in _HERE]
            if any([value not in _FULL for _, value in values]):
                now = _Saved.now()
                self.saved = self.saved or now
                now.set_full()
            self.count += 1

    def let_go(self) -> None:
        """Set back what was set, if nobody else holds it."""
        with self.lock:
            self.count -= 1
            if self.count == 0 and self.saved is not None:
                self.saved.set_back()
                self.saved = None


_SHARED = _Holders()
#: Whether this thread is inside of `in_full_precision` already, so that nothing is left to do.
_INSIDE = threading.local()


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


@contextmanager
def agreeing_switches() -> Iterator[None]:
    """While this is open, PyTorch's older switch for cuDNN can be read, as `torch.export` does.

    By itself it fails where the program has set newer switches that contradict the older one.
    """
    if _asked(lambda: torch.backends.cudnn.allow_tf32) is not None:
        yield
        return
    saved = _Saved.now()
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        saved.set_back()


def in_full_precision(function: F) -> F:
    """A function that runs inside of `full_precision`; under `torch.compile`, as the caller's switches say."""

    @functools.wraps(function)
    def held(*args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_compiling() or getattr(_INSIDE, "held", False):
            return function(*args, **kwargs)
        _SHARED.hold()
        _INSIDE.held = True
        try:
            return function(*args, **kwargs)
        finally:
            _INSIDE.held = False
            _SHARED.let_go()

    return cast("F", held)


def shortened_products(device: torch.device) -> str | None:
    """Which switch lets a device round factors of float32 to fewer bits, as the program has it; None: none does."""
    with _SHARED.lock:
        held = {} if _SHARED.saved is None else {id(s[2]): value for s, value in _SHARED.saved.values}
        for backend, kind, switch in _ON_CPU if device.type == "cpu" else _ON_CUDA:
            value = held.get(id(switch)) or _read(backend, kind)
            if value not in _FULL:
                library = "cudnn" if backend == "cuda" and kind != "matmul" else backend
                return f"torch.backends.{library}.{kind}.fp32_precision = {value!r}"
    return None


def autocast_region(device: torch.device) -> tuple[str, torch.dtype] | None:
    """The kind of device and the type of the `torch.autocast` region that is open for it; None: none is."""
    if not torch.is_autocast_enabled(device.type):
        return None
    return device.type, torch.get_autocast_dtype(device.type)
