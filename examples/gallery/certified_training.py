r"""
What does certified training change?
====================================

Two networks of the same shape on the same points of the plane: one trained as usual, one on a bound of its worst loss within
:math:`\varepsilon`. How many points of each provably keep their side?
"""

import torch
from matplotlib import pyplot as plt
from torch import Tensor, nn

from lirpa_core import BoundedModule, PerturbationLpNorm
from lirpa_training import CertifiedLoss, SmoothedScheduler, certify

EPS, EPOCHS, STEPS = 0.2, 20, 10


def moons(count: int) -> tuple[Tensor, Tensor]:
    """Two crescents that fit into each other."""
    side = torch.randint(0, 2, (count,))
    turn = torch.pi * torch.rand(count)
    x = torch.where(side == 0, turn.cos(), 1 - turn.cos())
    y = torch.where(side == 0, turn.sin(), 0.5 - turn.sin())
    return torch.stack([x, y], 1) + 0.05 * torch.randn(count, 2), side


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2)
    )


# %%
# The usual loop, and the same loop with another loss and a radius that grows.

plain, robust = network(), network()
optimizer = torch.optim.Adam(plain.parameters(), 0.01)
for _ in range(EPOCHS * STEPS):
    x, y = moons(128)
    loss = nn.functional.cross_entropy(plain(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

criterion = CertifiedLoss(robust, method="CROWN-IBP")
optimizer = torch.optim.Adam(robust.parameters(), 0.01)
radius = SmoothedScheduler(EPS, "start=2,length=12")
radius.set_epoch_length(STEPS)
for _ in range(EPOCHS):
    radius.step_epoch()
    for _ in range(STEPS):
        radius.step_batch()
        x, y = moons(128)
        loss = criterion(x, y, PerturbationLpNorm(eps=radius.get_eps()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

# %%
# The same question to both.

torch.manual_seed(1)
x, y = moons(300)
grid = torch.stack(
    torch.meshgrid(
        torch.linspace(-1.5, 2.5, 161), torch.linspace(-1, 1.5, 101), indexing="xy"
    ),
    -1,
)
figure, axes = plt.subplots(
    1, 2, figsize=(9, 3.4), sharey=True, layout="constrained"
)
proved = {}
for drawn, (name, trained) in zip(
    axes, {"plain": plain, "certified": robust}.items()
):
    trained.eval().requires_grad_(False)
    found = certify(BoundedModule(trained, x), x, y, PerturbationLpNorm(eps=EPS))
    proved[name] = found.verified.float().mean().item()
    right = found.correct.float().mean()
    print(f"{name}: right {right:.0%}, provably right {proved[name]:.0%}")
    scores = trained(grid.reshape(-1, 2)).diff(dim=1).reshape(grid.shape[:2])
    drawn.contourf(
        grid[..., 0],
        grid[..., 1],
        scores,
        levels=[-1e9, 0, 1e9],
        colors=["C0", "C1"],
        alpha=0.2,
    )
    for shown, marker in ((found.verified, "o"), (~found.verified, "x")):
        colors = ["C0" if side == 0 else "C1" for side in y[shown]]
        drawn.scatter(*x[shown].T, c=colors, marker=marker, s=12, linewidths=0.8)
    drawn.set_title(f"{name}: {proved[name]:.0%} proved at ε {EPS:g}")
plt.show()

# %%
# Crosses are points that are not proved. The certified network keeps its border farther away from them, and bends it less, so that
# its bounds are tight.

assert proved["certified"] > proved["plain"]
