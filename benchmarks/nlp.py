"""Rules of `lirpa-ops-nlp` against the elementary operators that layers fall apart into.

The other side of the comparison is what a library without composite rules does: softmax is the product of an
exponential and a reciprocal, products and matrix products have McCormick's first planes (`x_l·y` on both sides),
gates are products of a sigmoid and a tanh bounded by themselves.

    python -m benchmarks.nlp
    python -m benchmarks.nlp --case lstm-d16-h64 --method CROWN --json nlp.json
    python -m benchmarks.nlp --long
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.linear.relaxation import Affine, Relaxation
from lirpa_core.operators.arithmetic import MUL
from lirpa_core.operators.matmul import MATMUL, MM
from lirpa_core.plugins import OperatorRegistry, Registry, default_registry, hookimpl
from lirpa_core.rules.mccormick import Product

aten = torch.ops.aten
METHODS = ("IBP", "CROWN-IBP", "forward", "CROWN")
EPS = 0.05
SEEDS = (0, 1, 2)
#: A method's time is the least of so many runs, or of those that fit in so many seconds.
REPEATS, ENOUGH = 5, 1.0


# ---------------------------------------------------------------------- the other side


def first_planes(product: Product) -> Relaxation:
    """`y_l x + x_l y − x_l y_l` below and `y_u x + x_l y − x_l y_u` above."""
    x, y = product.x, product.y

    def plane(end: Tensor) -> Affine:
        of_left = product.of_left(end)
        return product.affine(of_left, product.of_right(x.lower), -of_left.apply(x.lower))

    return Relaxation(plane(y.lower), plane(y.upper))


def _softmax(self: Tensor, dim: int, dtype: Any = None) -> Tensor:
    e = torch.exp(self)
    return e * torch.reciprocal(e.sum(dim, keepdim=True))


class Decomposed:
    """Plugin: elementary operators only, McCormick's first planes."""

    LIRPA_API_VERSION = 1

    @hookimpl
    def lirpa_register_operators(self, registry: OperatorRegistry) -> None:
        """Replace the core's planes and its softmax."""
        for op, rule in (
            (aten.mul.Tensor, MUL),
            (aten.mm.default, MM),
            (aten.bmm.default, MM),
            (aten.matmul.default, MATMUL),
        ):
            registry.register(op, replace(rule, planes=first_planes), override=True)
        registry.decompose(aten.softmax.int, _softmax, override=True)


def registries() -> dict[str, Registry]:
    """The two sides by name."""
    everything = default_registry()
    return {
        "composite": everything,
        "decomposed": everything.without("nlp").extended(Decomposed(), name="decomposed"),
    }


# ---------------------------------------------------------------------- models


class Attention(nn.Module):
    """Two-head self-attention, from primitives or by `scaled_dot_product_attention`, without what surrounds it."""

    def __init__(self, width: int, fused: bool) -> None:
        super().__init__()
        self.project, self.fused = nn.Linear(width, 3 * width), fused

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (t.unflatten(-1, (2, -1)).transpose(1, 2) for t in self.project(x).chunk(3, -1))
        if self.fused:
            out = F.scaled_dot_product_attention(q, k, v)
        else:
            out = torch.softmax(q @ k.mT / q.shape[-1] ** 0.5, -1) @ v
        return out.transpose(1, 2).flatten(2)


class Classifier(nn.Module):
    """A recurrent layer and a linear head on its last output."""

    def __init__(self, layer: nn.RNNBase) -> None:
        super().__init__()
        self.layer, self.head = layer, nn.Linear(layer.hidden_size, 10)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.layer(x)[0][:, -1])
        return out


class Encoder(nn.Module):
    """One encoder layer with layer norm, the mean over tokens, a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.layer(x).mean(1))
        return out


class Behind(nn.Module):
    """A function or module behind a linear layer, so that its operands depend on each other."""

    def __init__(self, width: int, last: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(16, width), last

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x))


class Gated(nn.Module):
    """A feed-forward layer with a gate, as in GEGLU and SwiGLU."""

    def __init__(self, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.rise, self.fall, self.activation = nn.Linear(16, 128), nn.Linear(64, 16), activation

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.rise(x).chunk(2, -1)
        out: Tensor = self.fall(self.activation(gate) * value)
        return out


def _loss(scores: Tensor) -> Tensor:
    return F.cross_entropy(scores, torch.full((scores.shape[0],), 3), reduction="none")


CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "attention-primitive": (lambda: Attention(16, False), (1, 8, 16)),
    "attention-sdpa": (lambda: Attention(16, True), (1, 8, 16)),
    "softmax": (lambda: Behind(10, nn.Softmax(-1)), (1, 16)),
    "log-softmax": (lambda: Behind(10, nn.LogSoftmax(-1)), (1, 16)),
    "cross-entropy": (lambda: Behind(10, _loss), (1, 16)),
    "layer-norm": (lambda: Behind(32, nn.LayerNorm(32)), (1, 4, 16)),
    "rms-norm": (lambda: Behind(32, nn.RMSNorm(32)), (1, 4, 16)),
    "swiglu": (lambda: Gated(F.silu), (1, 4, 16)),
    "geglu": (lambda: Gated(F.gelu), (1, 4, 16)),
    "lstm-d16-h64": (lambda: Classifier(nn.LSTM(16, 64, batch_first=True)), (1, 7, 16)),
    "gru-d16-h64": (lambda: Classifier(nn.GRU(16, 64, batch_first=True)), (1, 7, 16)),
    "encoder": (Encoder, (1, 6, 16)),
}


class Transformer(nn.Module):
    """Encoder layers, the mean over tokens, a linear head."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Linear(width, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.layers(x).mean(1))
        return out


#: Long sequences by name: the model, the shape of its input, the methods.
LONG: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], tuple[str, ...]]] = {
    "LSTM, 128 steps, d 128, hidden 128": (
        lambda: Classifier(nn.LSTM(128, 128, batch_first=True)),
        (1, 128, 128),
        ("IBP", "CROWN-IBP"),
    ),
    "transformer, 128 tokens, d 128, 4 layers": (
        lambda: Transformer(128, 4),
        (1, 128, 128),
        ("IBP", "CROWN-IBP"),
    ),
    "transformer, 32 tokens, d 128, 2 layers": (lambda: Transformer(128, 2), (1, 32, 128), ("CROWN",)),
}
LONG_EPS = 1e-4


# ---------------------------------------------------------------------- measuring


#: What a forked process measures: the captured model and its input.
_captured: list[tuple[BoundedModule, Tensor]] = []


def measure(case: str, side: str, methods: Sequence[str], seed: int) -> dict[str, dict[str, float]]:
    """Mean width, seconds and peak memory by method: captured once, and each method in a process of its own."""
    torch.manual_seed(seed)
    make, shape = CASES[case]
    model, x = make().double().eval().requires_grad_(False), torch.randn(shape).double()
    _captured[:] = [(BoundedModule(model, x, registry=registries()[side]), x)]
    found = {}
    for method in methods:
        with multiprocessing.get_context("fork").Pool(1) as pool:
            found[method] = pool.apply(_measure, (method,))
    return found


def _measure(method: str) -> dict[str, float]:
    ((bounded, x),) = _captured
    ball = BoundedTensor(x, PerturbationLpNorm(eps=EPS))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds: list[float] = []
    width = math.nan
    while not seconds or (len(seconds) < REPEATS and sum(seconds) < ENOUGH):
        start = time.process_time()
        lb, ub = bounded.compute_bounds(x=(ball,), method=method)
        seconds.append(time.process_time() - start)
        width = float((ub - lb).mean())
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return {"width": width, "seconds": min(seconds), "MiB": peak}


def _measure_long(case: str, method: str) -> dict[str, float]:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    make, shape, _ = LONG[case]
    model, x = make().eval().requires_grad_(False), torch.randn(shape)
    start = time.process_time()
    bounded = BoundedModule(model, x)
    captured = time.process_time()
    ball = BoundedTensor(x, PerturbationLpNorm(eps=LONG_EPS))
    lb, ub = bounded.compute_bounds(x=(ball,), method=method)
    done = time.process_time()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"width": float((ub - lb).mean()), "capture": captured - start, "s": done - captured, "GiB": peak}


def long_sequences() -> None:
    """Measure the models of `LONG`, each method in a process of its own, and print."""
    table = Table(
        title=f"long sequences: one example, eps {LONG_EPS:g}, float32, one thread, processor's time"
    )
    for column in ("model", "method", "capture s", "bounds s", "peak GiB of the process", "width"):
        table.add_column(column, justify="left" if column in {"model", "method"} else "right")
    for case, (_, _, methods) in LONG.items():
        for method in methods:
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                found = pool.apply(_measure_long, (case, method))
            print(f"{case}, {method}: {found}", file=sys.stderr)
            table.add_row(
                case, method, f"{found['capture']:.1f}", f"{found['s']:.1f}", f"{found['GiB']:.2f}",
                f"{found['width']:.4g}",
            )  # fmt: skip
    Console(width=120).print(table)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--case", choices=sorted(CASES), action="append", help="default: all")
    parser.add_argument("--method", choices=METHODS, action="append", help="default: all")
    parser.add_argument("--seed", type=int, action="append", help=f"default: {SEEDS}")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--long", action="store_true", help="long sequences instead: time and peak memory")
    arguments = parser.parse_args()
    if arguments.long:
        long_sequences()
        return
    seeds = arguments.seed or list(SEEDS)
    table = Table(
        title=f"eps {EPS}, float64, seeds {', '.join(map(str, seeds))}; means over seeds, processor's time, one thread"
    )
    for column in ("case", "method", "width", "decomposed", "ratio", "ms", "decomposed", "MiB", "decomposed"):
        table.add_column(column, justify="left" if column in {"case", "method"} else "right")
    torch.set_num_threads(1)
    results, methods = [], arguments.method or list(METHODS)
    for case in arguments.case or CASES:
        runs = {
            side: [measure(case, side, methods, s) for s in seeds] for side in ("composite", "decomposed")
        }
        for method in methods:
            found = {side: [run[method] for run in rows] for side, rows in runs.items()}
            mean = {
                side: {key: sum(r[key] for r in rows) / len(rows) for key in rows[0]}
                for side, rows in found.items()
            }
            ours, theirs = mean["composite"], mean["decomposed"]
            ratio = sum(a["width"] / b["width"] for a, b in zip(*found.values(), strict=True)) / len(seeds)
            results.append({"case": case, "method": method, "ratio": ratio, "seeds": seeds, **mean})
            table.add_row(
                case, method, f"{ours['width']:.4g}", f"{theirs['width']:.4g}", f"{ratio:.3f}",
                f"{1e3 * ours['seconds']:.3g}", f"{1e3 * theirs['seconds']:.3g}", f"{ours['MiB']:.0f}",
                f"{theirs['MiB']:.0f}",
            )  # fmt: skip
            print(f"{case} {method}: {ratio:.3f}", file=sys.stderr)
        if arguments.json:  # case by case, so that what is interrupted is not lost
            arguments.json.write_text(json.dumps(results, indent=2))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
