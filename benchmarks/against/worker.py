"""A process that holds one version of lirpa and does, one line of JSON at a time, what it is asked for.

Requests are `{"do": "open", ...}`, then `{"do": "bounds", "file": path}`, `{"do": "time", "seconds": s}`,
`{"do": "work"}`, and `{"do": "peak", ...}` of a process in which nothing is open; each is answered with one line. Only
the public surface of lirpa is used, so that the process runs every version.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import torch
from torch import Tensor

import lirpa_core
from benchmarks.against.networks import NETWORKS
from benchmarks.against.roofline import work_of
from benchmarks.measure import peak
from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm


@dataclass(frozen=True)
class Opened:
    """A cell that is ready to be measured."""

    call: Callable[[], tuple[Tensor, Tensor]]
    trained: bool


def open_cell(
    network: str, batch: int, method: str, weights: str | None, options: Mapping[str, Any]
) -> Opened:
    """Capture the model of a cell."""
    net = NETWORKS[network]
    model, x, trained = net.build(batch, Path(weights) if weights else None)
    try:  # as the other version computes, unless the options say otherwise
        bounded = BoundedModule(model, x, bound_opts={"rounding": "nearest", **options})
    except ValueError as error:  # a version that has no such option
        if "rounding" not in str(error) or "rounding" in options:
            raise
        bounded = BoundedModule(model, x, bound_opts=dict(options))
    ball = BoundedTensor(x, PerturbationLpNorm(eps=net.eps))

    def call() -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            lower, upper = bounded.compute_bounds(x=(ball,), method=method)
        return lower, upper

    return Opened(call, trained)


def timed(
    call: Callable[[], object], seconds: float, clock: Callable[[], float] = time.perf_counter
) -> list[float]:
    """Times of calls by a clock: at least one, and more while they fit into so many seconds."""
    times: list[float] = []
    while not times or sum(times) + times[-1] < seconds:
        start = clock()
        call()
        times.append(clock() - start)
    return times


def peak_of(opened: Opened) -> float:
    """Peak memory of a call in MiB, beyond model, data and code."""
    opened.call()  # loads the code that the call needs
    gc.collect()
    with suppress(OSError, AttributeError):  # other C libraries have no such function
        ctypes.CDLL(None).malloc_trim(0)
    return peak(opened.call, torch.device("cpu"))


def return_memory_at_once() -> None:
    """Make the C library map every larger block by itself, so that freed memory is not held for later.

    What it holds back otherwise depends on the order of earlier calls, and would hide a part of the peak.
    """
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(-3, 1 << 16)  # M_MMAP_THRESHOLD of glibc
        library.mallopt(-4, 1 << 30)  # M_MMAP_MAX
        library.mallopt(-1, 1 << 16)  # M_TRIM_THRESHOLD


def in_a_fork(measure: Callable[[], float]) -> float:
    """Run a measurement in a copy of this process, so that it leaves nothing behind here.

    Raises:
        RuntimeError: If it fails.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            return_memory_at_once()
            told = json.dumps(measure())
        except BaseException as error:  # noqa: BLE001  # nothing may run on in the copy
            told = json.dumps(f"{type(error).__name__}: {error}")
        os.write(writing, told.encode()[:4000])
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8", errors="replace") as pipe:
        told = pipe.read()
    os.waitpid(child, 0)
    found = json.loads(told) if told else "the process was killed, perhaps for its memory"
    if isinstance(found, str):
        raise RuntimeError(found)
    return float(found)


def answer(request: Mapping[str, Any], opened: Opened | None) -> tuple[dict[str, Any], Opened | None]:
    """Do what a request says; returns the reply and the cell that is open from then on."""
    cell = {
        key: request[key] for key in ("network", "batch", "method", "weights", "options") if key in request
    }
    if request["do"] == "open":
        opened = open_cell(**cell)
        return {"trained": opened.trained, "from": lirpa_core.__file__}, opened
    if request["do"] == "peak":
        return {"MiB": in_a_fork(lambda: peak_of(open_cell(**cell)))}, opened
    assert opened is not None, "no cell is open"
    if request["do"] == "bounds":
        start = time.perf_counter()
        lower, upper = opened.call()
        seconds = time.perf_counter() - start
        torch.save((lower, upper), request["file"])
        return {"seconds": seconds}, opened
    if request["do"] == "time":
        clock = time.process_time if request.get("cpu") else time.perf_counter
        return {"seconds": timed(opened.call, request["seconds"], clock)}, opened
    if request["do"] == "work":
        flops, moved = work_of(opened.call)
        return {"flops": flops, "bytes": moved}, opened
    raise ValueError(f"unknown request {request['do']!r}")


def main() -> None:
    """Answer requests until there are no more."""
    replies: TextIO = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what anybody prints goes elsewhere
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    opened: Opened | None = None
    for line in sys.stdin:
        try:
            reply, opened = answer(json.loads(line), opened)
        except Exception as error:  # noqa: BLE001  # whatever it is, the other process reports it
            reply = {"error": f"{type(error).__name__}: {error}"}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


if __name__ == "__main__":
    main()
