"""Part `capture`: a computation of bounds with fixed shapes, compiled and as a CUDA graph.

Small models are bound by launches: a graph replays all of them at once. Each way must give the bounds of the eager
call. A way that does not work yet is reported with its reason.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor

from benchmarks.device.models import MODELS
from benchmarks.device.run import Item, Run
from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm

METHODS = ("IBP", "CROWN-IBP", "CROWN")
_NAMES = ("MLP, ReLU", "CNN")
Bounds: TypeAlias = tuple[Tensor, Tensor]
#: Relative to the width; both ways do the same operations, fused ones in another order.
_TOLERANCE = 1e-4


def capture(run: Run) -> None:
    """Try every way with every method."""
    scale = 1 if run.dry else 4
    for name in _NAMES[:1] if run.dry else _NAMES:
        model = MODELS[name]
        network, x = model.build(scale, torch.float32)
        x = x.to(run.device)
        bounded = BoundedModule(network.to(run.device), x)
        for method in run.steps(METHODS):
            call = _Call(bounded, method, BoundedTensor(x, PerturbationLpNorm(eps=model.eps)))
            for way, make in WAYS.items():
                if way == "bounded.compiled" and not hasattr(bounded, "compiled"):
                    continue  # an older version
                run.attempt({"model": name, "method": method, "way": way}, partial(_try, run, make, call))


@dataclass(frozen=True)
class _Call:
    """A computation of bounds; a replayed one finds its centre in the memory of `ball`."""

    bounded: BoundedModule
    method: str
    ball: BoundedTensor

    def __call__(self) -> Bounds:
        with torch.no_grad():
            lower, upper = self.bounded.compute_bounds(x=(self.ball,), method=self.method)
        return lower, upper


def _try(
    run: Run,
    make: Callable[[Run, _Call], Callable[[], Bounds]],
    bounds: _Call,
) -> Item:
    eager = bounds()
    before = _least(run, bounds)
    start = time.perf_counter()
    replay = make(run, bounds)
    again = [side.clone() for side in replay()]
    run.synchronize()
    making = time.perf_counter() - start
    width = (eager[1] - eager[0]).mean()
    gap = max(float(((a - b).abs() / width).max()) for a, b in zip(eager, again, strict=True))
    return {
        "eager": before,
        "seconds": _least(run, replay),
        "making": making,
        "difference": gap,
        "equal": gap <= _TOLERANCE,
    }


def _graph(run: Run, bounds: _Call) -> Callable[[], Bounds]:
    if run.device.type != "cuda":
        raise RuntimeError("a CUDA graph needs a CUDA device")
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            bounds()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = bounds()

    def replay() -> Bounds:
        graph.replay()
        return found

    return replay


def _compiled(run: Run, bounds: _Call) -> Callable[[], Bounds]:
    torch.compiler.reset()
    on_device: dict[str, Any] = {"mode": "reduce-overhead"}
    options = on_device if run.device.type == "cuda" else {"backend": "eager"}  # which needs no C++ compiler
    function = torch.compile(bounds, fullgraph=True, **options)

    def call() -> Bounds:
        lower, upper = function()
        return lower, upper

    call()
    return call


def _own(run: Run, bounds: _Call) -> Callable[[], Bounds]:
    ready: Any = getattr(bounds.bounded, "compiled")  # noqa: B009  # not all versions have it
    function = ready(bounds.ball, method=bounds.method)

    def call() -> Bounds:
        lower, upper = function(bounds.ball)
        return lower, upper

    return call


#: How a computation can be made ready for being repeated.
WAYS: dict[str, Callable[[Run, _Call], Callable[[], Bounds]]] = {
    "CUDA graph": _graph,
    "torch.compile": _compiled,
    "bounded.compiled": _own,
}


def _least(run: Run, call: Callable[[], object]) -> float:
    times = []
    for _ in range(2 if run.dry else 20):
        start = time.perf_counter()
        call()
        run.synchronize()
        times.append(time.perf_counter() - start)
    return min(times)
