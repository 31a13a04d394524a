"""
From auto_LiRPA to lirpa, line by line
======================================

A program for auto_LiRPA, with each line as it is said there in a comment above the line that does it here. Where both are the same
there is one line. :doc:`/migrating` has every public name.
"""

import math

import torch
from torch import nn

# from auto_LiRPA import BoundedModule, BoundedTensor
# from auto_LiRPA.perturbations import PerturbationLpNorm
from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm

torch.manual_seed(0)
network = nn.Sequential(
    nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)
).eval()
image, labels = torch.rand(2, 1, 8, 8), torch.tensor([3, 7])

# %%
# The example may still be anything of the right shape. Options that mean nothing here are taken with one warning that says what
# happens instead.

# model = BoundedModule(
#     network, torch.empty_like(image), bound_opts={"conv_mode": "patches"}
# )
model = BoundedModule(
    network, torch.zeros_like(image), bound_opts={"conv_mode": "patches"}
)

ptb = PerturbationLpNorm(norm=math.inf, eps=0.01)
image = BoundedTensor(image, ptb)
prediction = model(image)

# %%
# Bounds of what the model was called with last, or of ``x=(image,)``. The result unpacks as there, and has more.

# lb, ub = model.compute_bounds(x=(image,), method="backward")
lb, ub = model.compute_bounds(x=(image,), method="backward")
result = model.compute_bounds(method="IBP+backward")
print(result.method, result.lower.shape)

# %%
# Margins of the right class.

# C = get_spec_matrix(image, labels, 10)
from lirpa_core import get_spec_matrix

C = get_spec_matrix(image, labels, 10)
margins, _ = model.compute_bounds(
    x=(image,), C=C, method="backward", bound_upper=False
)

# %%
# Linear bounds: the same dictionary under the names of this graph.

# required_A = defaultdict(set); required_A[model.output_name[0]].add(model.input_name[0])
required_A = {model.output_name[0]: {model.input_name[0]}}
lb, ub, A = model.compute_bounds(
    x=(image,), method="CROWN", return_A=True, needed_A_dict=required_A
)
print(A[model.output_name[0]][model.input_name[0]]["lA"].shape)

# %%
# Optimised slopes. What the optimiser does is said by options, or by the method itself.

# model.set_bound_opts({"optimize_bound_args": {"iteration": 20, "lr_alpha": 0.1}})
model.set_bound_opts({"optimize_bound_args": {"iteration": 20, "lr_alpha": 0.1}})
optimised, _ = model.compute_bounds(
    x=(image,), C=C, method="CROWN-Optimized", bound_upper=False
)
print(
    f"least margin {margins.min():.3f}, with optimised slopes {optimised.min():.3f}"
)

# %%
# What is only here: bounds account for the rounding of their own computation, a result explains itself, and ``auto`` chooses.

print(model.compute_bounds(x=(image,), method="auto", time_budget=5).reason)
print(
    f"rounding moved no bound by more than {result.rounding.lower.abs().max():.1e}"
)

assert ((lb <= prediction) & (prediction <= ub)).all()
assert (optimised >= margins - 1e-5).all()
