r"""
How many digits keep their class?
=================================

A classifier of handwritten digits, and all images in which every pixel may move by up to :math:`\varepsilon`: which of the
test images provably keep their class? An attack gives the other side: images that fall to it cannot be certified.
"""

from pathlib import Path

import torch
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits
from torch import nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.plotting import plot_certified

sizes = (64, 48, 32, 24, 10)
layers = [
    layer
    for a, b in zip(sizes, sizes[1:])
    for layer in (nn.Linear(a, b), nn.ReLU())
]
network = nn.Sequential(*layers[:-1]).eval()
network.load_state_dict(
    torch.load(Path("../digits/digits_mlp.pt"), weights_only=True)
)

pixels, labels = load_digits(return_X_y=True)
held_out = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))[
    :100
]
x, y = (
    torch.tensor(pixels / 16, dtype=torch.float32)[held_out],
    torch.tensor(labels)[held_out],
)
clean = network(x).argmax(1) == y
print(f"{clean.float().mean():.0%} of {len(y)} images are right as they are")

# %%
# A class is kept where the right score stays above each of the nine others. That is a matrix for each image, ``C``: bounds of
# ``C @ scores`` are bounds of the nine margins, and much tighter than differences of bounds of scores.

margins = (
    torch.eye(10)[y].unsqueeze(1)
    - torch.eye(10)[torch.tensor([[i for i in range(10) if i != k] for k in y])]
)
model = BoundedModule(network, x)


def certified(method: str, eps: float) -> float:
    ball = BoundedTensor(x, PerturbationLpNorm(eps=eps, x_L=0.0, x_U=1.0))
    lower, _ = model.compute_bounds(
        ball, C=margins, method=method, bound_upper=False
    )
    return (lower > 0).all(1).float().mean().item()


def attacked(eps: float) -> float:
    """Accuracy after a few signed gradient steps."""
    z = x.clone()
    for _ in range(10):
        z.requires_grad_()
        (gradient,) = torch.autograd.grad(
            nn.functional.cross_entropy(network(z), y, reduction="sum"), z
        )
        z = (
            (z + eps / 4 * gradient.sign())
            .clamp(x - eps, x + eps)
            .clamp(0, 1)
            .detach()
        )
    return (network(z).argmax(1) == y).float().mean().item()


radii = (0.005, 0.01, 0.02, 0.04, 0.06, 0.08)
with torch.no_grad():
    accuracies = {
        method: [certified(method, eps) for eps in radii]
        for method in ("IBP", "CROWN-IBP", "CROWN")
    }
under_attack = [attacked(eps) for eps in radii]
plot_certified(
    radii, accuracies, attacked=under_attack, clean=clean.float().mean().item()
)
plt.show()

# %%
# What is certified is never more than what survives an attack, whatever the method. Between the two lies what is not
# known: tighter bounds or :doc:`a search </verify>` decide it.

for found in accuracies.values():
    assert all(proved <= survives for proved, survives in zip(found, under_attack))
