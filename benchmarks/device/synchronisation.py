"""Part `synchronisation`: does anything in a computation of bounds wait for the device?

Every `float(tensor)`, `tensor.any()` in an `if`, `nonzero` or boolean index makes the program wait for what it has
queued. On a CUDA device PyTorch reports it (`torch.cuda.set_sync_debug_mode`): first as an error, then, where there was
one, as warnings that are counted by the line that caused them. On any device, the operators whose result
the host has to know are counted too, which finds the same lines without a GPU.
"""

from __future__ import annotations

import copy
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.device.models import MODELS
from benchmarks.device.run import Item, Run, place_of, reason
from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm

METHODS = ("IBP", "CROWN-IBP", "CROWN", "forward", "CROWN-Optimized")
_NAMES = ("MLP, ReLU", "CNN", "ResNet-2B", "LSTM", "transformer")
#: Operators whose result, or the shape of it, the host has to know.
_WAITING = frozenset(
    {
        "aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::is_nonzero", "aten::equal",
        "aten::_unique2", "aten::unique_dim", "aten::unique_consecutive", "aten::repeat_interleave.Tensor",
    }
)  # fmt: skip
_INDEXING = ("aten::index", "aten::index_put", "aten::_index_put_impl")


class Waits(TorchDispatchMode):
    """Counts operators that make the host wait for a device, by the line of lirpa that calls them."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.places: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if _waits(func, args):
            self.places[f"{where()} {func._schema.name.removeprefix('aten::')}"] += 1
        return func(*args, **(kwargs or {}))


def _waits(func: Any, args: tuple[Any, ...]) -> bool:
    if func.name() in _WAITING or func._schema.name in _WAITING:
        return True
    if func._schema.name.rstrip("_") not in _INDEXING:
        return False
    return any(isinstance(i, Tensor) and i.dtype in {torch.bool, torch.uint8} for i in args[1])


def where() -> str:
    """The innermost line of lirpa that is running."""
    frames = [f for f in traceback.extract_stack(limit=60) if "/lirpa_" in f.filename]
    return place_of(frames[-1]) if frames else "elsewhere"


def synchronisation(run: Run) -> None:
    """Look at every method of some models."""
    scale = 1 if run.dry else 4
    for name in run.steps(_NAMES[:2] if run.dry else _NAMES):
        model = MODELS[name]
        network, x = model.build(scale, torch.float32)
        x = x.to(run.device)
        bounded = BoundedModule(
            copy.deepcopy(network).to(run.device), x, bound_opts={"optimize_bound_args": {"iteration": 3}}
        )
        ball = BoundedTensor(x, PerturbationLpNorm(eps=model.eps))
        for method in METHODS:

            def call(bounded: BoundedModule = bounded, ball: Any = ball, method: str = method) -> None:
                with torch.no_grad():
                    bounded.compute_bounds(x=(ball,), method=method)

            run.attempt({"model": name, "method": method}, lambda call=call: _look(run, call))  # type: ignore[misc]


def _look(run: Run, call: Callable[[], None]) -> Item:
    call()  # what is made once may wait
    with Waits() as waits:
        call()
    found: Item = {"waits": waits.places.total(), "places": dict(waits.places.most_common(10))}
    if run.device.type == "cuda":
        found |= _by_torch(run, call)
    return found


def _by_torch(run: Run, call: Callable[[], None]) -> Item:
    run.synchronize()
    try:
        with _debug_mode("error"):
            call()
    except RuntimeError as error:
        first = reason(error)
    else:
        return {"synchronisations": 0}
    run.synchronize()
    places: Counter[str] = Counter()
    with warnings.catch_warnings(), _debug_mode("warn"):
        warnings.simplefilter("always")
        warnings.showwarning = lambda *_args, **_kwargs: places.update([where()])
        call()
    return {"synchronisations": places.total(), "first": first, "lines": dict(places.most_common(10))}


@contextmanager
def _debug_mode(mode: str) -> Iterator[None]:
    torch.cuda.set_sync_debug_mode(mode)
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")
