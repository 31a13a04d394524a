"""
At which layer are bounds lost?
===============================

Bounds are wider than what a network can do, and most of the difference often arises in one place. ``result.explain()`` says where,
in numbers, and ``plot_bounds`` in a picture. What the columns mean is in :doc:`/explaining`.
"""

import torch
from matplotlib import pyplot as plt
from torch import nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.plotting import plot_bounds, plot_outputs

torch.manual_seed(0)
layers = [
    layer for size in (4, 32, 32, 32) for layer in (nn.Linear(size, 32), nn.ReLU())
]
network = nn.Sequential(*layers, nn.Linear(32, 2)).eval().requires_grad_(False)
x = BoundedTensor(torch.rand(1, 4), PerturbationLpNorm(eps=0.2))
model = BoundedModule(network, x)

result = model.compute_bounds(x, method="CROWN-IBP")
print(result.explain())
plot_bounds(result)
plt.show()

# %%
# The advice is to bound the inner layers by rows too.

tighter = model.compute_bounds(x, method="CROWN")
plot_bounds(tighter)
plt.show()

# %%
# Which inner bounds became tighter? They are there under the modules' paths.

for path in ("0", "2", "4", "6"):
    before, after = (
        result.intermediate[path].width.mean(),
        tighter.intermediate[path].width.mean(),
    )
    print(
        f"layer {path}: mean width {before:.3f} with intervals, {after:.3f} with rows"
    )
    assert after <= before + 1e-6

# %%
# And what is proved about the two outputs, around samples:

_, axes = plt.subplots(figsize=(6.5, 4.5), layout="constrained")
plot_outputs(model, x, methods=("CROWN", "CROWN-Optimized"), axes=axes)
plt.show()

# %%
# ``auto`` chooses by the time that it may take, and says why.

chosen = model.compute_bounds(x, method="auto", time_budget=60)
print(f"{chosen.method}: {chosen.reason}")
assert (chosen.upper - chosen.lower).mean() <= (
    tighter.upper - tighter.lower
).mean() + 1e-5
