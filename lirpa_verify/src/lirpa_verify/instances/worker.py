"""What the process of one instance does. Its imports are made once, in the process that forks all others."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import threading
import traceback
from multiprocessing.connection import Connection, wait
from pathlib import Path

import torch

from lirpa_core import BoundedModule
from lirpa_core.errors import LirpaError
from lirpa_verify.instances.files import ANSWERS
from lirpa_verify.questions import verify_files


def prepare() -> None:
    """Import what instances need, by using it: the first capture of a process imports much of PyTorch.

    One thread only, because a process whose pool of threads has begun to work must not be forked.
    """
    for module in ("lirpa_verify.onnx", "lirpa_verify.vnnlib"):
        importlib.import_module(module)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    BoundedModule(torch.nn.Linear(1, 1).eval(), torch.zeros(1, 1))
    torch.set_num_threads(threads)


def _end_with_parent() -> None:
    """End this process when the one that waits for its answer is gone."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def work(
    connection: Connection, network: Path, query: Path, timeout: float, seed: int, branching: str
) -> None:
    """Answer one instance, and send the answer in VNN-COMP's words and the explanation."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        result = verify_files(network, query, timeout=timeout, seed=seed, branching=branching)
        answer = ANSWERS[result.status]
        if answer == "unknown" and result.statistics.seconds >= timeout:
            answer = "timeout"
        connection.send((answer, result.explain()))
    except LirpaError as error:
        connection.send((f"error: {error}", ""))
    except Exception as error:  # noqa: BLE001  whatever it is, it must not end the other instances
        connection.send((f"error: {type(error).__name__}: {error}", traceback.format_exc()))
