"""Sets on which `lirpa check` and the conformance tests try this package's perturbations."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lirpa_core import PerturbationLpNorm
from lirpa_perturbations.affine import PerturbationAffine
from lirpa_perturbations.categorical import PerturbationCategorical
from lirpa_perturbations.ellipsoid import PerturbationEllipsoid
from lirpa_perturbations.l0 import PerturbationL0Norm
from lirpa_perturbations.linear_constraints import PerturbationLinearConstraints
from lirpa_perturbations.patch import PerturbationPatch
from lirpa_perturbations.photometric import bias_field, brightness_contrast
from lirpa_perturbations.synonym import PerturbationSynonym
from lirpa_testing import ConformanceCases

#: Shape of an example, and options, of L0 sets.
PIXELS: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "vector": ((5,), {}),
    "image": ((3, 2, 2), {}),
    "elements": ((1, 2, 3), {"group": ()}),
    "rows": ((3, 2), {"group": (-1,)}),
    "labels": ((2, 3), {"group": torch.tensor([4, 0, 4])}),
    "ratio": ((4,), {"ratio": 0.25}),
    "limits": ((4,), {"x_L": torch.tensor([0.0, -1, -2, 0]), "x_U": 2.0}),
}

#: Columns of each categorical feature, and options.
GROUPS = [[0, 1, 2], [4, 5], [6, 7, 8]]
CATEGORIES: dict[str, dict[str, Any]] = {
    "all": {},
    "none": {"budget": 0},
    "one": {"budget": 1},
    "numbers": {"budget": 2, "eps": 0.3},
    "allowed": {"allowed": [[1, 2], [4], [8]], "eps": torch.linspace(0, 1, 12)},
    "scaled": {"budget": 1, "on": 2.0, "off": -0.5},
    "budget of each example": {"budget": torch.tensor([0, 2]), "eps": 0.1},
}

#: Which words of three sentences have which substitutes: one full, one short, one without any.
MASK = torch.tensor(
    [
        [[1, 1, 1], [1, 0, 0], [0, 1, 1], [1, 1, 0]],
        [[1, 0, 1], [0, 0, 0], [0, 0, 0], [0, 0, 0]],
        [[0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]],
    ]
).bool()


def rand(*shape: int, seed: int = 0) -> Tensor:
    """Numbers from 0 to 1."""
    return torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def randn(*shape: int, seed: int = 0) -> Tensor:
    """Normal numbers."""
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def table(on: float = 1.0, off: float = 0.0) -> Tensor:
    """Two rows with three categorical features and four numbers."""
    x = torch.full((2, 12), off, dtype=torch.float64)
    x[0, [0, 5, 6]] = on
    x[1, [2, 4, 8]] = on
    x[:, [3, 9, 10, 11]] = torch.linspace(-1, 1, 8, dtype=torch.float64).reshape(2, 4)
    return x


def declare(cases: ConformanceCases) -> None:
    """Declare all of it."""
    for group in (_pixels, _categories, _synonyms, _affine, _ellipsoids, _constraints, _patches):
        group(cases)


def _pixels(cases: ConformanceCases) -> None:
    for name, (shape, options) in PIXELS.items():
        for k in (0, 1, 2):
            cases.perturbation(f"{name}, {k}", PerturbationL0Norm(eps=k, **options), rand(3, *shape))
    cases.perturbation("budget of each example", PerturbationL0Norm(torch.tensor([0, 2, 5])), rand(3, 6))


def _categories(cases: ConformanceCases) -> None:
    for name, options in CATEGORIES.items():
        x = table(options.get("on", 1.0), options.get("off", 0.0))
        cases.perturbation(name, PerturbationCategorical(GROUPS, **options), x)


def _synonyms(cases: ConformanceCases) -> None:
    x, substitutes = randn(3, 4, 3), randn(3, 4, 3, 3, seed=1)
    costs = torch.randint(1, 4, (3, 4, 3), generator=torch.Generator().manual_seed(2))
    budgets: dict[str, Any] = {"none": 0, "two": 2, "of each example": torch.tensor([0, 1, 3])}
    for name, budget in budgets.items():
        for priced in (False, True):
            for eps in (0.3, 1.0):
                ptb = PerturbationSynonym(budget, substitutes, MASK, costs if priced else None, eps)
                cases.perturbation(f"budget {name}, {'costs, ' * priced}eps {eps}", ptb, x)
    free = PerturbationSynonym(0, substitutes, MASK, torch.zeros(1, dtype=torch.long))
    cases.perturbation("free", free, x)


def _affine(cases: ConformanceCases) -> None:
    bases = {
        "box": PerturbationLpNorm(eps=0.3),
        "octahedron": PerturbationLpNorm(eps=0.3, norm=1),
        "balls": PerturbationLpNorm(eps=torch.tensor([0.0, 0.7]), norm=2),
        "pixel": PerturbationL0Norm(1, x_L=-1.0),
    }
    x = randn(2, 2, 3)
    for name, base in bases.items():
        cases.perturbation(f"{name}, shared", PerturbationAffine(base, randn(3, 2, 3, seed=1)), x)
        cases.perturbation(f"{name}, of each example", PerturbationAffine(base, randn(3, 2, 2, 3, seed=1)), x)
    image = rand(2, 1, 4, 3)
    for name, z in {"random": image, "constant": 0 * image + 0.4, "black": 0 * image}.items():
        cases.perturbation(f"brightness and contrast, {name}", brightness_contrast(z, 0.1, 0.2), z)
    for multiplicative in (False, True):
        name = f"bias field, {'multiplied' if multiplicative else 'added'}"
        cases.perturbation(name, bias_field(image, 0.1, multiplicative=multiplicative), image)


def _ellipsoids(cases: ConformanceCases) -> None:
    radii: dict[str, Any] = {"0": 0.0, "0.7": 0.7, "of each example": torch.tensor([0.0, 1.0, 2.0])}
    for shape in ((6, 6), (3, 6, 6)):
        factor = randn(*shape)
        matrix = factor @ factor.mT + 0.01 * torch.eye(6)
        for name, eps in radii.items():
            what = f"radius {name}, {'shared' if len(shape) == 2 else 'of each example'}"
            cases.perturbation(what, PerturbationEllipsoid(matrix, eps), randn(3, 2, 3))


def _constraints(cases: ConformanceCases) -> None:
    for m in (1, 5):
        A, x = randn(m, 6), rand(3, 6, seed=1)
        shared = PerturbationLinearConstraints(A, (A @ x.T).amax(1) + 0.2)
        own = PerturbationLinearConstraints(A, A @ x.T + 0.05, x_L=x - 0.2, x_U=x + 0.3)
        cases.perturbation(f"{m}, shared", shared, x)
        cases.perturbation(f"{m}, of each example", own, x)
    nothing = PerturbationLinearConstraints(torch.tensor([[0.0] * 4, [1.0] * 4]), torch.tensor([0.0, 5.0]))
    cases.perturbation("that cut nothing", nothing, rand(2, 4))


def _patches(cases: ConformanceCases) -> None:
    at = torch.tensor([[0, 0], [2, 1]])
    options: dict[str, dict[str, Any]] = {
        "anywhere": {},
        "at two places": {"positions": at},
        "grey": {"fill": 0.5},
        "grey, at two places": {"fill": 0.1, "positions": at},
    }
    for name, given in options.items():
        for size in ((2, 1), 2):
            cases.perturbation(f"{name}, size {size}", PerturbationPatch(size, **given), rand(2, 2, 4, 3))
