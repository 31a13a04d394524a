"""Draw docs/_static/sets.png: two-dimensional examples of every kind of set, by projecting a grid onto them."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import torch

from lirpa_core import Perturbation, PerturbationLpNorm
from lirpa_perturbations import (
    PerturbationAffine,
    PerturbationCategorical,
    PerturbationEllipsoid,
    PerturbationL0Norm,
    PerturbationLinearConstraints,
    PerturbationSynonym,
)

mpl.use("Agg")
import matplotlib.pyplot as plt  # after the choice of the backend
from matplotlib.patches import Rectangle

TARGET = Path(__file__).parents[1] / "docs" / "_static" / "sets.png"


def sets(x: torch.Tensor) -> dict[str, tuple[torch.Tensor, Perturbation]]:
    """Title, nominal value `[1, ...]` with two elements, and set."""
    words = torch.tensor([[[[0.9, 0.8], [0.15, 0.9], [0.7, 0.2]]]])
    return {
        "L∞, eps 0.3": (x, PerturbationLpNorm(eps=0.3)),
        "L2, eps 0.3": (x, PerturbationLpNorm(eps=0.3, norm=2)),
        "L1, eps 0.3": (x, PerturbationLpNorm(eps=0.3, norm=1)),
        "L2, eps 0.45, in the unit box": (x, PerturbationLpNorm(eps=0.45, norm=2, x_L=0, x_U=1)),
        "L0, one pixel": (x, PerturbationL0Norm(eps=1)),
        "one of three synonyms": (x.unsqueeze(1), PerturbationSynonym(1, words)),
        "ellipsoid": (x, PerturbationEllipsoid(torch.tensor([[1.0, 0.8], [0.8, 1.0]]), eps=0.3)),
        "A z ≤ b": (x, PerturbationLinearConstraints(torch.tensor([[1.0, 2.0], [-1.0, 1.0]]),
                                                   torch.tensor([1.5, 0.3]))),
        "brightness": (x, PerturbationAffine(PerturbationLpNorm(eps=0.3), torch.ones(1, 2))),
        "categorical": (torch.tensor([[1.0, 0.0]]), PerturbationCategorical([[0, 1]])),
    }  # fmt: skip


def main() -> None:
    """Draw all panels and write the file."""
    x = torch.tensor([[0.35, 0.4]])
    side = torch.linspace(-0.3, 1.3, 161)
    grid = torch.cartesian_prod(side, side).reshape(-1, 1, 2)
    figure, axes = plt.subplots(2, 5, figsize=(10, 4.4), layout="constrained")
    for axis, (title, (centre, ptb)) in zip(axes.flat, sets(x).items(), strict=True):
        members = ptb.project(centre, grid.reshape(-1, *centre.shape)).reshape(-1, 2)
        points = torch.unique((members * 500).round() / 500, dim=0)
        axis.scatter(points[:, 0], points[:, 1], s=20 if len(points) < 10 else 2, color="tab:blue")
        axis.plot(*centre.flatten().tolist(), "o", color="tab:orange")
        axis.add_patch(Rectangle((0, 0), 1, 1, fill=False, color="0.8"))
        axis.set(title=title, xlim=(-0.3, 1.3), ylim=(-0.3, 1.3), aspect="equal", xticks=[], yticks=[])
        axis.title.set_fontsize(9)
    figure.savefig(TARGET, dpi=80)


if __name__ == "__main__":
    main()
