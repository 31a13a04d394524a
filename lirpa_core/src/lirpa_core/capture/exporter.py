"""PyTorch's exporter, imported to the end.

Its first use imports PyTorch's compiler, which takes seconds. Ctrl-C in the middle would leave half of the packages that it consists of
among the imported ones, and every later export of the process would fail for lack of the others.
"""

from __future__ import annotations

import importlib
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any


@contextmanager
def uninterrupted() -> Iterator[None]:
    """While this is open, Ctrl-C is kept; it arrives at the end. In other threads than the main one it never arrives anyway."""
    handler: Any = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield
        return
    kept: list[tuple[Any, ...]] = []
    signal.signal(signal.SIGINT, lambda *given: kept.append(given))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if kept:
            handler(*kept[0])


@cache
def load_exporter() -> None:
    """Import what `torch.export.export` imports at its first call."""
    with (
        uninterrupted(),
        suppress(ImportError),
    ):  # the module is not public: another version may have it elsewhere
        importlib.import_module("torch.export._trace")


__all__ = ["load_exporter", "uninterrupted"]
