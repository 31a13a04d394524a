"""Part `agreement`: bounds of the device against those of the CPU, for every method, in float32 and float64.

The two differ by rounding alone, because both do the same operations in another order of summation. How much that
may be is accounted per output as `GROWTH · u · size`: `u` is the unit roundoff, `size` what the sums that end in the
output add up to before anything cancels (Higham 2002, "Accuracy and stability of numerical algorithms", section 3.1),
which is the output of the model with absolute weights for absolute inputs; `GROWTH` stands for the length of the
sums and the depth.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarks.device.models import MODELS, Model
from benchmarks.device.run import Item, Run, tf32
from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm

METHODS = ("IBP", "CROWN-IBP", "CROWN", "forward", "CROWN-forward", "CROWN-Optimized")
#: Units roundoff, times the scale, that two orders of summation may lie apart.
GROWTH = 256.0
_OPTIONS = {"optimize_bound_args": {"iteration": 3}}
#: Models that a dry run compares in every method and type; of the others it takes the first method in float32.
DRY = ("MLP, ReLU", "CNN")


def agreement(run: Run) -> None:
    """Compare all models, methods and types; float32 of every model comes first."""
    scale = 1 if run.dry else 4
    for name in run.steps(DRY if run.dry else ["MLP, ReLU", "CNN", "ResNet-2B", "LSTM", "transformer"]):
        _with_tf32(run, name, scale)
    wide = [(name, torch.float64) for name in (DRY if run.dry else MODELS)]
    for name, dtype in run.steps([*((name, torch.float32) for name in MODELS), *wide]):
        _compare(run, name, dtype, scale)


def _with_tf32(run: Run, name: str, scale: int) -> None:
    """Bounds while the program allows TF32 have to be those without it, number for number."""
    known: Item = {"model": name, "dtype": "float32", "tf32": True}
    model = MODELS[name]

    def work(method: str) -> Item:
        network, x = model.build(scale, torch.float32)
        network, x = network.to(run.device), x.to(run.device)
        found = []
        for allowed in (False, True):
            with tf32(allowed):
                bounded = BoundedModule(network, x, bound_opts=_OPTIONS)
                found.append(torch.stack(_bounds(bounded, x, model.eps, method)))
        gap = float((found[0] - found[1]).abs().max())
        scale_of = float(found[0].abs().max())
        return {"difference": gap, "units": gap / scale_of * 2**24, "equal": gap <= 4 * 2**-24 * scale_of}

    for method in ("IBP", "CROWN"):
        run.attempt({**known, "method": method}, lambda method=method: work(method))  # type: ignore[misc]


def _compare(run: Run, name: str, dtype: torch.dtype, scale: int) -> None:
    known: Item = {"model": name, "dtype": str(dtype).removeprefix("torch."), "tf32": False}
    model = MODELS[name]
    held: dict[str, Any] = {}

    def capture() -> Item:
        network, x = model.build(scale, dtype)
        here = BoundedModule(network, x, bound_opts=_OPTIONS)
        moved = x.to(run.device)
        there = here
        if run.device.type != "cpu":
            there = BoundedModule(copy.deepcopy(network).to(run.device), moved, bound_opts=_OPTIONS)
        held.update(here=here, x=x, there=there, moved=moved, size=_size(model, scale))
        return {}

    if "failed" in run.attempt({**known, "method": "capture"}, capture):
        return
    for method in METHODS[:1] if run.dry and name not in DRY else METHODS:

        def work(method: str = method) -> Item:
            ours = _bounds(held["here"], held["x"], model.eps, method)
            theirs = [side.cpu() for side in _bounds(held["there"], held["moved"], model.eps, method)]
            return judge(ours, theirs, held["size"], dtype, searched=method == "CROWN-Optimized")

        run.attempt({**known, "method": method}, work)


def _bounds(bounded: BoundedModule, x: Tensor, eps: float, method: str) -> tuple[Tensor, Tensor]:
    ball = BoundedTensor(x, PerturbationLpNorm(eps=eps))
    with torch.no_grad():
        lower, upper = bounded.compute_bounds(x=(ball,), method=method)
    return lower, upper


def _size(model: Model, scale: int) -> Tensor:
    """What the sums that end in an output add up to before anything cancels: `[B, K]`, in float64."""
    network, x = model.build(scale, torch.float64)
    with torch.no_grad():
        plain = network(x)
        for parameter in network.parameters():
            parameter.abs_()
        return torch.maximum(plain.abs(), network(x.abs() + model.eps).abs())


def judge(
    ours: Sequence[Tensor],
    theirs: Sequence[Tensor],
    size: Tensor,
    dtype: torch.dtype,
    *,
    searched: bool = False,
) -> Item:
    """Compare lower and upper bounds of two devices, `[B, K]` each.

    Args:
        ours: Of the CPU.
        theirs: Of the device.
        size: What the sums that end in an output add up to, `[B, K]`.
        dtype: In which both were computed.
        searched: Whether a search chose them, whose steps may part where rounding decides: then their widths may differ
            by a thousandth.
    """
    unit = torch.finfo(dtype).eps / 2
    a, b = (torch.stack([side.double() for side in sides]) for sides in (ours, theirs))  # [2, B, K]
    if not bool(torch.isfinite(a).all() and torch.isfinite(b).all()):
        return {"failed": "bounds that are not finite"}
    gap, scale = (a - b).abs(), torch.maximum(size, a.abs().amax(0))
    units = float((gap / (unit * scale)).max())
    width = float((a[1] - a[0]).mean())
    equal = units <= GROWTH or (searched and float(gap.max()) <= 1e-3 * width)
    return {"difference": float(gap.max()), "units": units, "width": width, "equal": equal}
