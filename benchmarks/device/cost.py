"""Part `cost`: time, launches and peak memory of bounds, against the forward pass and against VJPs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.against.networks import NETWORKS, Network, mlp, weights_file
from benchmarks.device.run import Item, Run
from benchmarks.measure import peak
from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm

METHODS = ("IBP", "CROWN-IBP", "CROWN", "CROWN-Optimized")
BATCHES = (1, 16, 256)
_MODELS = ("mnist-cnn", "mlp", "resnet-2b", "lstm", "transformer", "cnn-7")
#: Rows of the VJP, an output's lower and upper bounds for ten classes.
ROWS = 20
#: A cell is left out where the batch before lets expect that one call takes longer, in seconds.
_TOO_LONG = 20.0
_SMALL = {"mlp": Network("a small MLP", lambda: mlp(8, 16, 16, 10), (8,), 0.02)}


class _Operators(TorchDispatchMode):
    """Counts operators, each of which launches about one kernel."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        aliases = [r.alias_info for r in func._schema.returns]
        self.count += not any(alias is not None and not alias.is_write for alias in aliases)
        return func(*args, **(kwargs or {}))


def cost(run: Run) -> None:
    """Measure all models at one example, then at more."""
    networks = _SMALL if run.dry else {name: NETWORKS[name] for name in _MODELS}
    expected: dict[tuple[str, str], float] = {}
    for batch in (1, 2) if run.dry else BATCHES:
        for name in run.steps(list(networks)):
            _measure(run, name, networks[name], batch, expected)


def _measure(
    run: Run, name: str, network: Network, batch: int, expected: dict[tuple[str, str], float]
) -> None:
    known: Item = {"model": name, "batch": batch}
    held: dict[str, Any] = {}

    def plain() -> Item:
        model, x, trained = network.build(batch, weights_file(None))
        model, x = model.to(run.device), x.to(run.device)
        held.update(model=model, x=x)
        return {"trained": trained, **_figures(run, lambda: model(x))}

    if "failed" in run.attempt({**known, "method": "forward pass"}, plain):
        return
    model, x = held["model"], held["x"]
    run.attempt({**known, "method": f"VJP of {ROWS} rows"}, lambda: _figures(run, _pull(model, x)))
    run.attempt({**known, "method": "capture"}, lambda: _capture(model, x, held))
    if "bounded" not in held:
        return
    ball = BoundedTensor(x, PerturbationLpNorm(eps=network.eps))
    for method in METHODS:
        seconds = 16 * expected.get((name, method), 0.0)
        if seconds > min(_TOO_LONG, run.left):
            run.add({**known, "method": method, "skipped": f"would take about {seconds:.0f} s"})
            expected[name, method] = seconds
            continue

        def call(method: str = method) -> object:
            return held["bounded"].compute_bounds(x=(ball,), method=method)

        found = run.attempt({**known, "method": method}, lambda: _figures(run, call))
        expected[name, method] = found.get("seconds", expected.get((name, method), 0.0))


def _capture(model: nn.Module, x: Tensor, held: dict[str, Any]) -> Item:
    start = time.perf_counter()
    held["bounded"] = BoundedModule(model, x)
    return {"seconds": time.perf_counter() - start}


def _pull(model: nn.Module, x: Tensor) -> Callable[[], object]:
    rows = torch.ones(ROWS, *model(x).shape, device=x.device)

    def work() -> object:
        return torch.vmap(torch.func.vjp(model, x)[1])(rows)

    return work


def _figures(run: Run, call: Callable[[], object]) -> Item:
    """Least time, peak memory, operators and kernel launches of a call."""
    with torch.no_grad():
        call()
        run.synchronize()
        times: list[float] = []
        while len(times) < 2 or (sum(times) < (0.01 if run.dry else 0.25) and len(times) < 50):
            start = time.perf_counter()
            call()
            run.synchronize()
            times.append(time.perf_counter() - start)
            if times[-1] > 2:
                break
        with _Operators() as operators:
            call()
        found: Item = {
            "seconds": min(times),
            "mib": peak(call, run.device),
            "operators": operators.count,
        }
        if run.device.type == "cuda" and min(times) < 1:
            found["launches"] = _launches(call)
    return found


def _launches(call: Callable[[], object]) -> int:
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as found:
        call()
        torch.cuda.synchronize()
    events = found.key_averages()
    return sum(event.count for event in events if "LaunchKernel" in event.key or "GraphLaunch" in event.key)
