"""Joint planes of gate products: exact minima, and a comparison with McCormick. The kit: `conformance`."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings

from lirpa_core.linear.interval import Interval
from lirpa_core.plugins import default_registry
from lirpa_ops_nlp.gates.column_generation import TARGET, both_planes, stacked_with_mirror
from lirpa_ops_nlp.gates.rules import GELU_MUL, GELU_TANH_MUL, SIGMOID_MUL, SIGMOID_TANH, SILU_MUL
from lirpa_ops_nlp.gates.surface import Box
from lirpa_ops_nlp.operators import gelu_mul, gelu_tanh_mul, sigmoid_mul, sigmoid_tanh, silu_mul
from lirpa_testing.rules.strategies import operand_boxes

CASES = [
    (sigmoid_mul, SIGMOID_MUL),
    (sigmoid_tanh, SIGMOID_TANH),
    (silu_mul, SILU_MUL),
    (gelu_mul, GELU_MUL),
]


@pytest.mark.parametrize(("op", "gate"), [*CASES, (gelu_tanh_mul, GELU_TANH_MUL)])
@settings(max_examples=20)
@given(boxes=operand_boxes(((6,), (6,)), batch=1, regime="wide"))
def test_minima_are_those_of_a_fine_grid(op, gate, boxes: tuple[Interval, Interval]) -> None:
    x, y = boxes
    box = Box(x.lower, x.upper, y.lower, y.upper)
    generator = torch.Generator().manual_seed(0)
    a = torch.rand(box.lx.shape, dtype=torch.float64, generator=generator) - 0.5
    b = torch.rand(box.lx.shape, dtype=torch.float64, generator=generator)
    t = torch.linspace(0, 1, 201, dtype=torch.float64).reshape(-1, 1, 1)
    gx = (box.lx + t * (box.ux - box.lx)).unsqueeze(1)
    gy = (box.ly + t * (box.uy - box.ly)).unsqueeze(0)
    grid = (op(gx, gy) - a * gx - b * gy).amin((0, 1))
    found = gate.surface.least(box, a, b, exact=True).value
    assert bool((found <= grid + 1e-12).all())
    spacing = ((box.ux - box.lx).square() + (box.uy - box.ly).square()) / 200**2
    assert bool((found >= grid - spacing * (1 + box.ly.abs().maximum(box.uy.abs())) - 1e-9).all())


@pytest.mark.parametrize(("op", "gate"), CASES)
@settings(max_examples=6)
@given(boxes=operand_boxes(((6,), (6,)), batch=2, regime="wide"))
def test_planes_are_never_looser_than_mccormick(op, gate, boxes: tuple[Interval, Interval]) -> None:
    x, y = boxes
    box = Box(x.lower, x.upper, y.lower, y.upper)
    hints = gate.hints(stacked_with_mirror(box))
    below, above = both_planes(gate.surface, box, hints)
    px = x.midpoint + TARGET[0] * x.radius
    mirrored = stacked_with_mirror(box)
    for k, (plane, sign) in enumerate(((below, 1), (above, -1))):
        py = y.midpoint + sign * TARGET[1] * y.radius
        ours = sign * (plane.a * px + plane.b * py + plane.c)
        for a, b in hints:
            a, b = a.expand_as(mirrored.lx)[k], b.expand_as(mirrored.lx)[k]
            whole = Box(*(t[k] for t in mirrored))
            theirs = gate.surface.least(whole, a, b, exact=True).value + a * px + b * sign * py
            assert bool((ours >= theirs - 1e-9 * (1 + theirs.abs())).all())


@pytest.mark.parametrize(("op", "gate"), CASES[:2])
def test_ties_are_broken_alike_in_a_batch_and_alone(op, gate) -> None:
    """Boxes with corners on a lattice, where many planes are equally good; some are edges or points."""
    values = torch.tensor([-3.0, -2, -0.5, 0, 0.5, 1, 2], dtype=torch.float64)
    ends = values[torch.cartesian_prod(*[torch.arange(len(values))] * 4)]
    ends = ends[(ends[:, 0] <= ends[:, 1]) & (ends[:, 2] <= ends[:, 3])]

    def planes(chosen: torch.Tensor) -> torch.Tensor:
        box = Box(*chosen.unbind(1))
        below, above = both_planes(gate.surface, box, gate.hints(stacked_with_mirror(box)))
        return torch.stack([*below, *above], 1)

    together = planes(ends)
    known = (
        (ends == torch.tensor([0.0, 1, -3, -2])).all(1).nonzero().flatten()
    )  # its search lost what it had found
    for i in [*known.tolist(), *range(3, len(ends), 41)]:
        torch.testing.assert_close(planes(ends[i : i + 1])[0], together[i], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("op", "gate"), [*CASES, (gelu_tanh_mul, GELU_TANH_MUL)])
@pytest.mark.parametrize("size", [0.02, 1.0, 3.0])
def test_planes_move_with_their_boxes_as_central_differences_say(op, gate, size: float) -> None:
    """All four ends of 200 boxes, at a point of each box; but for where one-sided differences disagree, at kinks."""
    generator = torch.Generator().manual_seed(1)
    centre = torch.randn(2, 1, 200, generator=generator, dtype=torch.float64) * max(size, 1)
    radius = torch.rand(2, 1, 200, generator=generator, dtype=torch.float64) * size
    at = centre + (torch.rand(2, 1, 200, generator=generator, dtype=torch.float64) * 2 - 1) * radius
    ends = torch.stack(
        [centre[0] - radius[0], centre[0] + radius[0], centre[1] - radius[1], centre[1] + radius[1]]
    )

    def values(ends: torch.Tensor) -> torch.Tensor:
        box = Box(*ends.unbind())
        planes = both_planes(gate.surface, box, gate.hints(stacked_with_mirror(box)))
        return torch.stack([plane.a * at[0] + plane.b * at[1] + plane.c for plane in planes])

    moving = ends.clone().requires_grad_()
    attached = values(moving)
    here = values(ends)
    assert torch.equal(attached, here)  # what is returned does not depend on whether somebody wants gradients
    h, judged = 1e-6, 0
    steps = h * torch.eye(4, dtype=torch.float64).reshape(4, 4, 1, 1)  # [end, which end moves, 1, 1]
    to_the_right, to_the_left = (
        values(ends.unsqueeze(1) + s) for s in (steps, -steps)
    )  # [side, end, 1, 200]
    for side in (0, 1):
        (gradient,) = torch.autograd.grad(attached[side].sum(), moving, retain_graph=True)
        for i in range(4):
            right = (to_the_right[side, i] - here[side]) / h
            left = (here[side] - to_the_left[side, i]) / h
            smooth = (right - left).abs() <= 1e-4 * (right.abs() + left.abs()) + 1e-5
            error = (gradient[i] - (right + left) / 2).abs()[smooth]
            assert error.max() <= 2e-5 * (1 + right.abs().max()), (side, i, int(error.argmax()))
            judged += int(smooth.sum())
    assert judged > 0.97 * 8 * 200


def test_rules_of_gates_and_softmax_state_that_they_are_continuous() -> None:
    """So Lipschitz constants go through them."""
    rules = default_registry()
    for op in (torch.ops.lirpa_nlp.sigmoid_mul.default, torch.ops.lirpa_nlp.masked_softmax.default):
        rule = rules.rule_for(op)
        assert rule is not None
        assert rule.continuous
