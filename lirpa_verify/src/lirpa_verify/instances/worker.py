"""What the process of one instance does. Its imports are made once, in the process that forks all others."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import threading
import traceback
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Final

import torch

from lirpa_core import BoundedModule
from lirpa_core.errors import LirpaError
from lirpa_verify.instances.files import ANSWERS
from lirpa_verify.questions import verify_files

#: What the answer of a worker that failed begins with; such an instance is tried again.
FAILED: Final = "failed: "


#: What a worker sends before it begins: from here on its time counts.
BEGINS: Final = "begins"


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


def solve(network: Path, query: Path, timeout: float, seed: int, branching: str) -> tuple[str, str]:
    """The answer of one instance in VNN-COMP's words, and what explains it."""
    try:
        result = verify_files(network, query, timeout=timeout, seed=seed, branching=branching)
    except LirpaError as error:
        return f"error: {error}", ""
    except Exception as error:  # noqa: BLE001  whatever it is, it must not end the other instances
        return f"{FAILED}{type(error).__name__}: {error}", traceback.format_exc()
    answer = ANSWERS[result.status]
    if answer == "unknown" and result.statistics.seconds >= timeout:
        answer = "timeout"
    return answer, result.explain()


def work(
    connection: Connection, network: Path, query: Path, timeout: float, seed: int, branching: str
) -> None:
    """Answer one instance: send that the work begins, and the answer."""
    connection.send(BEGINS)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    connection.send(solve(network, query, timeout, seed, branching))
