"""
Does a Lyapunov function decrease?
==================================

A pendulum with a network for a controller comes to rest if a function :math:`V` of its state gets smaller with every step. To prove
that for a region, cut it into boxes, bound :math:`V(f(x)) - V(x)` on all of them at once, and cut again where the upper bound is not
negative.
"""

import torch
from matplotlib import pyplot as plt
from matplotlib.collections import PatchCollection
from matplotlib.patches import Rectangle
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm

DT = 0.1

torch.manual_seed(0)
controller = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 1))
optimizer = torch.optim.Adam(controller.parameters(), 0.02)
for _ in range(400):
    state = 4 * torch.rand(256, 2) - 2
    wanted = -state @ torch.tensor([[6.0], [3.0]])
    loss = (controller(state) - wanted).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
controller.requires_grad_(False)


class Decrease(nn.Module):
    """``V`` after a step less ``V`` before it, quadratic in angle and speed."""

    def __init__(self) -> None:
        super().__init__()
        self.controller = controller

    def value(self, angle: Tensor, speed: Tensor) -> Tensor:
        return 2.5 * angle.square() + angle * speed + 0.5 * speed.square()

    def forward(self, state: Tensor) -> Tensor:
        angle, speed = state[:, :1], state[:, 1:]
        after = speed + DT * (
            torch.sin(angle) - 0.1 * speed + self.controller(state)
        )
        return self.value(angle + DT * speed, after) - self.value(angle, speed)


# %%
# A batch of boxes is a batch of examples. Around the rest position itself, where :math:`V` hardly changes, nothing can be
# proved this way: there a linear analysis takes over.

decrease = Decrease()
bounded = BoundedModule(decrease, torch.zeros(1, 2))
REGION, HOLE = 1.0, 0.1


def bounds(lower: Tensor, upper: Tensor) -> Tensor:
    """Upper bounds of the change of ``V`` on each box."""
    boxes = BoundedTensor(
        (lower + upper) / 2, PerturbationLpNorm(x_L=lower, x_U=upper)
    )
    with torch.no_grad():
        return bounded.compute_bounds(
            boxes, method="CROWN", bound_lower=False
        ).upper.flatten()


def halves(lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
    """Each box cut across its longer side."""
    axis = (upper - lower).argmax(1, keepdim=True)
    middle = ((lower + upper) / 2).gather(1, axis)
    return torch.cat([lower, lower.scatter(1, axis, middle)]), torch.cat(
        [upper.scatter(1, axis, middle), upper]
    )


lower, upper = torch.tensor([[-REGION, -REGION]]), torch.tensor([[REGION, REGION]])
proved: list[tuple[Tensor, Tensor]] = []
for _ in range(14):
    inside = (lower >= -HOLE).all(1) & (upper <= HOLE).all(1)
    lower, upper = lower[~inside], upper[~inside]
    if len(lower) == 0:
        break
    done = bounds(lower, upper) < 0
    proved += zip(lower[done], upper[done])
    lower, upper = halves(lower[~done], upper[~done])
print(f"{len(proved)} boxes proved, {len(lower)} left")

figure, axes = plt.subplots(figsize=(5, 5), layout="constrained")
patches = [Rectangle(low.tolist(), *(up - low).tolist()) for low, up in proved]
axes.add_collection(
    PatchCollection(
        patches, facecolor="C0", alpha=0.35, edgecolor="C0", linewidth=0.5
    )
)
axes.add_patch(
    Rectangle(
        (-HOLE, -HOLE),
        2 * HOLE,
        2 * HOLE,
        facecolor="none",
        edgecolor="C1",
        hatch="///",
    )
)
axes.set(
    xlim=(-REGION, REGION),
    ylim=(-REGION, REGION),
    xlabel="angle",
    ylabel="speed",
    aspect="equal",
)
plt.show()

# %%
# Nothing is left, so :math:`V` decreases on the whole region around the hatched square. Samples agree.

assert len(lower) == 0
states = REGION * (2 * torch.rand(20_000, 2) - 1)
assert (decrease(states)[(states.abs() > HOLE).any(1)] < 0).all()
