"""The command `python -m benchmarks.first_minute`: what a user waits for before anything is bounded.

Each number is the least processor time of several processes, in units of `import torch` of the same processes, so that machines can be
compared; the captures of a second model are in units of `torch.export.export` of it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence

_MODEL = """
from torch import nn
def net(width):
    conv = [nn.Conv2d(1, 8, 4, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 4, 2, 1), nn.ReLU(), nn.Flatten()]
    return nn.Sequential(*conv, nn.Linear(784, width), nn.ReLU(), nn.Linear(width, 10)).eval()
x = torch.rand(1, 1, 28, 28)
"""

#: By name: statements, and those before them that do not count.
CASES: dict[str, tuple[str, str]] = {
    "import lirpa_core": ("", "import lirpa_core"),
    "import lirpa_core, after a garbage collection": ("import gc; gc.collect()", "import lirpa_core"),
    "first torch.export.export of an MNIST CNN": (
        _MODEL,
        "torch.export.export(net(100), (x,), strict=False)",
    ),
    "first BoundedModule of it": (f"import lirpa_core{_MODEL}", "lirpa_core.BoundedModule(net(100), x)"),
    "second torch.export.export": (
        f"{_MODEL}torch.export.export(net(100), (x,), strict=False); other = net(80)",
        "torch.export.export(other, (x,), strict=False)",
    ),
    "second BoundedModule": (
        f"import lirpa_core{_MODEL}lirpa_core.BoundedModule(net(100), x); other = net(80)",
        "lirpa_core.BoundedModule(other, x)",
    ),
}


def seconds(before: str, statements: str, processes: int) -> tuple[float, float]:
    """Least processor time of `import torch` and of some statements in processes of their own.

    Args:
        before: Statements that are not timed, after `import torch`.
        statements: What is timed.
        processes: How many.
    """
    program = (
        "import time; a = time.process_time(); import torch; b = time.process_time()\n"
        f"torch.set_num_threads(1)\n{before}\nc = time.process_time()\n{statements}\n"
        "print(b - a, time.process_time() - c)"
    )
    # With the bytecode that an installation has: the first process writes it where it is missing.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    found = []
    for _ in range(processes):
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment
        )
        found.append([float(word) for word in done.stdout.split()])
    return min(f[0] for f in found), min(f[1] for f in found)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print a line a case."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.first_minute", description=__doc__)
    parser.add_argument("--processes", type=int, default=3, help="processes a case (default: %(default)s)")
    processes = parser.parse_args(arguments).processes
    measured = {name: seconds(*case, processes) for name, case in CASES.items()}
    unit = min(torch for torch, _ in measured.values())
    export = measured["second torch.export.export"][1]
    print(f"{'import torch':46}{unit:8.3f} s      1.00")
    for name, (_, taken) in measured.items():
        of_export = (
            f", {taken / export:.1f} times torch.export.export" if name == "second BoundedModule" else ""
        )
        print(f"{name:46}{taken:8.3f} s  {taken / unit:8.2f}{of_export}")


if __name__ == "__main__":
    main()
