"""The other end of a worker: starts the process of a version, asks it, and ends it."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.against.cells import Cell
from benchmarks.checkout import HERE, sources


class WorkerError(Exception):
    """A worker could not do what it was asked for."""


@dataclass(frozen=True)
class Version:
    """One of the two sides.

    Attributes:
        name: For tables: a short commit.
        root: Root of its checkout.
        metadata: Folder of `checkout.write_metadata`.
    """

    name: str
    root: Path
    metadata: Path

    def environment(self, threads: int) -> dict[str, str]:
        """Variables of a process that imports this version."""
        path = [self.metadata, *sources(self.root), HERE]
        counts = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
        return {**os.environ, **counts, "PYTHONPATH": os.pathsep.join(map(str, path)), "PYTHONSAFEPATH": "1"}


class Worker:
    """A process of one version, with one cell open at a time."""

    def __init__(self, version: Version, threads: int) -> None:
        self._version = version
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "benchmarks.against.worker"],
            cwd=HERE, env=version.environment(threads), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def ask(self, do: str, limit: float, **request: Any) -> Mapping[str, Any]:
        """Send a request and wait for its reply.

        Args:
            do: What is asked for; see `benchmarks.against.worker`.
            limit: Seconds to wait.
            **request: The rest of the request.

        Raises:
            WorkerError: If the version fails, ends, or needs longer.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **request}) + "\n")
            self._process.stdin.flush()
            line = self._lines.get(timeout=limit)
        except queue.Empty:
            raise WorkerError(f"over {limit:.0f} s") from None
        except BrokenPipeError:
            line = ""
        if not line:
            raise WorkerError(f"process ended with status {self._process.wait()}")
        reply: Mapping[str, Any] = json.loads(line)
        if "error" in reply:
            raise WorkerError(reply["error"])
        return reply

    def open(self, cell: Cell, limit: float, weights: Path | None, options: Mapping[str, Any]) -> bool:
        """Open a cell; returns whether its weights are trained.

        Raises:
            WorkerError: Also if the process imported another version than it should.
        """
        reply = self.ask("open", limit, **_request(cell, weights, options))
        if not Path(reply["from"]).is_relative_to(self._version.root):
            raise WorkerError(f"imported {reply['from']}, which is not of {self._version.root}")
        return bool(reply["trained"])

    def peak(self, cell: Cell, limit: float, weights: Path | None) -> float:
        """Peak memory of a call in MiB, measured in a copy of the process, in which nothing may be open.

        Raises:
            WorkerError: As `ask`.
        """
        return float(self.ask("peak", limit, **_request(cell, weights, {}))["MiB"])

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()


def _request(cell: Cell, weights: Path | None, options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "network": cell.network,
        "batch": cell.batch,
        "method": cell.method,
        "weights": None if weights is None else str(weights),
        "options": dict(options),
    }


class Crew:
    """The processes of a version: one for times and one for memory, each started when it is first needed.

    A context manager, which ends them.
    """

    def __init__(self, version: Version, threads: int) -> None:
        self._version, self._threads = version, threads
        self._workers: dict[str, Worker] = {}

    def worker(self, task: str) -> Worker:
        """The process for a task."""
        if task not in self._workers:
            self._workers[task] = Worker(self._version, self._threads)
        return self._workers[task]

    def dismiss(self, task: str) -> None:
        """End the process for a task, which may still be at work; the next one is a new one."""
        if task in self._workers:
            self._workers.pop(task).end()

    def __enter__(self) -> Crew:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in list(self._workers):
            self.dismiss(task)
