"""Planes of a maximum: sound on samples and corners, and as good at the centre as any plane (linear programs)."""

import itertools

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from lirpa_core.rules.relaxations.maximum import (
    maximum_choices,
    maximum_planes,
    maximum_planes_with,
    rivals,
)


def boxes(k: int, seed: int, n: int = 60) -> tuple[torch.Tensor, torch.Tensor]:
    """Random boxes `[n, k]`, some elements without width, some alike."""
    generator = torch.Generator().manual_seed(seed)
    center = torch.randn(n, k, generator=generator, dtype=torch.float64)
    radius = torch.rand(n, k, generator=generator, dtype=torch.float64) * 2
    radius[: n // 4, 0] = 0
    center[n // 4 : n // 2] = center[n // 4 : n // 2, :1]
    return center - radius, center + radius


def corners(low: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    """`[n, 2^k, k]`."""
    picks = torch.tensor(list(itertools.product([False, True], repeat=low.shape[1])))
    return torch.where(picks, up.unsqueeze(1), low.unsqueeze(1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_planes_are_sound(k, dtype):
    low, up = (end.to(dtype) for end in boxes(k, 1))
    planes = maximum_planes(low, up)
    weights = torch.rand(len(low), 200, k, generator=torch.Generator().manual_seed(2), dtype=dtype)
    points = torch.cat([corners(low, up), torch.lerp(low.unsqueeze(1), up.unsqueeze(1), weights)], 1)
    value = points.amax(-1)
    rounding = 8 * torch.finfo(dtype).eps * (1 + value.abs())
    below = (planes.below.unsqueeze(1) * points).sum(-1)
    above = (planes.above.unsqueeze(1) * points).sum(-1) + planes.bias.unsqueeze(1)
    assert (below <= value + rounding).all() and (value <= above + rounding).all()


@pytest.mark.parametrize("k", [2, 3, 4])
def test_no_plane_above_is_lower_at_the_centre(k):
    low, up = boxes(k, 3)
    planes = maximum_planes(low, up)
    center = (low + up) / 2
    value = (planes.above * center).sum(-1) + planes.bias
    for at, points, found in zip(center.numpy(), corners(low, up).numpy(), value.tolist(), strict=True):
        # The maximum is convex, so a plane is above it where it is so at the corners.
        rows = np.concatenate([points, np.ones((len(points), 1))], 1)
        best = linprog([*at, 1.0], -rows, -points.max(1), bounds=(None, None))
        assert best.success
        assert found == pytest.approx(best.fun, abs=1e-9)


@pytest.mark.parametrize("k", [2, 3, 4])
def test_the_planes_for_all_thresholds_are_the_concave_envelope(k):
    low, up = boxes(k, 4, 40)
    share = torch.rand(len(low), k, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    points = torch.lerp(low, up, share)
    thresholds = torch.cat([up, low.amax(-1, keepdim=True)], -1)  # faces lie between ends
    heights = []
    for t in thresholds.unbind(-1):
        planes = maximum_planes_with(low, up, torch.ones_like(low), t)
        heights.append((planes.above * points).sum(-1) + planes.bias)
    lowest = torch.stack(heights).amin(0)
    for at, vertices, found in zip(points.numpy(), corners(low, up).numpy(), lowest.tolist(), strict=True):
        rows = np.concatenate([vertices, np.ones((len(vertices), 1))], 1)
        best = linprog([*at, 1.0], -rows, -vertices.max(1), bounds=(None, None))
        assert best.success
        assert found == pytest.approx(best.fun, abs=1e-8)


def test_the_plane_above_is_nowhere_above_the_largest_upper_end():
    low, up = boxes(4, 5)
    planes = maximum_planes(low, up)
    highest = (planes.above * up).sum(-1) + planes.bias
    torch.testing.assert_close(highest, up.amax(-1))


@pytest.mark.parametrize("k", [2, 4, 16])
def test_the_plane_below_is_near_the_best_at_the_centre(k):
    """At the centre no plane below is higher than the largest middle; what the mixture loses, and what it gains."""
    low, up = boxes(k, 6, 400)
    center, radius = (low + up) / 2, (up - low) / 2
    below = maximum_planes(low, up).below
    best, at = center.max(-1, keepdim=True)
    loss = best.squeeze(-1) - (below * center).sum(-1)
    assert (loss >= -1e-15).all()
    assert (loss <= 0.35 * radius.gather(-1, at).squeeze(-1) + 1e-15).all()
    assert loss.mean() <= 0.05 * (up - low).mean()
    # Coefficients of rows that are independent add up like the squares of the shares.
    assert (below.square().sum(-1) <= 1 + 1e-15).all() and below.square().sum(-1).mean() < 0.98


def test_equal_elements_have_equal_shares():
    low, up = torch.tensor([[0.0, 0.0, -1.0, 0.0]]), torch.tensor([[2.0, 2.0, 0.0, 2.0]])
    third = 1 / 3
    torch.testing.assert_close(maximum_planes(low, up).below, torch.tensor([[third, third, 0.0, third]]))


@pytest.mark.parametrize("size", [0.0, 1e-300, 1e-10, 1.0, 1e10, 1.5e308])
def test_shares_are_numbers_that_add_up_to_one(size):
    """Of boxes without width, of subnormal width, and so wide that the difference of their ends overflows."""
    low, up = boxes(5, 8)
    low, up = (low * size).clamp(-1.7e308, 1.7e308), (up * size).clamp(-1.7e308, 1.7e308)
    for lower, upper in ((low, up), (low, low), (low.sign(), low.sign() + size)):
        below = maximum_planes(lower, upper).below
        assert (below >= 0).all() and (below <= 1).all()
        torch.testing.assert_close(below.sum(-1), torch.ones_like(below[:, 0]), rtol=1e-14, atol=0)
        # Nothing has a share that another element is always above.
        assert (below[upper < lower.amax(-1, keepdim=True)] == 0).all()


def test_an_element_that_is_always_the_largest_is_exact():
    low, up = torch.tensor([[0.0, 3.0, 1.0]]), torch.tensor([[1.0, 4.0, 2.0]])
    planes = maximum_planes(low, up)
    assert planes.below.tolist() == planes.above.tolist() == [[0.0, 1.0, 0.0]]
    assert planes.bias.item() == 0
    assert not rivals(low, up).any()


def test_elements_that_do_not_take_part():
    inf = torch.inf
    low, up = torch.tensor([[-inf, 0.0, -1.0, -inf]]), torch.tensor([[-inf, 2.0, 1.0, -inf]])
    planes, alone = maximum_planes(low, up), maximum_planes(low[:, 1:3], up[:, 1:3])
    assert torch.equal(planes.below[:, 1:3], alone.below) and torch.equal(planes.above[:, 1:3], alone.above)
    assert torch.equal(planes.bias, alone.bias)
    assert rivals(low, up).tolist() == [[False, True, True, False]]


def test_what_is_infinite_below_has_no_slope():
    inf = torch.inf
    planes = maximum_planes(torch.tensor([[-inf, 0.0]]), torch.tensor([[3.0, 1.0]]))
    assert planes.above.tolist() == [[0.0, 0.0]] and planes.bias.item() == 3
    assert planes.below.tolist() == [[0.0, 1.0]]
    nothing = maximum_planes(torch.tensor([[-inf, -inf]]), torch.tensor([[-inf, -inf]]))
    assert nothing.above.tolist() == [[0.0, 0.0]] and nothing.bias.item() == -inf


def test_thresholds_of_two_elements_are_the_faces_of_the_concave_envelope() -> None:
    lower, upper = torch.tensor([[0.0, -1.0]]).double(), torch.tensor([[2.0, 1.0]]).double()
    shares, threshold = maximum_choices(lower, upper)
    assert threshold.least.item() == 0 and threshold.greatest.item() == 1
    for t, through in ((0.0, [(0, -1), (2, -1), (0, 1)]), (1.0, [(2, 1), (2, -1), (0, 1)])):
        planes = maximum_planes_with(lower, upper, shares.start, torch.tensor([t]).double())
        for corner in through:
            at = torch.tensor(corner).double()
            assert float(planes.above @ at + planes.bias) == pytest.approx(max(corner))


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_planes_of_any_shares_and_thresholds_are_sound(count: int) -> None:
    generator = torch.Generator().manual_seed(count)
    ends = torch.randn(2, 200, count, generator=generator).double().sort(0).values
    lower, upper = ends[0], ends[1]
    shares, threshold = maximum_choices(lower, upper)
    for stated in (shares, threshold):
        assert bool((stated.least <= stated.start).all() and (stated.start <= stated.greatest).all())
    chosen = torch.rand(200, count, generator=generator).double()
    t = threshold.least + torch.rand(200, generator=generator).double() * (
        threshold.greatest - threshold.least
    )
    planes = maximum_planes_with(lower, upper, chosen, t)
    default = maximum_planes_with(lower, upper, shares.start, threshold.start)
    for mine, own in zip(default, maximum_planes(lower, upper), strict=True):
        torch.testing.assert_close(mine, own)
    for _ in range(50):
        x = lower + torch.rand(200, count, generator=generator).double().round(decimals=1) * (upper - lower)
        best = x.amax(-1)
        assert bool(((planes.below * x).sum(-1) <= best + 1e-12).all())
        assert bool(((planes.above * x).sum(-1) + planes.bias >= best - 1e-12).all())
