"""
An operator of one's own, in twelve lines
=========================================

A function that no package knows: :math:`x e^{-x^2}`, in a model as a plain Python function. lirpa can take it apart into a square, an
exponential and a product, but the pieces forget that they have the same :math:`x`. A rule of its own knows.
"""

import math

import torch
from matplotlib import pyplot as plt
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.plotting import plot_relaxation
from lirpa_core.plugins import OperatorRegistry, build_registry, hookimpl
from lirpa_core.rules import Call, Interval, Operand, smooth


# %%
# The twelve lines: the function, its rule (where it bends from convex to concave is all that ``smooth`` has to be told), and a
# plugin that registers it.


def wave(x: Tensor) -> Tensor:
    return x * torch.exp(-x * x)


WAVE = smooth(wave, inflections=[-math.sqrt(1.5), 0.0, math.sqrt(1.5)])


class plugin:
    LIRPA_API_VERSION = 1

    @staticmethod
    @hookimpl
    def lirpa_register_operators(registry: OperatorRegistry) -> None:
        registry.function(wave, WAVE)


registry = build_registry([plugin])

# %%
# The picture: its lines on a box, and those of the pieces.


figure, (left, right) = plt.subplots(
    1, 2, figsize=(8, 3.5), sharey=True, layout="constrained"
)
plot_relaxation(wave, (-0.4, 1.6), registry=registry, slopes=5, axes=left)
plot_relaxation(wave, (-0.4, 1.6), axes=right)
left.set_title("with its rule")
right.set_title("in pieces")
plt.show()

# %%
# The proof: not samples, but ball arithmetic shows that the interval and both lines hold at every real number of the box
# (:doc:`/maths/proof`).

from lirpa_testing.proof import prove_unary

box = Interval(
    torch.tensor([[-0.4]], dtype=torch.float64),
    torch.tensor([[1.6]], dtype=torch.float64),
)
proof = prove_unary(
    WAVE, Call.of(wave, Operand((1,))), box, oracle=lambda x: x * (-x * x).exp()
)
print(proof.verdict)

# %%
# In a model:


class Waves(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(3, 8), nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(wave(self.first(x)))


torch.manual_seed(0)
model, x = Waves(), torch.rand(1, 3)
ball = BoundedTensor(x, PerturbationLpNorm(eps=0.3))
widths = {}
for name, known in {"in pieces": None, "with its rule": registry}.items():
    lower, upper = BoundedModule(model, x, registry=known).compute_bounds(
        ball, method="CROWN"
    )
    widths[name] = (upper - lower).item()
    print(f"{name}: between {lower.item():.4f} and {upper.item():.4f}")
assert proof.verdict == "proved" and widths["with its rule"] < widths["in pieces"]
