"""Patches agree with their own dense form, whatever their windows and rows."""

from __future__ import annotations

import pytest
import torch

from lirpa_core.linear.coefficients import DenseCoefficients, SelectedRows, add
from lirpa_ops_vision.patches import PatchesCoefficients, Placement
from lirpa_ops_vision.patches.structure import single_pixels
from lirpa_testing import check_coefficients

PLACES = {
    "inside": ((3, 3), (1, 1), (0, 0), (2, 2), (5, 4)),
    "overhanging": ((4, 3), (1, 1), (-1, -2), (3, 4), (4, 3)),
    "far outside": ((2, 2), (3, 3), (-4, -4), (3, 3), (3, 3)),
    "strided": ((2, 3), (2, 3), (-1, 0), (3, 2), (5, 8)),
    "one pixel": ((3, 2), (1, 1), (0, 0), (1, 1), (3, 2)),
}


def patches(
    name: str, *, batch: int, anchor_batch: int, repeat: int = 1, prefix: tuple[int, ...] = (1,)
) -> PatchesCoefficients:
    space, stride, offset, kernel, size = PLACES[name]
    generator = torch.Generator().manual_seed(len(name))
    anchor = torch.randint(space[0] * space[1], (5, anchor_batch), generator=generator)
    place = Placement(anchor, space, stride, offset, kernel, size)
    values = torch.randn(5 * repeat, batch, 2, *kernel, dtype=torch.float64, generator=generator)
    return PatchesCoefficients(values, place, (*prefix, 2, *size))


@pytest.mark.parametrize("name", PLACES)
@pytest.mark.parametrize(("batch", "anchor_batch"), [(1, 1), (3, 1), (1, 3), (3, 3)])
def test_agrees_with_its_dense_form(name: str, batch: int, anchor_batch: int) -> None:
    check_coefficients(patches(name, batch=batch, anchor_batch=anchor_batch))
    check_coefficients(patches(name, batch=batch, anchor_batch=anchor_batch, repeat=2, prefix=()))


def test_outside_counts_as_zero() -> None:
    A = patches("overhanging", batch=1, anchor_batch=1)
    ones = torch.ones(1, *A.shape, dtype=torch.float64)
    torch.testing.assert_close(A.dot(ones), A.to_dense().flatten(2).sum(-1))
    assert not A.clean
    assert A.cleaned().clean
    torch.testing.assert_close(A.cleaned().to_dense(), A.to_dense(), rtol=0, atol=0)
    torch.testing.assert_close(A.cleaned().values.sum((-3, -2, -1)), A.dot(ones))


def test_gathers_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lirpa_ops_vision.patches.structure._CHUNK", 40)
    check_coefficients(patches("overhanging", batch=3, anchor_batch=3, repeat=2))


@pytest.mark.parametrize("repeat", [1, 2])
def test_rows_are_taken_across_repetitions(repeat: int) -> None:
    A = patches("strided", batch=2, anchor_batch=2, repeat=repeat)
    torch.testing.assert_close(A.take(3, 5 * repeat - 1).to_dense(), A.to_dense()[3:-1])


def test_windows_of_different_size_add_up() -> None:
    small = patches("one pixel", batch=1, anchor_batch=1)
    large = PatchesCoefficients(
        torch.randn(5, 2, 2, 2, 1, dtype=torch.float64),
        Placement(small.place.anchor.clone(), (3, 2), (1, 1), (-1, 0), (2, 1), (3, 2)),
        small.shape,
    )
    total = add(small, large)
    assert isinstance(total, PatchesCoefficients)
    torch.testing.assert_close(total.to_dense(), small.to_dense() + large.to_dense())
    negated = add(small.with_negated(), large.with_negated())
    torch.testing.assert_close(negated.to_dense(), total.with_negated().to_dense())


def test_selected_rows_add_to_patches() -> None:
    rows = SelectedRows(
        torch.tensor([[3, 0], [7, 11]]), torch.tensor([[2.0], [-1.0]]), (1, 2, 3, 2)
    ).with_negated()
    place = Placement(rows.index[:2] % 6, (3, 2), (1, 1), (0, -1), (1, 2), (3, 2))
    A = PatchesCoefficients(torch.randn(4, 2, 2, 1, 2), place, rows.shape)
    for total in (add(rows, A), add(A, rows)):
        assert isinstance(total, PatchesCoefficients)
        torch.testing.assert_close(total.to_dense(), rows.to_dense() + A.to_dense())


def test_windows_elsewhere_add_up_densely() -> None:
    A, B = (patches(name, batch=1, anchor_batch=1) for name in ("inside", "inside"))
    moved = PatchesCoefficients(B.values, Placement(8 - B.place.anchor, *PLACES["inside"]), B.shape)
    total = add(A, moved)
    assert isinstance(total, DenseCoefficients)
    torch.testing.assert_close(total.to_dense(), A.to_dense() + moved.to_dense())


def test_single_pixels_are_the_rows() -> None:
    rows = SelectedRows(
        torch.tensor([[3, 0], [7, 11]]), torch.tensor([[2.0, 0.5], [-1.0, 0.0]]), (1, 2, 3, 2)
    )
    A = single_pixels(rows)
    assert A is not None
    torch.testing.assert_close(A.to_dense(), rows.to_dense())
    assert single_pixels(rows.reshape((12,))) is None
    assert single_pixels(SelectedRows(rows.index, rows.values, (2, 1, 3, 2))) is None


def test_gradients_flow_through_slopes() -> None:
    A = patches("overhanging", batch=1, anchor_batch=1)
    slope = torch.rand(1, *A.shape, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(A.relax(slope, 2 * slope).dual_norm(1).sum(), slope)
    (expected,) = torch.autograd.grad(A.dense().relax(slope, 2 * slope).dual_norm(1).sum(), slope)
    torch.testing.assert_close(gradient, expected)
