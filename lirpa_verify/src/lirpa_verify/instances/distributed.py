"""Running a list of instances on a Ray cluster, a task for each; Ray is an optional dependency.

Moritz et al. 2018, "Ray: A distributed framework for emerging AI applications". Networks and properties are read by the
workers, so their paths must lead to the same files on every machine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

from lirpa_core.errors import OptionError
from lirpa_verify.clock import Clock
from lirpa_verify.instances.files import Instance, Outcome, ResultsFile
from lirpa_verify.instances.run import given_up, run_one
from lirpa_verify.instances.worker import FAILED

#: How often Ray tries a task again whose worker is gone.
_RETRIES: Final = 1


def run_on_ray(
    instances: Sequence[Instance],
    results: ResultsFile,
    *,
    timeout: float,
    address: str | None = None,
    cpus: float = 1,
    gpus: float = 0,
    seed: int = 0,
    branching: str = "auto",
    told: Callable[[Outcome, str], None] = lambda _outcome, _explanation: None,
) -> list[Outcome]:
    """Answer the instances that have no result yet, on all cores, GPUs and machines of a cluster.

    Args:
        instances: The instances.
        results: Where results go as they come; what is there already is not done again.
        timeout: Seconds for each instance whose list says nothing.
        address: Of the cluster; None: that of the variable RAY_ADDRESS, or else this machine alone.
        cpus: Cores that an instance is given.
        gpus: GPUs that an instance is given, or a share of one.
        seed: Fixes everything that is random.
        branching: Name of a branching heuristic.
        told: Called with each outcome and its explanation.

    Returns:
        The outcomes of this run.

    Raises:
        InstancesError: If a result cannot be written.
        OptionError: If Ray is not installed, or the timeout is not positive.
    """
    Clock(timeout)  # refuses a wrong one before anything runs
    ray = _ray()
    ours = not ray.is_initialized()
    if ours:
        ray.init(address=address, include_dashboard=False, log_to_driver=False)
    remote = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=_RETRIES)(run_one)
    outcomes: list[Outcome] = []
    try:
        left = {
            remote.remote(_anywhere(instance), timeout, seed, branching): instance
            for instance in results.open_instances(instances)
        }
        while left:
            done, _ = ray.wait(list(left), num_returns=1)
            for task in done:
                outcome, explanation = _outcome(ray, task, left.pop(task))
                results.append(outcome)
                outcomes.append(outcome)
                told(outcome, explanation)
    finally:
        if ours:
            ray.shutdown()
    return outcomes


def _anywhere(instance: Instance) -> Instance:
    """The instance with a folder that does not depend on where a worker runs."""
    return replace(instance, folder=instance.folder.resolve())


def _outcome(ray: Any, task: Any, one: Instance) -> tuple[Outcome, str]:
    try:
        found: tuple[Outcome, str] = ray.get(task)
    except ray.exceptions.RayError as error:
        first = (str(error).strip().splitlines() or [""])[0]
        answer = f"{FAILED}{type(error).__name__}: {first}"
        return given_up(Outcome(one.family, one.network, one.query, 0.0, answer, 0.0)), str(error)
    return found


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise OptionError(
            "instances are distributed through Ray, which is not installed; install with: "
            "pip install 'lirpa-verify[ray]'"
        ) from error
    return ray
