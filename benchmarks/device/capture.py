"""Part `capture`: bounds that are recorded once and replayed (`BoundedModule.compiled`), on CUDA as one graph.

Small models are bound by launches: a graph replays all of them at once. Each way must give the bounds of the eager call,
for inputs that it was not recorded with.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.device.models import MODELS
from benchmarks.device.run import Item, Run
from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.api.recording import Backend

METHODS = ("IBP", "CROWN-IBP", "CROWN")
WAYS: tuple[Backend, ...] = ("operators", "inductor")
#: Models that are compiled too, which takes a minute each.
_COMPILED = ("MLP, ReLU",)
#: Models whose gates take hundreds of thousands of operators, which nobody wants to record.
_LONG = ("LSTM", "GRU")
#: Relative to the width; both ways do the same operations, fused ones in another order.
_TOLERANCE = 1e-4


def capture(run: Run) -> None:
    """Try every way with every method."""
    scale = 1 if run.dry else 4
    names = list(MODELS)[:2] if run.dry else [name for name in MODELS if name not in _LONG]
    steps = [(way, name) for way in WAYS for name in names if way == "operators" or name in _COMPILED]
    for way, name in run.steps([step for step in steps if not run.dry or step[0] == "operators"]):
        model = MODELS[name]
        held: dict[str, Any] = {}

        def open_model(model: Any = model, held: dict[str, Any] = held) -> Item:
            network, x = model.build(scale, torch.float32)
            held["x"] = x.to(run.device)
            held["bounded"] = BoundedModule(network.to(run.device), held["x"])
            return {}

        if "failed" in run.attempt({"model": name, "method": "module", "way": way}, open_model):
            continue
        for method in METHODS:
            run.attempt(
                {"model": name, "method": method, "way": way},
                lambda: _try(run, held["bounded"], held["x"], model.eps, method, way),  # noqa: B023
            )


def _try(run: Run, bounded: BoundedModule, x: Tensor, eps: float, method: str, way: Backend) -> Item:
    first, second = (BoundedTensor(point, PerturbationLpNorm(eps=eps)) for point in (x, x + eps))
    with torch.no_grad():
        eager = bounded.compute_bounds(x=(second,), method=method)
        before = _least(run, lambda: bounded.compute_bounds(x=(second,), method=method))
        start = time.perf_counter()
        function = bounded.compiled(first, method=method, backend=way)
        function(second)
        run.synchronize()
        making = time.perf_counter() - start
        again = function(second)
        width = (eager.upper - eager.lower).mean()
        gaps = [
            (eager.lower - again.lower).abs().max() / width,
            (eager.upper - again.upper).abs().max() / width,
        ]
        gap = float(torch.stack(gaps).max())
        seconds = _least(run, lambda: function(second))
    return {
        "eager": before,
        "seconds": seconds,
        "making": making,
        "difference": gap,
        "equal": gap <= _TOLERANCE,
    }


def _least(run: Run, call: Callable[[], object]) -> float:
    times: list[float] = []
    while len(times) < 2 or (sum(times) < 0.2 and len(times) < 20 and not run.dry):
        start = time.perf_counter()
        call()
        run.synchronize()
        times.append(time.perf_counter() - start)
    return min(times)
