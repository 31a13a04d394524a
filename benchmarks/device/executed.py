"""Part `executed`: what the device computes, against bounds of the model as it is executed.

`covers="float"` bounds a model as some machine executes it, whatever the order of its sums. Computed on the CPU, such
bounds have to hold for the outputs of the device, at points drawn from the set and at its centre.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from benchmarks.device.models import MODELS
from benchmarks.device.run import Item, Run, tf32
from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm

_NAMES = (
    "MLP, ReLU",
    "MLP, tanh",
    "MLP, GELU",
    "CNN",
    "CNN, batch norm, average pool",
    "SwiGLU",
    "transformer",
)
_METHODS = ("IBP", "CROWN")
_POINTS = 64


class Cancelling(nn.Module):
    """Sums numbers that cancel, so that the order of summation decides the result."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 1, bias=False)
        self.layer.weight = nn.Parameter(torch.tensor([[2.0**25, -(2.0**25), -0.3]]))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.layer(x)
        return result


def executed(run: Run) -> None:
    """Compare outputs of the device with bounds of the CPU."""
    scale = 1 if run.dry else 4
    for name in run.steps(["sums that cancel", *_NAMES]):
        if name == "sums that cancel":
            network: nn.Module = Cancelling()
            x, eps = torch.ones(4, 3), 1e-6
        else:
            (network, x), eps = MODELS[name].build(scale, torch.float32), MODELS[name].eps
        for method in _METHODS:
            run.attempt({"model": name, "method": method}, lambda: _look(run, network, x, eps, method))  # noqa: B023


def _look(run: Run, network: nn.Module, x: Tensor, eps: float, method: str) -> Item:
    bounded = BoundedModule(network, x, bound_opts={"covers": "float"})
    lower, upper = bounded.compute_bounds(x=(BoundedTensor(x, PerturbationLpNorm(eps=eps)),), method=method)
    there = copy.deepcopy(network).to(run.device)
    torch.manual_seed(1)
    signs = torch.randint(-1, 2, (_POINTS, *x.shape)).to(x.dtype)
    points = (x + 0.999 * eps * signs).to(run.device)  # inside also after rounding
    points[0] = x.to(run.device)
    with torch.no_grad(), tf32(False):
        values = torch.stack([there(point).cpu() for point in points])  # [P, B, K]
    outside = ((values < lower) | (values > upper)).sum().item()
    width = float((upper - lower).mean().detach())
    return {"outputs": values.numel(), "outside": outside, "width": width, "equal": outside == 0}
