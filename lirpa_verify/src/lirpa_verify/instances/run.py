"""Running a list of instances, a process for each."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from multiprocessing.connection import wait
from typing import Any, Final

from lirpa_verify.clock import Clock
from lirpa_verify.instances.files import Instance, Outcome, ResultsFile
from lirpa_verify.instances.worker import BEGINS, FAILED, work

#: A process that does not answer for this long after its time is over is ended.
_GRACE: Final = 10.0

#: A process that does not begin for this long has failed.
_LATEST: Final = 300.0

#: How often an instance is tried whose process fails.
_ATTEMPTS: Final = 2

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
    and one that overruns its time can be ended. One whose process failed is tried once more, and then unknown.

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
    outcomes = []
    for outcome, explanation in _worked_through(
        results.open_instances(instances), timeout, jobs, seed, branching
    ):
        results.append(outcome)
        outcomes.append(outcome)
        told(outcome, explanation)
    return outcomes


def run_one(instance: Instance, timeout: float, seed: int, branching: str) -> tuple[Outcome, str]:
    """The outcome of one instance, in a process of its own, and its explanation."""
    (found,) = _worked_through([instance], timeout, 1, seed, branching)
    return found


def _worked_through(
    instances: Sequence[Instance], timeout: float, jobs: int, seed: int, branching: str
) -> Iterator[tuple[Outcome, str]]:
    """Outcomes and explanations as they come; whoever stops to ask ends what still runs."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOAD)
    waiting = [(instance, 1) for instance in instances]
    running: list[_Running] = []
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                running.append(_Running(context, *waiting.pop(0), timeout, seed, branching))
            wait([r.connection for r in running], max(0.0, min(r.left for r in running)))
            for one in list(running):
                finished = one.outcome()
                if finished is None:
                    continue
                running.remove(one)
                outcome, explanation = finished
                if outcome.answer.startswith(FAILED) and one.attempt < _ATTEMPTS:
                    waiting.insert(0, (one.instance, one.attempt + 1))
                else:
                    yield given_up(outcome), explanation
    finally:
        for one in running:
            one.end()


def given_up(outcome: Outcome) -> Outcome:
    """The outcome; where its worker failed, it is unknown, and says why."""
    if not outcome.answer.startswith(FAILED):
        return outcome
    return replace(outcome, answer=f"unknown: {outcome.answer.removeprefix(FAILED)}")


class _Running:
    """An instance that is being worked on."""

    def __init__(
        self, context: Any, instance: Instance, attempt: int, timeout: float, seed: int, branching: str
    ) -> None:
        self.instance = instance
        self.attempt = attempt
        self._limit = timeout if instance.timeout is None else instance.timeout
        self._start = time.monotonic()  # of the process, and then of its work
        self._preparing: float | None = None
        self.connection, child = context.Pipe(duplex=False)
        network, query = instance.paths
        self._process = context.Process(
            target=work, args=(child, network, query, self._limit, seed, branching), daemon=True
        )
        self._process.start()
        child.close()

    @property
    def left(self) -> float:
        """Seconds until the process is ended."""
        allowed = _LATEST if self._preparing is None else self._limit + _GRACE
        return self._start + allowed - time.monotonic()

    def outcome(self) -> tuple[Outcome, str] | None:
        """The outcome, if there is one."""
        seconds = time.monotonic() - self._start
        if self.connection.poll():
            try:
                said = self.connection.recv()
            except EOFError:
                self._process.join()
                said = f"{FAILED}the process ended with code {self._process.exitcode}", ""
            if said == BEGINS:
                self._preparing, self._start = seconds, time.monotonic()
                return None
            answer, explanation = said
        elif self.left <= 0 and self._preparing is None:
            answer, explanation = f"{FAILED}the process did not begin in {_LATEST:.0f} s", ""
        elif self.left <= 0:
            answer, explanation = "timeout", "ended, because it did not stop by itself"
        else:
            return None
        self.end()
        one = self.instance
        return Outcome(
            one.family, one.network, one.query, self._preparing or 0.0, answer, seconds
        ), explanation

    def end(self) -> None:
        """End the process if it still runs."""
        self._process.join(0.5) if self.connection.poll() else None
        if self._process.is_alive():
            self._process.kill()
        self._process.join()
        self.connection.close()
