"""Timing that survives a noisy machine, and peak memory in a process of its own."""

from __future__ import annotations

import json
import math
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch

from benchmarks.cases import Case, Pair, Work

#: A sample shorter than this is repeated inside one timing, in seconds.
_SHORTEST = 0.005
_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Timing:
    """Seconds a call, sample by sample: `subject[i]` and `plain[i]` were taken right after one another."""

    subject: tuple[float, ...]
    plain: tuple[float, ...]

    @property
    def ratios(self) -> tuple[float, ...]:
        """Subject over plain, pair by pair."""
        return tuple(a / b for a, b in zip(self.subject, self.plain, strict=True))

    @property
    def overheads(self) -> tuple[float, ...]:
        """Subject minus plain in milliseconds, pair by pair."""
        return tuple(1e3 * (a - b) for a, b in zip(self.subject, self.plain, strict=True))


def interleaved(
    pair: Pair,
    repeat: int,
    synchronize: Callable[[], object] | None = None,
    clock: Callable[[], float] = time.perf_counter,
    after_each: Callable[[], object] | None = None,
) -> Timing:
    """Time both sides in turn, A B B A A B ..., so that drift of the machine strikes both alike.

    Args:
        pair: The two sides; each runs once untimed first.
        repeat: How many pairs of samples.
        synchronize: Waits for the device.
        clock: Seconds.
        after_each: Called after each pair of samples, for a progress bar.
    """

    def sample(work: Work, count: int) -> float:
        start = clock()
        for _ in range(count):
            work()
        if synchronize is not None:
            synchronize()
        return (clock() - start) / count

    counts = {}
    for name, work in (("subject", pair.subject), ("plain", pair.plain)):
        sample(work, 1)
        counts[name] = max(1, math.ceil(_SHORTEST / max(sample(work, 1), 1e-9)))
    found: dict[str, list[float]] = {"subject": [], "plain": []}
    for i in range(repeat):
        sides = (("subject", pair.subject), ("plain", pair.plain))
        for name, work in sides if i % 2 == 0 else reversed(sides):
            found[name].append(sample(work, counts[name]))
        if after_each is not None:
            after_each()
    return Timing(tuple(found["subject"]), tuple(found["plain"]))


@dataclass(frozen=True)
class Result:
    """What one case gave.

    Attributes:
        name: The case.
        subject_ms: Median time of the bounds.
        plain_ms: Median time of the plain work.
        value: Median of the case's measure: a ratio, or an overhead in ms.
        least: Smallest of the samples of that measure.
        most: Largest.
        of_minima: The measure of the two shortest times, which noise disturbs least.
        target: The most that `value` should be.
        subject_mb: Peak memory of the bounds beyond model and data, in MiB; None where not measured.
        plain_mb: Likewise of the plain work.
    """

    name: str
    subject_ms: float
    plain_ms: float
    value: float
    least: float
    most: float
    of_minima: float
    target: float | None = None
    subject_mb: float | None = None
    plain_mb: float | None = None


def run_case(
    case: Case,
    device: torch.device,
    *,
    repeat: int,
    threads: int | None = None,
    memory: bool = True,
    clock: Callable[[], float] = time.perf_counter,
    after_each: Callable[[], object] | None = None,
) -> Result:
    """Time a case, and measure its memory in fresh processes."""
    synchronize = torch.cuda.synchronize if device.type == "cuda" else None
    timing = interleaved(case.make(device), repeat, synchronize, clock, after_each)
    values = timing.ratios if case.measure == "ratio" else timing.overheads
    best = Timing((min(timing.subject),), (min(timing.plain),))
    of_minima = (best.ratios if case.measure == "ratio" else best.overheads)[0]
    peaks = (
        [peak_in_subprocess(case.name, side, device, threads) for side in _SIDES] if memory else [None, None]
    )
    return Result(
        name=case.name,
        subject_ms=1e3 * median(timing.subject),
        plain_ms=1e3 * median(timing.plain),
        value=median(values),
        least=min(values),
        most=max(values),
        of_minima=of_minima,
        target=case.target,
        subject_mb=peaks[0],
        plain_mb=peaks[1],
    )


_SIDES = ("subject", "plain")


def peak_in_subprocess(name: str, side: str, device: torch.device, threads: int | None) -> float | None:
    """MiB that one side of a case takes at most; a process of its own, so that nothing lingers."""
    command = [sys.executable, "-m", "benchmarks", "--peak-of", name, side, "--device", str(device)]
    if threads is not None:
        command += ["--threads", str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"measuring the memory of {name} ({side}) failed:\n{done.stderr}")
    return float(json.loads(done.stdout.splitlines()[-1]))


def peak(work: Work, device: torch.device) -> float:
    """MiB allocated at most during one call, beyond what was there before it."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        work()
        torch.cuda.synchronize()
        return float(torch.cuda.max_memory_allocated(device) - before) / 2**20
    with suppress(OSError):
        _RESET.write_text("5", encoding="ascii")  # the high-water mark falls to the present use
    before_kib = _memory("VmRSS") or _high_water()
    work()
    return max(0.0, _high_water() - before_kib) / 1024


def _high_water() -> float:
    """Most KiB that this process ever held.

    `getrusage` is second choice on Linux, where a new process inherits the mark of the one that made it.
    """
    mark = _memory("VmHWM")
    if mark is not None:
        return mark
    usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return usage / 1024 if sys.platform == "darwin" else float(usage)


def _memory(field: str) -> float | None:
    """A field of the process's status in KiB, where the system has such a file."""
    if not _STATUS.exists():
        return None
    return next(_numbers(field), None)


def _numbers(field: str) -> Iterator[float]:
    for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith(f"{field}:"):
            yield float(line.split()[1])
