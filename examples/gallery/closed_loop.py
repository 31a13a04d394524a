"""
Where can a controlled system be after ten steps?
=================================================

A cart on a rail: :math:`x` is its place, :math:`v` its speed, and a network chooses the force. From anywhere in a box of places and
speeds, where may it be one, two, ... ten steps later?
"""

import torch
from matplotlib import pyplot as plt
from matplotlib.patches import Rectangle
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm

STEPS, DT = 10, 0.2

# %%
# The controller learns a saturated linear law in a second.

torch.manual_seed(0)
controller = nn.Sequential(nn.Linear(2, 24), nn.Tanh(), nn.Linear(24, 1))
optimizer = torch.optim.Adam(controller.parameters(), 0.02)
for _ in range(400):
    state = 4 * torch.rand(256, 2) - 2
    wanted = (-state @ torch.tensor([[1.0], [1.5]])).clamp(-2, 2)
    loss = (controller(state) - wanted).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
controller.requires_grad_(False)


# %%
# The loop is a module like any other. All its states are outputs.


class Loop(nn.Module):
    def __init__(self, steps: int) -> None:
        super().__init__()
        self.controller, self.steps = controller, steps

    def forward(self, state: Tensor) -> list[Tensor]:
        states = []
        for _ in range(self.steps):
            force = self.controller(state)
            x, v = state[:, :1], state[:, 1:]
            state = torch.cat([x + DT * v, v + DT * force], dim=1)
            states.append(state)
        return states


center, radius = torch.tensor([[1.2, 0.0]]), torch.tensor([[0.15, 0.15]])
box = BoundedTensor(
    center, PerturbationLpNorm(x_L=center - radius, x_U=center + radius)
)
whole = BoundedModule(Loop(STEPS), center).compute_bounds(box, method="CROWN")

# %%
# Bounds of the whole loop at once know that the force hangs on the state. Going box by box forgets it at every step, and
# the boxes grow.

step, boxes, at = BoundedModule(Loop(1), center), [], box
for _ in range(STEPS):
    lower, upper = step.compute_bounds(at, method="CROWN")
    boxes.append((lower, upper))
    at = BoundedTensor(
        (lower + upper) / 2, PerturbationLpNorm(x_L=lower, x_U=upper)
    )

starts = center + radius * (2 * torch.rand(500, 2) - 1)
runs = Loop(STEPS)(starts)

figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
for number, states in enumerate(runs):
    axes.plot(*states.T, ".", markersize=1.5, color="0.5")
    pairs = {
        "box by box": boxes[number],
        "all steps at once": (whole.lower[number], whole.upper[number]),
    }
    for (label, (low, up)), color in zip(pairs.items(), ("C1", "C0")):
        width, height = (up - low)[0].tolist()
        corner = low[0].tolist()
        axes.add_patch(
            Rectangle(
                corner,
                width,
                height,
                fill=False,
                edgecolor=color,
                label=label if number == 0 else None,
            )
        )
axes.set(xlabel="place", ylabel="speed")
axes.autoscale_view()
axes.legend(frameon=False)
plt.show()

# %%
# Every run stays inside, and the boxes of the whole are never the larger ones.

for number, states in enumerate(runs):
    assert ((whole.lower[number] <= states) & (states <= whole.upper[number])).all()
areas = [
    [(up - low).prod().item() for low, up in found]
    for found in (zip(whole.lower, whole.upper), boxes)
]
print(
    f"after {STEPS} steps: area {areas[0][-1]:.4f} at once, {areas[1][-1]:.4f} box by box"
)
assert areas[0][-1] < areas[1][-1]
