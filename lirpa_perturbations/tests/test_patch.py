"""Patches against every position, and their refusals."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from lirpa_perturbations import PerturbationPatch

AT = torch.tensor([[0, 0], [2, 1]])


def windows(size: tuple[int, int], positions: Tensor | None, x: Tensor) -> list[tuple[slice, slice]]:
    H, W = x.shape[-2:]
    every = list(product(range(H - size[0] + 1), range(W - size[1] + 1)))
    places = every if positions is None else positions.tolist()
    return [(slice(r, r + size[0]), slice(c, c + size[1])) for r, c in places]


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 1)])
@pytest.mark.parametrize("positions", [None, AT])
def test_attack_is_the_minimum_over_every_position(brute: Any, size: Any, positions: Any) -> None:
    x = brute.rand(2, 2, 4, 3)
    members = [x]
    for rows, columns in windows(size, positions, x):
        for corner in product((-0.5, 1.0), repeat=2 * size[0] * size[1]):
            z = x.clone()
            z[..., rows, columns] = torch.tensor(corner, dtype=x.dtype).reshape(2, *size)
            members.append(z)
    brute.assert_minimum(PerturbationPatch(size, x_L=-0.5, positions=positions), x, torch.stack(members))


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (3, 1), (4, 3)])
@pytest.mark.parametrize("positions", [None, torch.tensor([[0, 0]])])
@pytest.mark.parametrize("fill", [0.0, "tensor"])
def test_occlusion_is_the_minimum_over_every_position(
    brute: Any, size: Any, positions: Any, fill: Any
) -> None:
    x = brute.rand(2, 3, 4, 3)
    fill = brute.rand(3, 4, 3, seed=1) if fill == "tensor" else fill
    members = [x]
    for rows, columns in windows(size, positions, x):
        z = x.clone()
        z[..., rows, columns] = torch.as_tensor(fill).to(x).expand(3, 4, 3)[:, rows, columns]
        members.append(z)
    ptb = PerturbationPatch(size, positions=positions, fill=fill)
    brute.assert_minimum(ptb, x, torch.stack(members))


def test_all_of_the_image_is_the_box(brute: Any) -> None:
    x = brute.rand(2, 1, 4, 3)
    hull = PerturbationPatch((4, 3)).hull(x)
    assert hull.lower.eq(0).all()
    assert hull.upper.eq(1).all()


@pytest.mark.parametrize("options", [{}, {"positions": AT}, {"fill": 0.0}])
def test_attacks_stay_inside(brute: Any, options: dict[str, Any]) -> None:
    brute.assert_attacks_stay_inside(PerturbationPatch(2, **options), brute.rand(2, 1, 4, 3))


def test_examples_need_not_come_first(brute: Any) -> None:
    x = brute.rand(2, 3, 4, 3)
    ptb = PerturbationPatch(2, x_U=1 + x, fill=x / 2)
    moved = PerturbationPatch(2, x_U=(1 + x).movedim(0, 1), fill=(x / 2).movedim(0, 1)).aligned(1, 4)
    assert torch.equal(moved.hull(x).lower, ptb.hull(x).lower)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": 0}, "size must be one or two whole numbers"),
        ({"size": 1.5}, "size must be one or two whole numbers"),
        ({"size": (1, 2, 3)}, "size must be one or two whole numbers"),
        ({"size": 5}, "size is (5, 5), larger than the image's [4, 3]"),
        ({"positions": torch.zeros(0, 2).long()}, "positions must be whole numbers [P, 2]"),
        ({"positions": torch.zeros(1, 2)}, "positions must be whole numbers [P, 2]"),
        ({"positions": torch.tensor([[0, 2]])}, "positions must lie between [0, 0] and [2, 1]"),
        ({"positions": torch.tensor([[-1, 0]])}, "positions must lie between"),
        ({"fill": float("nan")}, "fill must be finite"),
        ({"fill": torch.zeros(2)}, "fill has shape [2]"),
        ({"x_L": 0.9}, "lies outside the box"),
        ({"x_U": None}, "x_U must be a number"),
    ],
)
def test_refusals_name_the_argument(brute: Any, options: dict[str, Any], words: str) -> None:
    x = torch.full((1, 2, 4, 3), 0.5)
    brute.refuses(words, lambda: PerturbationPatch(**{"size": 2} | options).validate(x))


def test_refuses_what_is_no_image(brute: Any) -> None:
    brute.refuses("must be images", lambda: PerturbationPatch(1).validate(torch.zeros(2, 3)))


def test_repr_shows_the_arguments() -> None:
    assert repr(PerturbationPatch(2)) == "PerturbationPatch(size=(2, 2), x_L=0, x_U=1)"
    assert repr(PerturbationPatch(2, fill=0.5, positions=AT)) == (
        "PerturbationPatch(size=(2, 2), fill=0.5, positions=[2, 2])"
    )
