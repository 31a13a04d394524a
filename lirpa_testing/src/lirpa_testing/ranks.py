"""Run a function in several processes with a gloo group between them, as `torchrun` would.

One new process imports everything and then forks, before any thread has started: imports take longer than most tests.
The processes meet at a file, because a port that was free a moment ago may be taken.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist


def in_processes(
    function: Callable[[], Any], world: int = 2, *, imports: Sequence[str] = (), seconds: float = 120
) -> list[Any]:
    """What a function returns in each of some processes that are one gloo group, in the order of their ranks.

    Args:
        function: A function of a file, found there by its name, without arguments.
        world: How many processes.
        imports: Modules that the function imports by itself, to be imported once for all processes.
        seconds: How long all of it may take.

    Returns:
        What `torch.save` keeps of each result.

    Raises:
        RuntimeError: A process failed; says what it printed.
        subprocess.TimeoutExpired: They took too long, and were stopped.
    """
    file = function.__code__.co_filename
    paths = os.pathsep.join(p for p in sys.path if p)
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", "from lirpa_testing.ranks import main; main()"]
        done = subprocess.run(  # noqa: S603 - the caller's own function
            [*command, file, function.__name__, str(world), folder, str(seconds), *imports],
            env=environment, capture_output=True, text=True, timeout=seconds + 30, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise RuntimeError(
                f"{function.__name__} failed in {world} processes:\n{done.stdout}{done.stderr}"
            )
        return [torch.load(_result(folder, rank), weights_only=False) for rank in range(world)]


def main() -> None:
    """The process that forks; its arguments are those of `in_processes`."""
    file, name, world, folder, seconds, *imports = sys.argv[1:]
    for module in imports:
        importlib.import_module(module)
    torch.set_num_threads(1)
    function = runpy.run_path(file)[name]
    fork = multiprocessing.get_context("fork")
    processes = [
        fork.Process(target=_rank, args=(function, rank, int(world), folder, float(seconds)))
        for rank in range(int(world))
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(float(seconds))
    for process in processes:
        if process.is_alive():
            process.kill()
    sys.exit(0 if all(process.exitcode == 0 for process in processes) else 1)


def _rank(function: Callable[[], Any], rank: int, world: int, folder: str, seconds: float) -> None:
    meeting = (Path(folder) / "meeting").as_uri()
    dist.init_process_group(
        "gloo", init_method=meeting, rank=rank, world_size=world, timeout=timedelta(seconds=seconds)
    )
    torch.save(function(), _result(folder, rank))
    dist.barrier()  # a process that leaves while another one still tidies up may bring it down
    dist.destroy_process_group()


def _result(folder: str, rank: int) -> Path:
    return Path(folder) / f"{rank}.pt"


__all__ = ["in_processes"]
