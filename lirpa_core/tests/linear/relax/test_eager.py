"""The relaxation pass gives the same numbers in place and out of place, and changes no tensor that somebody sees."""

from __future__ import annotations

import pytest
import torch

from lirpa_core.linear.relax import relax_halves
from lirpa_core.linear.relax.eager import PIECE, weighted_sums


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("shape", [(3, 2, 4), (1, 2, 4)])
@pytest.mark.parametrize("grad", [True, False])
def test_it_is_the_sum_of_both_products(shape: tuple[int, ...], grad: bool) -> None:
    A, lower, upper = draw(*shape), draw(2, 4, seed=1), draw(2, 4, seed=2)
    positive, negative = A.clamp(min=0), A.clamp(max=0)
    expected = positive * lower + negative * upper
    kept = [t.clone() for t in (negative, lower, upper)]
    with torch.set_grad_enabled(grad):
        found = relax_halves(positive, negative, lower, upper)
    torch.testing.assert_close(found, expected)
    for before, after in zip(kept, (negative, lower, upper), strict=True):
        assert torch.equal(before, after)


def test_gradients_and_transforms_see_no_change_in_place() -> None:
    positive, negative = draw(3, 2).clamp(min=0), draw(3, 2).clamp(max=0)
    kept = positive.clone()
    slope = draw(2, seed=3).requires_grad_()
    relax_halves(positive, negative, slope, slope).sum().backward()
    assert torch.equal(positive, kept)
    torch.testing.assert_close(slope.grad, (positive + negative).sum(0))
    with torch.no_grad():
        torch.func.vmap(lambda s: relax_halves(positive, negative, s, s))(draw(4, 2))
    assert torch.equal(positive, kept)


def test_broadcasting_makes_a_new_tensor() -> None:
    with torch.no_grad():
        positive = draw(3, 1, 4).clamp(min=0)
        found = relax_halves(positive, -positive, draw(2, 4, seed=1), draw(2, 4, seed=2))
    assert found.shape == (3, 2, 4)


@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize(
    "shape", [(3, 1500, 40), (2, 3, PIECE // 2 + 1), (1, 1, 5), (4, 7, 0), (PIECE // 4 + 3, 2, 3)]
)
@pytest.mark.parametrize("one", ["neither", "coefficients", "value"])
def test_weighted_sums_are_those_of_every_example(
    shape: tuple[int, int, int], one: str, absolute: bool
) -> None:
    """Many examples of few elements, few of many, and what they share."""
    generator = torch.Generator().manual_seed(0)
    rows, batch, each = shape
    A = torch.randn(
        rows, 1 if one == "coefficients" else batch, each, generator=generator, dtype=torch.float64
    )
    value = torch.rand(1 if one == "value" else batch, each, generator=generator, dtype=torch.float64)
    expected = torch.einsum(
        "rbn,bn->rb", (A.abs() if absolute else A).expand(shape), value.expand(batch, each)
    )
    found = weighted_sums(A, value, absolute=absolute)
    assert found.shape == (rows, batch)
    torch.testing.assert_close(found, expected)
