"""Loss fusion: the time of a training step against the number of classes, fused and unfused.

A step is the certified loss of a batch and its gradient, by CROWN-IBP, for a convolutional network with batch norm.
Fused, one row of coefficients travels; unfused, one for each other class.

    python -m benchmarks.training
    python -m benchmarks.training --cpu-time --json training.json
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from benchmarks.measure import peak
from lirpa_core import PerturbationLpNorm
from lirpa_training import CertifiedLoss

CLASSES = (10, 200, 1000)
#: The most that a fused step with 1000 classes may take of one with 10.
TARGET = 1.3


@dataclass(frozen=True)
class Measured:
    """Median milliseconds of a step, how many times that of the fewest classes, and MiB that it takes."""

    fused: bool
    classes: int
    ms: float
    ratio: float
    mb: float | None


def network(classes: int, size: int) -> nn.Module:
    """Four convolutions with batch norm and two linear layers, for `size` × `size` images with 3 channels."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for inputs, outputs, stride in ((3, 16, 1), (16, 16, 2), (16, 32, 1), (32, 32, 2)):
        layers += [nn.Conv2d(inputs, outputs, 3, stride, 1), nn.BatchNorm2d(outputs), nn.ReLU()]
    left = size // 4
    head = [nn.Flatten(), nn.Linear(32 * left * left, 128), nn.ReLU(), nn.Linear(128, classes)]
    return nn.Sequential(*layers, *head)


def step(classes: int, *, fused: bool, batch: int, size: int) -> Callable[[], object]:
    """One step of training, ready to be timed."""
    model = network(classes, size).train()
    criterion = CertifiedLoss(model, method="CROWN-IBP", fusion=fused)
    x, y = torch.rand(batch, 3, size, size), torch.randint(0, classes, (batch,))
    ball = PerturbationLpNorm(eps=1 / 255, x_L=0.0, x_U=1.0)

    def work() -> None:
        model.zero_grad(set_to_none=True)
        criterion(x, y, ball).backward()

    few = torch.tensor([0, 1])
    criterion(x[:2], few, ball)  # captures the model, with little memory
    return work


def measure(options: argparse.Namespace) -> list[Measured]:
    """Time all steps in turn, so that drift of the machine strikes all alike."""
    clock = time.process_time if options.cpu_time else time.perf_counter
    found: list[Measured] = []
    for fused in (True, False):
        counts = [c for c in CLASSES if fused or c <= options.most_unfused]
        works = {c: step(c, fused=fused, batch=options.batch, size=options.size) for c in counts}
        for work in works.values():
            work()
        times: dict[int, list[float]] = {c: [] for c in counts}
        for _ in range(options.repeat):
            for classes, work in works.items():
                start = clock()
                work()
                times[classes].append(clock() - start)
        for classes in counts:
            ratios = [t / first for t, first in zip(times[classes], times[counts[0]], strict=True)]
            memory = None if options.no_memory else peak_in_subprocess(classes, options, fused=fused)
            found.append(Measured(fused, classes, 1e3 * median(times[classes]), median(ratios), memory))
    return found


def peak_in_subprocess(classes: int, options: argparse.Namespace, *, fused: bool) -> float:
    """MiB that a step takes at most; a process of its own, so that nothing lingers."""
    command = [sys.executable, "-m", "benchmarks.training", "--peak-of", "fused" if fused else "unfused"]
    command += [str(classes), "--batch", str(options.batch), "--size", str(options.size)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"measuring the memory with {classes} classes failed:\n{done.stderr}")
    return float(done.stdout.splitlines()[-1])


def table(found: list[Measured]) -> Table:
    """What is printed."""
    result = Table(title="a step of CROWN-IBP training, loss and gradient", title_justify="left")
    for name in ("loss", "classes", "ms", "of the fewest classes", "MiB"):
        result.add_column(name, justify="left" if name == "loss" else "right")
    for m in found:
        name = "fused" if m.fused else "unfused"
        result.add_row(
            name, str(m.classes), f"{m.ms:.0f}", f"{m.ratio:.2f}", "" if m.mb is None else f"{m.mb:.0f}"
        )
    return result


def main(arguments: list[str] | None = None) -> int:
    """Run the program; returns 1 where the target is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--repeat", type=int, default=7, help="steps timed of each kind (default: %(default)s)")
    add("--batch", type=int, default=8, help="images a step (default: %(default)s)")
    add("--size", type=int, default=16, help="of an image (default: %(default)s)")
    add("--threads", type=int, default=1, help="of PyTorch (default: %(default)s)")
    add("--most-unfused", type=int, default=1000, help="classes without fusion, which takes much memory")
    add("--cpu-time", action="store_true", help="time the processor, not the clock")
    add("--no-memory", action="store_true", help="measure no memory, which takes a process for each case")
    add("--peak-of", nargs=2, metavar=("LOSS", "CLASSES"), help=argparse.SUPPRESS)
    add("--json", type=Path, help="file for the figures")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    if options.peak_of:
        loss, classes = options.peak_of
        work = step(int(classes), fused=loss == "fused", batch=options.batch, size=options.size)
        print(peak(work, torch.device("cpu")))
        return 0
    found = measure(options)
    Console().print(table(found))
    ratio = next(m.ratio for m in found if m.fused and m.classes == CLASSES[-1])
    met = ratio <= TARGET
    verdict = "met" if met else "missed"
    print(f"fused, {CLASSES[-1]} classes against {CLASSES[0]}: {ratio:.2f} (target ≤ {TARGET}: {verdict})")
    if options.json:
        options.json.write_text(json.dumps([asdict(m) for m in found], indent=1) + "\n", encoding="utf-8")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
