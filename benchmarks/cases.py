"""What is measured: each case sets a computation of bounds against plain PyTorch work of the same size."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm

Work: TypeAlias = Callable[[], object]


@dataclass(frozen=True)
class Pair:
    """The two things that a case compares.

    Attributes:
        subject: Computes bounds.
        plain: Does the plain PyTorch work that the bounds are measured against.
    """

    subject: Work
    plain: Work


@dataclass(frozen=True)
class Case:
    """One comparison.

    Attributes:
        name: Short name, for `--case`.
        summary: What is set against what.
        make: Builds model and data on a device.
        measure: `"ratio"`: subject's time as a multiple of plain; `"overhead"`: the difference, in ms.
        target: The most that the measure should be; None: only watched.
        long: Whether it takes so long that it runs only when asked for.
    """

    name: str
    summary: str
    make: Callable[[torch.device], Pair]
    measure: Literal["ratio", "overhead"] = "ratio"
    target: float | None = None
    long: bool = False


class _Mlp:
    """A network of linear layers and ReLUs with random weights, inputs in an L-infinity ball."""

    def __init__(self, sizes: Sequence[int], batch: int, device: torch.device, eps: float = 0.01) -> None:
        torch.manual_seed(0)
        self.linear = [nn.Linear(a, b) for a, b in itertools.pairwise(sizes)]
        layers = [layer for linear in self.linear for layer in (linear, nn.ReLU())][:-1]
        self.model = nn.Sequential(*layers).to(device).eval()
        self.x = torch.rand(batch, sizes[0], device=device)
        self.eps = eps
        self.bounded = BoundedModule(self.model, self.x)

    def bounds(self, method: str) -> object:
        ptb = PerturbationLpNorm(eps=self.eps)
        with torch.no_grad():
            return self.bounded.compute_bounds(x=(BoundedTensor(self.x, ptb),), method=method)

    def forward(self) -> Tensor:
        with torch.no_grad():
            result: Tensor = self.model(self.x)
            return result

    def vjp(self, rows: int, layers: int | None = None) -> Work:
        """Send `rows` random rows an example back through the first layers of the model, down to the input."""
        part = self.model if layers is None else self.model[: 2 * layers - 1]
        with torch.no_grad():
            A = torch.randn(rows, *part(self.x).shape, device=self.x.device)

        def work() -> object:
            with torch.no_grad():
                pull = torch.func.vjp(part, self.x)[1]
                return torch.vmap(pull)(A)

        return work

    def crown_rows(self) -> list[int]:
        """How many rows CROWN backpropagates from every hidden layer but the first, and from the output.

        From a hidden layer it backpropagates the neurons that interval arithmetic on the bounds of the layer before
        cannot decide: twice, for lower and upper bounds, and as many for every example as the worst has.
        """
        found = self.bounded.compute_bounds(
            x=(BoundedTensor(self.x, PerturbationLpNorm(eps=self.eps)),), method="CROWN"
        )
        rows = []
        for i in range(1, len(self.linear) - 1):
            before = found.intermediate[str(2 * i - 1)]
            weight, bias = self.linear[i].weight, self.linear[i].bias
            center = F.linear(before.midpoint, weight, bias)
            radius = F.linear(before.radius, weight.abs())
            undecided = (center - radius < 0) & (center + radius > 0)
            rows.append(2 * int(undecided.flatten(1).sum(1).max()))
        return [*rows, 2 * self.linear[-1].out_features]


#: The most that IBP may cost of the forward pass, where that is above 1 MFLOP.
IBP_TARGET = 2.2
#: The most that CROWN-IBP may cost of IBP and the VJPs of its rows.
CROWN_IBP_TARGET = 1.25

_WIDE = (784, 1024, 1024, 1024, 10)
_MIDDLE = (784, 256, 256, 256, 10)
_TINY = (16, 8, 8, 4)


def _ibp(device: torch.device) -> Pair:
    mlp = _Mlp(_WIDE, 64, device)
    return Pair(lambda: mlp.bounds("IBP"), mlp.forward)


def _crown_ibp(device: torch.device) -> Pair:
    mlp = _Mlp(_WIDE, 64, device)
    pull = mlp.vjp(20)
    return Pair(lambda: mlp.bounds("CROWN-IBP"), lambda: (mlp.bounds("IBP"), pull()))


def _crown(device: torch.device) -> Pair:
    mlp = _Mlp(_MIDDLE, 16, device)
    pulls = [mlp.vjp(rows, layers) for layers, rows in enumerate(mlp.crown_rows(), start=2) if rows]
    return Pair(lambda: mlp.bounds("CROWN"), lambda: [pull() for pull in pulls])


def _training(device: torch.device) -> Pair:
    mlp = _Mlp(_WIDE, 64, device)
    parameters = list(mlp.model.parameters())

    def bounds() -> object:
        x = BoundedTensor(mlp.x, PerturbationLpNorm(eps=mlp.eps))
        found = mlp.bounded.compute_bounds(x=(x,), method="IBP")
        return torch.autograd.grad((found.upper - found.lower).sum(), parameters, allow_unused=True)

    def plain() -> object:
        return torch.autograd.grad(mlp.model(mlp.x).square().sum(), parameters)

    return Pair(bounds, plain)


def _tiny(method: str, rows: int) -> Callable[[torch.device], Pair]:
    def make(device: torch.device) -> Pair:
        mlp = _Mlp(_TINY, 1, device)
        pull = mlp.vjp(rows) if rows else None
        return Pair(
            lambda: mlp.bounds(method), mlp.forward if pull is None else lambda: (mlp.forward(), pull())
        )

    return make


CASES: tuple[Case, ...] = (
    Case("ibp", "IBP / forward pass; MLP 784-1024x3-10, batch 64", _ibp, target=IBP_TARGET),
    Case("crown-ibp", "CROWN-IBP / (IBP + VJP of 20 rows); the same", _crown_ibp, target=CROWN_IBP_TARGET),
    Case("crown", "CROWN / VJPs of as many rows; MLP 784-256x3-10, batch 16", _crown),
    Case("train-ibp", "gradient of IBP / gradient of the model; MLP 784-1024x3-10, batch 64", _training),
    Case("tiny-ibp", "IBP - forward pass; MLP 16-8-8-4, one example", _tiny("IBP", 0), "overhead", 2.0),
    Case("tiny-crown-ibp", "CROWN-IBP - VJP of 8 rows; the same", _tiny("CROWN-IBP", 8), "overhead", 2.0),
    Case("tiny-crown", "CROWN - VJP of 8 rows; the same", _tiny("CROWN", 8), "overhead", 2.0),
)
