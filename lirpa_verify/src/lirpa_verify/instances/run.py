"""Running a list of instances, a process for each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from lirpa_core.errors import LirpaError
from lirpa_verify.clock import Clock
from lirpa_verify.instances.files import ANSWERS, Instance, Outcome, ResultsFile
from lirpa_verify.questions import verify_files
from lirpa_verify.running import Failed, Finished, InProcesses, Overran, Runner, Work


def run_instances(
    instances: Sequence[Instance],
    results: ResultsFile,
    *,
    timeout: float,
    runner: Runner | None = None,
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
        runner: How they are run; default: one after the other. `InProcesses(4)`: four at once; `OnRay()`: on a cluster.
        seed: Fixes everything that is random.
        branching: Name of a branching heuristic.
        told: Called with each outcome and its explanation.

    Returns:
        The outcomes of this run.

    Raises:
        InstancesError: If a result cannot be written, or the files behind a result that is there have changed since.
        OptionError: If the timeout is not positive, or Ray is needed and not installed.
    """
    Clock(timeout)  # refuses a wrong one before anything runs
    runner = InProcesses() if runner is None else runner
    work = Work(partial(_solver, timeout, seed, branching), partial(_limit, timeout), kept=1)
    outcomes = []
    unanswered = results.open_instances(instances)
    results.note_files(unanswered)
    # A worker on another machine has another working directory.
    left = [replace(one, folder=one.folder.resolve()) for one in unanswered]
    for finished in runner.run(work, left):
        outcome, explanation = _outcome(finished)
        results.append(outcome)
        outcomes.append(outcome)
        told(outcome, explanation)
    return outcomes


def _limit(timeout: float, instance: Instance) -> float:
    return timeout if instance.timeout is None else instance.timeout


def _solver(timeout: float, seed: int, branching: str) -> Callable[[Instance], tuple[str, str]]:
    return partial(solve, timeout, seed, branching)


def solve(timeout: float, seed: int, branching: str, instance: Instance) -> tuple[str, str]:
    """The answer of one instance in VNN-COMP's words, and what explains it."""
    network, query = instance.paths
    limit = _limit(timeout, instance)
    try:
        result = verify_files(network, query, timeout=limit, seed=seed, branching=branching)
    except LirpaError as error:
        return f"error: {error}", ""
    answer = ANSWERS[result.status]
    if answer == "unknown" and result.statistics.seconds >= limit:
        answer = "timeout"
    return answer, result.explain()


def _outcome(finished: Finished) -> tuple[Outcome, str]:
    """The outcome and its explanation; where the process failed, it is unknown, and says why."""
    found = finished.answer
    if isinstance(found, Failed):
        found = f"unknown: {found.reason}", found.details
    elif isinstance(found, Overran):
        found = "timeout", "ended, because it did not stop by itself"
    answer, explanation = found
    one = finished.part
    return (
        Outcome(one.family, one.network, one.query, finished.preparing, answer, finished.seconds),
        explanation,
    )
