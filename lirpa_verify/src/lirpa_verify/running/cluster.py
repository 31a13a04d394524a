"""Running parts on a Ray cluster; Ray is an optional dependency.

Moritz et al. 2018, "Ray: A distributed framework for emerging AI applications". Files are read by the workers, so their
paths must lead to the same files on every machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from lirpa_core.errors import OptionError
from lirpa_verify.running.processes import InProcesses
from lirpa_verify.running.work import Failed, Finished, Work

#: How often Ray tries a task again whose worker is gone.
_RETRIES: Final = 1


@dataclass(frozen=True)
class OnRay:
    """Runs parts on all cores, GPUs and machines of a cluster, a task for each group of parts.

    Attributes:
        address: Of the cluster; None: that of the variable RAY_ADDRESS, or else this machine alone.
        cpus: Cores that a task is given.
        gpus: GPUs that a task is given, or a share of one.
    """

    address: str | None = None
    cpus: float = 1
    gpus: float = 0

    def run(self, work: Work, parts: Sequence[Any]) -> Iterator[Finished]:
        """As `Runner`.

        Raises:
            OptionError: If Ray is not installed.
        """
        ray = _ray()
        ours = not ray.is_initialized()
        if ours:
            ray.init(address=self.address, include_dashboard=False, log_to_driver=False)
        remote = ray.remote(num_cpus=self.cpus, num_gpus=self.gpus, max_retries=_RETRIES)(group_finished)
        try:
            groups = [parts[i : i + work.group] for i in range(0, len(parts), work.group)]
            left = {remote.remote(work, group): group for group in groups}
            while left:
                done, _ = ray.wait(list(left), num_returns=1)
                for task in done:
                    yield from _of_task(ray, task, left.pop(task))
        finally:
            if ours:
                ray.shutdown()


def group_finished(work: Work, group: Sequence[Any]) -> list[Finished]:
    """What a task does: all parts of a group, in a process beside it, which may fail or overrun its time."""
    return list(InProcesses().run(work, group))


def _of_task(ray: Any, task: Any, group: Sequence[Any]) -> list[Finished]:
    try:
        found: list[Finished] = ray.get(task)
    except ray.exceptions.RayError as error:
        first = (str(error).strip().splitlines() or [""])[0]
        failed = Failed(f"{type(error).__name__}: {first}", str(error))
        return [Finished(part, failed) for part in group]
    return found


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise OptionError(
            "work is distributed through Ray, which is not installed; install with: pip install 'lirpa-verify[ray]'"
        ) from error
    return ray
