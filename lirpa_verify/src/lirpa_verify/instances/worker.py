"""What the process of one instance does. Its imports are made once, in the process that forks all others."""

from __future__ import annotations

import traceback
from multiprocessing.connection import Connection
from pathlib import Path

import lirpa_verify.onnx  # noqa: F401  imported here so that instances find it imported
import lirpa_verify.vnnlib  # noqa: F401
from lirpa_core.errors import LirpaError
from lirpa_verify.instances.files import ANSWERS
from lirpa_verify.questions import verify_files


def work(connection: Connection, network: Path, query: Path, timeout: float, seed: int, branching: str) -> None:
    """Answer one instance, and send the answer in VNN-COMP's words and the explanation."""
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
