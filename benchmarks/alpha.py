"""Widths and times of α-CROWN by its number of steps, on small random networks of every kind.

python -m benchmarks.alpha --page docs/benchmarks/alpha.md
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.methods import CROWN, AlphaCROWN, Method

EPS = 0.5
SEEDS = 2
#: Steps of the search; none is CROWN.
STEPS = (0, 5, 20, 100)


class Written(nn.Module):
    """A network written as a function of some layers."""

    def __init__(self, function: Callable[[nn.ModuleDict, Tensor], Tensor], **layers: nn.Module) -> None:
        super().__init__()
        self.function, self.layers = function, nn.ModuleDict(layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.layers, x)


class Cell(nn.Module):
    """Three steps of an LSTM cell."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.out = nn.LSTMCell(2, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = c = x.new_zeros(x.shape[0], 6)
        for step in range(3):
            h, c = self.cell(x[:, 2 * step : 2 * step + 2], (h, c))
        out: Tensor = self.out(h)
        return out


def layers(activation: Callable[[], nn.Module], hidden: int = 16, depth: int = 3) -> nn.Sequential:
    """A multilayer perceptron from 6 to 3."""
    sizes = [6, *[hidden] * depth]
    parts = [part for a, b in itertools.pairwise(sizes) for part in (nn.Linear(a, b), activation())]
    return nn.Sequential(*parts, nn.Linear(hidden, 3))


def narrow(activation: nn.Module) -> nn.Sequential:
    """One hidden layer of 12, and 8 outputs."""
    return nn.Sequential(nn.Linear(6, 12), activation, nn.Linear(12, 8))


def attention(m: nn.ModuleDict, x: Tensor) -> Tensor:
    """One block of attention over three tokens."""
    x = x.reshape(-1, 3, 2)
    x = x + torch.softmax(m["q"](x) @ m["k"](x).mT, -1) @ m["v"](x)
    out: Tensor = m["out"](torch.relu(m["up"](x)).mean(1))
    return out


def residual(m: nn.ModuleDict, x: Tensor) -> Tensor:
    """Three residual blocks."""
    x = m["in"](x)
    for name in "abc":
        x = x + m[name](torch.relu(x))
    out: Tensor = m["out"](torch.relu(x))
    return out


def extremes(m: nn.ModuleDict, x: Tensor) -> Tensor:
    """The smaller of a larger of two branches and a third."""
    out: Tensor = m["out"](torch.minimum(torch.maximum(m["a"](x), m["b"](x)), m["c"](x)))
    return out


#: By name.
NETWORKS: Mapping[str, Callable[[], nn.Module]] = {
    "ReLU": lambda: layers(nn.ReLU),
    "leaky ReLU": lambda: layers(lambda: nn.LeakyReLU(0.1)),
    "tanh": lambda: layers(nn.Tanh),
    "GELU": lambda: layers(nn.GELU, depth=2),
    "residual": lambda: Written(
        residual, out=nn.Linear(12, 3), **{"in": nn.Linear(6, 12)}, **{k: nn.Linear(12, 12) for k in "abc"}
    ),
    "minimum, maximum": lambda: Written(
        extremes, a=narrow(nn.ReLU()), b=narrow(nn.Tanh()), c=nn.Linear(6, 8), out=nn.Linear(8, 3)
    ),
    "max pooling": lambda: nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(64, 10), nn.ReLU(), nn.Linear(10, 3),
    ),
    "product": lambda: Written(
        lambda m, x: m["out"](m["a"](x) * m["b"](x)),
        a=narrow(nn.ReLU()), b=narrow(nn.Tanh()), out=nn.Linear(8, 3),
    ),
    "quotient": lambda: Written(
        lambda m, x: m["out"](m["a"](x) / (1.5 + torch.sigmoid(m["b"](x)))),
        a=narrow(nn.ReLU()), b=nn.Linear(6, 8), out=nn.Linear(8, 3),
    ),
    "SwiGLU": lambda: Written(
        lambda m, x: m["out"](F.silu(m["a"](x)) * m["b"](x)),
        a=nn.Linear(6, 12), b=nn.Linear(6, 12), out=nn.Linear(12, 3),
    ),
    "sine, cosine": lambda: Written(
        lambda m, x: m["out"](torch.cos(m["b"](torch.sin(m["a"](x))))),
        a=nn.Linear(6, 12), b=nn.Linear(12, 12), out=nn.Linear(12, 3),
    ),
    "LSTM cell": Cell,
    "attention": lambda: Written(
        attention, q=nn.Linear(2, 4), k=nn.Linear(2, 4), v=nn.Linear(2, 2), up=nn.Linear(2, 8), out=nn.Linear(8, 3)
    ),
    "layer norm": lambda: nn.Sequential(
        nn.Linear(6, 12), nn.LayerNorm(12), nn.ReLU(), nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 3)
    ),
    "softmax": lambda: nn.Sequential(layers(nn.ReLU, 12, 2), nn.Softmax(-1)),
}  # fmt: skip


def measured(build: Callable[[], nn.Module], method: Method, seeds: int = SEEDS) -> tuple[float, float]:
    """The mean width of the outputs' bounds, and processor seconds, over some seeds."""
    widths, seconds = [], []
    for seed in range(seeds):
        torch.manual_seed(seed)
        network = build().double().eval()
        x = torch.randn(2, 64 if "Unflatten" in str(network) else 6, dtype=torch.float64)
        bounded = BoundedModule(network, x)
        point = BoundedTensor(x, PerturbationLpNorm(eps=EPS))
        with torch.no_grad():
            began = time.process_time()
            found = bounded.compute_bounds(x=point, method=method)
            seconds.append(time.process_time() - began)
        widths.append(float((found.upper - found.lower).mean()))
    return statistics.fmean(widths), statistics.fmean(seconds)


def method_of(steps: int) -> Method:
    """α-CROWN with so many steps; CROWN for none."""
    return AlphaCROWN(steps) if steps else CROWN()


def rows() -> Iterator[str]:
    """The table, line by line."""
    yield "| network | CROWN | " + " | ".join(f"{n} steps" for n in STEPS[1:]) + " |"
    yield "|---|---|" + "---|" * len(STEPS[1:])
    for name, build in NETWORKS.items():
        found = [measured(build, method_of(steps)) for steps in STEPS]
        first = found[0][0]
        cells = [f"{found[0][1] * 1e3:.0f} ms"]
        cells += [f"{width / first:.3f}, {seconds * 1e3:.0f} ms" for width, seconds in found[1:]]
        yield f"| {name} | " + " | ".join(cells) + " |"


def page() -> str:
    """The page of the documentation."""
    head = (
        f"`python -m benchmarks.alpha --page docs/benchmarks/alpha.md` wrote this page on {datetime.date.today()}: "
        f"{platform.machine()}, one thread, PyTorch {torch.__version__}, processor times while other programs ran. "
        f"Small random networks in float64, ε {EPS}, means of {SEEDS} seeds. Each cell: the mean width as a share of "
        "CROWN's, and the time of one call."
    )
    return "\n".join(["# Width of α-CROWN against time", "", head, "", *rows(), ""])


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", type=Path, help="write the page here")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    text = page()
    if arguments.page is not None:
        arguments.page.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
