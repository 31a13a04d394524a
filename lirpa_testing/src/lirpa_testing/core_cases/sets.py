"""Perturbations that the core knows."""

from __future__ import annotations

import math
from typing import Any

import torch

from lirpa_core.perturbations import PerturbationJoint, PerturbationLpNorm
from lirpa_testing.conformance.declarations import ConformanceCases


def declare(cases: ConformanceCases) -> None:
    """Declare balls of several norms, in a box or not, and boxes."""
    x = torch.rand(3, 2, 2, generator=torch.Generator().manual_seed(0))
    box: dict[str, Any] = {"x_L": 0.0, "x_U": torch.ones(2)}
    for p in (1, 1.5, 2, 5, math.inf):
        cases.perturbation(f"ball, p = {p}", PerturbationLpNorm(0.5, p), x)
        cases.perturbation(f"ball in a box, p = {p}", PerturbationLpNorm(0.5, p, **box), x)
    each = torch.tensor([0.0, 0.1, 2.0])
    for p in (1, 2, math.inf):
        cases.perturbation(f"radius of each example, p = {p}", PerturbationLpNorm(each, p), x)
    for p in (1, 2):
        joint = PerturbationJoint(PerturbationLpNorm(0.5, p), key="one tensor alone")
        cases.perturbation(f"joint ball of one tensor, p = {p}", joint, x)
    cases.perturbation("box", PerturbationLpNorm(x_L=x - 0.1, x_U=x + 2), x)
    cases.perturbation("radius of each element", PerturbationLpNorm(torch.full((2, 2), 0.3)), x)
    joint = PerturbationJoint(PerturbationLpNorm(0.5, 2, x_L=0.0, x_U=1.0))
    cases.perturbation("joint, a single tensor", joint, x)
    cases.perturbation("one example", PerturbationLpNorm(0.5, 2), x[:1])
    cases.perturbation("numbers", PerturbationLpNorm(0.5, 2), x[:, 0, 0])
