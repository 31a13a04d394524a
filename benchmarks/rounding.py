"""What outward rounding adds to the time of bounds: processor time of both ways, in turn, in one process.

```console
OMP_NUM_THREADS=1 python -m benchmarks.rounding --seconds 4
```
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence

import torch
from torch import nn

from benchmarks.cases import _MIDDLE, _TINY, _WIDE, _Mlp
from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm

METHODS = ("IBP", "CROWN-IBP", "CROWN")
#: The most that outward rounding should cost, by method.
TARGETS = {"IBP": 1.3, "CROWN-IBP": 1.25, "CROWN": 1.25}


def _convolutions() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 4, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 4, 2, 1), nn.ReLU(), nn.Flatten(),
        nn.Linear(32 * 7 * 7, 100), nn.ReLU(), nn.Linear(100, 10),
    )  # fmt: skip


def _mlp(sizes: Sequence[int]) -> Callable[[], nn.Module]:
    return lambda: _Mlp(sizes, 1, torch.device("cpu")).model


#: Name, network, shape of an example, examples, radius, and the methods.
NETWORKS: tuple[tuple[str, Callable[[], nn.Module], tuple[int, ...], int, float, Sequence[str]], ...] = (
    ("MLP 16-8-8-4", _mlp(_TINY), (16,), 1, 0.01, METHODS),
    ("MLP 784-256×3-10", _mlp(_MIDDLE), (784,), 1, 0.01, METHODS),
    ("MLP 784-256×3-10", _mlp(_MIDDLE), (784,), 16, 0.01, METHODS),
    ("MLP 784-1024×3-10", _mlp(_WIDE), (784,), 1, 0.01, METHODS[:2]),
    ("MLP 784-1024×3-10", _mlp(_WIDE), (784,), 64, 0.01, METHODS[:2]),
    ("CNN, 28×28", _convolutions, (1, 28, 28), 1, 0.02, METHODS),
    ("CNN, 28×28", _convolutions, (1, 28, 28), 16, 0.02, METHODS),
)


def compared(
    model: nn.Module, x: torch.Tensor, eps: float, method: str, seconds: float
) -> tuple[float, float]:
    """Least processor time of a call with `"nearest"` and with `"outward"`, in seconds.

    Args:
        model: The network.
        x: Examples.
        eps: Radius of the ball around them.
        method: The method.
        seconds: How long both are tried, in turn, together.
    """
    ways = [BoundedModule(model, x, bound_opts={"rounding": way}) for way in ("nearest", "outward")]
    ball = BoundedTensor(x, PerturbationLpNorm(eps=eps))
    least, end = [float("inf"), float("inf")], time.process_time() + seconds
    with torch.no_grad():
        for bounded in ways:
            bounded.compute_bounds(x=(ball,), method=method)
        while time.process_time() < end or least[0] == float("inf"):
            for i, bounded in enumerate(ways):
                start = time.process_time()
                bounded.compute_bounds(x=(ball,), method=method)
                least[i] = min(least[i], time.process_time() - start)
    return least[0], least[1]


def main(arguments: list[str] | None = None) -> int:
    """Print a table; returns 0.

    Args:
        arguments: Of the command line; by default the program's.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rounding", description=__doc__)
    parser.add_argument("--method", default=METHODS, nargs="+", choices=METHODS, help="default: all")
    parser.add_argument(
        "--seconds", type=float, default=4.0, help="processor time a line (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    say = sys.stdout.write
    say(
        "| network | examples | method | nearest, ms | outward ÷ nearest | target |\n|---|---|---|---|---|---|\n"
    )
    for name, make, shape, batch, eps, methods in NETWORKS:
        torch.manual_seed(0)
        model, x = make().eval(), torch.rand(batch, *shape)
        for method in [m for m in methods if m in options.method]:
            nearest, outward = compared(model, x, eps, method, options.seconds)
            say(
                f"| {name} | {batch} | {method} | {1e3 * nearest:.3g} | {outward / nearest:.2f} | {TARGETS[method]} |\n"
            )
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
