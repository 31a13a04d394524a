"""Running a list of instances, a process for each."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import wait
from typing import Any, Final

from lirpa_verify.clock import Clock
from lirpa_verify.instances.files import Instance, Outcome, ResultsFile

#: A process that does not answer for this long after its time is over is ended.
_GRACE: Final = 10.0

#: Modules that are imported once, in the process from which all others are forked.
_PRELOAD: Final = ["lirpa_verify.instances.preload"]


def run_instances(
    instances: Sequence[Instance],
    results: ResultsFile,
    *,
    timeout: float,
    jobs: int = 1,
    seed: int = 0,
    branching: str = "auto",
    told: Callable[[Outcome, str], None] = lambda _outcome, _explanation: None,
) -> list[Outcome]:
    """Answer the instances that have no result yet.

    Every instance has a process of its own, so that a crash, or memory that runs out, costs that instance alone,
    and one that overruns its time can be ended. A failed one counts as an error and is not tried again.

    Args:
        instances: The instances.
        results: Where results go as they come; what is there already is not done again.
        timeout: Seconds for each instance whose list says nothing.
        jobs: Instances at once.
        seed: Fixes everything that is random.
        branching: Name of a branching heuristic.
        told: Called with each outcome and its explanation.

    Returns:
        The outcomes of this run.

    Raises:
        InstancesError: If a result cannot be written.
        OptionError: If the timeout is not positive.
    """
    Clock(timeout)  # refuses a wrong one before anything runs
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOAD)
    waiting = results.open_instances(instances)
    running: list[_Running] = []
    outcomes = []
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                running.append(_Running(context, waiting.pop(0), timeout, seed, branching))
            wait([r.connection for r in running], max(0.0, min(r.left for r in running)))
            for one in list(running):
                finished = one.outcome()
                if finished is not None:
                    running.remove(one)
                    results.append(finished[0])
                    outcomes.append(finished[0])
                    told(*finished)
    finally:
        for one in running:
            one.end()
    return outcomes


class _Running:
    """An instance that is being worked on."""

    def __init__(self, context: Any, instance: Instance, timeout: float, seed: int, branching: str) -> None:
        self._instance = instance
        self._limit = timeout if instance.timeout is None else instance.timeout
        self._start = time.monotonic()
        self.connection, child = context.Pipe(duplex=False)
        from lirpa_verify.instances.worker import work

        network, query = instance.paths
        self._process = context.Process(
            target=work, args=(child, network, query, self._limit, seed, branching), daemon=True
        )
        self._process.start()
        child.close()

    @property
    def left(self) -> float:
        """Seconds until the process is ended."""
        return self._start + self._limit + _GRACE - time.monotonic()

    def outcome(self) -> tuple[Outcome, str] | None:
        """The outcome, if there is one."""
        seconds = time.monotonic() - self._start
        if self.connection.poll():
            try:
                answer, explanation = self.connection.recv()
            except EOFError:
                self._process.join()
                answer, explanation = f"error: the process ended with code {self._process.exitcode}", ""
        elif self.left <= 0:
            answer, explanation = "timeout", "ended, because it did not stop by itself"
        else:
            return None
        self.end()
        one = self._instance
        return Outcome(one.family, one.network, one.query, 0.0, answer, seconds), explanation

    def end(self) -> None:
        """End the process if it still runs."""
        self._process.join(0.5) if self.connection.poll() else None
        if self._process.is_alive():
            self._process.kill()
        self._process.join()
        self.connection.close()
