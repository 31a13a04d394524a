"""Running parts in processes of their own: a crash, or memory that runs out, costs one part alone."""

from __future__ import annotations

import math
import multiprocessing
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import Any, Final

from lirpa_verify.running.work import Failed, Finished, Overran, Work
from lirpa_verify.running.worker import BEGINS, serve

#: A process that does not begin for this long has failed.
_LATEST: Final = 300.0

#: How often a part is tried whose process fails.
_ATTEMPTS: Final = 2

#: Modules that are imported once, in the process from which all others are forked.
_PRELOAD: Final = ["lirpa_verify.running.preload"]


@dataclass(frozen=True)
class InProcesses:
    """Runs parts in some processes at once; a part whose process fails is tried once more.

    Attributes:
        jobs: How many.
        grace: A process that does not answer for this many seconds after its part's time is over is ended.
    """

    jobs: int = 1
    grace: float = 10.0

    def run(self, work: Work, parts: Sequence[Any]) -> Iterator[Finished]:
        """As `Runner`."""
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(_PRELOAD)
        waiting = deque((part, 1) for part in parts)
        workers: list[_Worker] = []
        try:
            while waiting or workers:
                idle = [worker for worker in workers if not worker.busy]
                for worker in idle:
                    if waiting:
                        worker.take(*waiting.popleft())
                    else:
                        workers.remove(worker)
                        worker.end()
                while waiting and len(workers) < self.jobs:
                    workers.append(_Worker(context, work, self.grace))
                    workers[-1].take(*waiting.popleft())
                if not workers:
                    return
                left = max(0.0, min(worker.left for worker in workers))
                wait([worker.connection for worker in workers], None if left == math.inf else left)
                for worker in list(workers):
                    finished = worker.finished()
                    if finished is None:
                        continue
                    if worker.spent:
                        workers.remove(worker)
                        worker.end()
                    answer = finished.answer
                    again = isinstance(answer, Failed) and not answer.refused and worker.attempt < _ATTEMPTS
                    if again:
                        waiting.appendleft((finished.part, worker.attempt + 1))
                    else:
                        yield finished
        finally:
            for worker in workers:
                worker.end()


class _Worker:
    """A process, and the part that it works on."""

    def __init__(self, context: Any, work: Work, grace: float) -> None:
        self.busy = False
        self.spent = False
        self.attempt = 0
        self._work = work
        self._grace = grace
        self._taken = 0
        self.connection, child = context.Pipe()
        self._process = context.Process(target=serve, args=(child, work.opened), daemon=True)
        self._process.start()
        child.close()

    def take(self, part: Any, attempt: int) -> None:
        """Send it a part."""
        self._part, self.attempt, self.busy = part, attempt, True
        self._taken += 1
        self._start = time.monotonic()  # of the process, and then of its work
        self._preparing: float | None = None
        try:
            self.connection.send(part)
        except OSError:
            self.spent = True  # it is gone, which `finished` reads from the connection

    @property
    def left(self) -> float:
        """Seconds until the process is ended."""
        allowed = _LATEST if self._preparing is None else self._work.limit(self._part) + self._grace
        return self._start + allowed - time.monotonic()

    def finished(self) -> Finished | None:
        """The part with its answer, if there is one."""
        seconds = time.monotonic() - self._start
        answer: Any
        if self.connection.poll():
            try:
                answer = self.connection.recv()
            except (EOFError, OSError):
                self._process.join()
                answer = Failed(f"the process ended with code {self._process.exitcode}")
                self.spent = True
            if answer == BEGINS:
                self._preparing, self._start = seconds, time.monotonic()
                return None
        elif self.left > 0:
            return None
        elif self._preparing is None:
            answer, self.spent = Failed(f"the process did not begin in {_LATEST:.0f} s"), True
        else:
            answer, self.spent = Overran(), True
        self.busy = False
        self.spent = self.spent or isinstance(answer, Failed) or self._taken == self._work.kept
        return Finished(self._part, answer, self._preparing or 0.0, seconds)

    def end(self) -> None:
        """End the process."""
        if self._process.is_alive():
            self._process.kill()
        self._process.join()
        self.connection.close()
