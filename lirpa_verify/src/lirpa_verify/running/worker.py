"""What a process does that answers parts. Its imports are made once, in the process that forks all others."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import Any, Final

import torch

from lirpa_core import BoundedModule
from lirpa_verify.running.work import Failed

#: What a worker sends before it begins with a part: from here on its time counts.
BEGINS: Final = "begins"


def prepare() -> None:
    """Import what questions need, by using it: the first capture of a process imports much of PyTorch.

    One thread only, because a process whose pool of threads has begun to work must not be forked.
    """
    for module in ("lirpa_verify.onnx", "lirpa_verify.vnnlib"):
        importlib.import_module(module)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    BoundedModule(torch.nn.Linear(1, 1).eval(), torch.zeros(1, 1))
    torch.set_num_threads(threads)


def _end_with_parent() -> None:
    """End this process when the one that waits for its answers is gone."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def serve(connection: Connection, opened: Callable[[], Callable[[Any], Any]]) -> None:
    """Answer the parts that come, until nothing comes any more: for each, send that it begins, and the answer."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    answer: Callable[[Any], Any] | None = None
    while True:
        try:
            part = connection.recv()
        except EOFError:
            return
        try:
            answer = answer or opened()
            connection.send(BEGINS)
            found = answer(part)
        except Exception as error:  # noqa: BLE001  whatever it is, it must not end the other parts
            found = Failed.by(error)
        connection.send(found)
