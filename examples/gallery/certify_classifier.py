r"""
How many digits keep their class?
=================================

A classifier of handwritten digits, and all images in which every pixel may move by up to :math:`\varepsilon`: which of the
test images provably keep their class? An attack gives the other side: images that fall to it cannot be certified.
"""

import torch
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits
from torch import nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.plotting import plot_certified

torch.manual_seed(0)
pixels, labels = load_digits(return_X_y=True)
pixels = torch.tensor(pixels / 16, dtype=torch.float32)
labels = torch.tensor(labels)
shuffled = torch.randperm(len(labels))
held_out, rest = shuffled[:100], shuffled[100:]
x, y = pixels[held_out], labels[held_out]


def against(x: torch.Tensor, y: torch.Tensor, eps: float) -> torch.Tensor:
    """The signs of the pixels' gradients, where the loss grows, times ``eps``."""
    z = x.clone().requires_grad_()
    loss = nn.functional.cross_entropy(network(z), y, reduction="sum")
    return eps * torch.autograd.grad(loss, z)[0].sign()


# %%
# The network is trained on all others, each moved against it by one step. That takes seconds.

network = nn.Sequential(
    nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 24), nn.ReLU(), nn.Linear(24, 10)
)
optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
for _ in range(200):
    moved = pixels[rest] + against(pixels[rest], labels[rest], 0.06)
    optimizer.zero_grad()
    nn.functional.cross_entropy(network(moved), labels[rest]).backward()
    optimizer.step()
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
        z = z + against(z, y, eps / 4)
        z = z.clamp(x - eps, x + eps).clamp(0, 1)
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
