"""`where` with constant and perturbed conditions, and three-valued logic of masks."""

import itertools

import pytest
import torch
from torch import nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.errors import UnsupportedOperandError
from lirpa_core.linear.interval import Interval
from lirpa_core.linear.operators import align
from lirpa_core.plugins import default_registry
from lirpa_core.rules.call import Call, Operand
from lirpa_testing import method_names
from lirpa_testing.core_cases.conditions import CONSTANT

aten = torch.ops.aten
WHERE = default_registry().rule_for(aten.where.self)


def X(*sizes: int) -> Operand:
    return Operand(sizes)


def M(*sizes: int) -> Operand:
    """A perturbed mask."""
    return Operand(sizes, torch.bool)


def C(*sizes: int) -> torch.Tensor:
    return torch.randn(sizes, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("name", CONSTANT)
def test_exact_with_a_constant_condition(name, oracle):
    oracle.assert_affine(WHERE, Call.of(aten.where.self, *CONSTANT[name], batch=3))


def _inputs(condition, *others):
    """Three examples: surely false, open, surely true; and boxes of the branches."""
    low, up = torch.tensor([0.0, 0, 1]).double(), torch.tensor([0.0, 1, 1]).double()
    shape = (3,) + (1,) * len(condition)
    mask = Interval(low.reshape(shape).expand(3, *condition), up.reshape(shape).expand(3, *condition))
    return (mask, *(Interval(-1 + C(3, *s), 1 + C(3, *s)) for s in others))


@pytest.mark.parametrize(
    ("operands", "shapes"),
    [
        ((M(2, 3), X(2, 3), X(3)), ((2, 3), (2, 3), (3,))),
        ((M(3), X(2, 3), C(2, 1)), ((3,), (2, 3))),
        ((M(2, 3), C(3), X(1)), ((2, 3), (1,))),
        ((M(2, 3), C(3), torch.tensor(1.0).double()), ((2, 3),)),
    ],
)
def test_a_perturbed_condition(operands, shapes, oracle):
    call = Call.of(aten.where.self, *operands)
    WHERE.check(call)
    assert not WHERE.is_affine(call) and all(WHERE.needs_interval(call))
    inputs = _inputs(*shapes)
    box, lines = WHERE.interval(call, inputs), WHERE.relax(call, inputs)
    generator = torch.Generator().manual_seed(0)
    rank = len(call.shape)
    for truth in [False, True] * 20:
        xs = [x.lower + torch.rand(x.lower.shape, generator=generator) * x.width for x in inputs[1:]]
        mask = inputs[0].lower.bool() | (inputs[0].upper.bool() & truth)
        branches = iter([align(x, 1, rank) for x in xs])
        first, second = (next(branches) if isinstance(o, Operand) else o for o in operands[1:])
        y = torch.where(align(mask, 1, rank), first, second)
        assert (box.lower <= y).all() and (y <= box.upper).all()
        low, up = (oracle.line(side, [mask.double(), *xs], call) for side in (lines.lower, lines.upper))
        assert (low <= y + 1e-12).all() and (y <= up + 1e-12).all()
        for decided in (0, 2):
            oracle.close(low[decided], y[decided])
            oracle.close(up[decided], y[decided])
    unstable = WHERE.unstable_inputs(call, inputs)
    for mask, shape in zip(unstable, shapes, strict=True):
        assert mask.shape == (3, *shape) and not mask[0].any() and mask[1].all() and not mask[2].any()


TRUTHS = {"false": (0.0, 0.0), "open": (0.0, 1.0), "true": (1.0, 1.0)}
LOGIC = {
    aten.logical_and.default: lambda a, b: a and b,
    aten.logical_or.default: lambda a, b: a or b,
    aten.logical_xor.default: lambda a, b: a != b,
    aten.bitwise_and.Tensor: lambda a, b: a and b,
    aten.bitwise_or.Tensor: lambda a, b: a or b,
    aten.bitwise_xor.Tensor: lambda a, b: a != b,
}


def _possible(truth):
    return {bool(v) for v in TRUTHS[truth]}


@pytest.mark.parametrize("op", LOGIC, ids=str)
@pytest.mark.parametrize(("first", "second"), list(itertools.product(TRUTHS, TRUTHS)))
def test_logic_of_two(op, first, second):
    rule = default_registry().rule_for(op)
    call = Call.of(op, M(2), M(1))
    a, b = (torch.tensor(TRUTHS[t]).double() for t in (first, second))
    inputs = (Interval(a[:1].expand(1, 2), a[1:].expand(1, 2)), Interval(b[:1, None], b[1:, None]))
    got = rule.interval(call, inputs)
    results = {LOGIC[op](x, y) for x in _possible(first) for y in _possible(second)}
    low, up = float(min(results)), float(max(results))
    if op in (aten.logical_xor.default, aten.bitwise_xor.Tensor) or "open" not in (first, second):
        assert (got.lower == low).all() and (got.upper == up).all()
    assert (got.lower <= low).all() and (up <= got.upper).all() and got.lower.shape == (1, 2)
    lines = rule.relax(call, inputs)
    assert lines.lower.terms == (None, None) and torch.equal(lines.lower.bias, got.lower)
    assert torch.equal(lines.upper.bias, got.upper)


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((0, 0), (1, 1)),
        ((0, 1), (0, 1)),
        ((1, 1), (0, 0)),
        ((-2, 3), (0, 1)),
        ((-2, -1), (0, 0)),
        ((0.5, 2), (0, 0)),
    ],
)
def test_not_of_a_mask_or_a_number(box, expected):
    call = Call.of(aten.logical_not.default, X(1))
    low, up = (torch.tensor([[float(v)]]).double() for v in box)
    got = default_registry().rule_for(aten.logical_not.default).interval(call, (Interval(low, up),))
    assert (got.lower.item(), got.upper.item()) == expected


def test_bits_of_numbers_are_refused():
    call = Call.of(aten.bitwise_and.Tensor, Operand((2,), torch.int64), torch.tensor([1, 2]))
    with pytest.raises(UnsupportedOperandError, match="only masks"):
        default_registry().rule_for(aten.bitwise_and.Tensor).check(call)


class Gate(nn.Module):
    def forward(self, x):
        inside = (x > -0.2) & ~(x > 0.7)
        return torch.where(inside, 2 * x, x.abs()) + x.masked_fill(x > 0.1, -1.0) * (x <= 0.4).float()


@pytest.mark.parametrize("method", method_names())
def test_a_model_that_branches_by_element(method):
    torch.manual_seed(0)
    x = torch.randn(3, 8)
    lower, upper = BoundedModule(Gate(), x).compute_bounds(
        x=(BoundedTensor(x, PerturbationLpNorm(norm=float("inf"), eps=0.2)),), method=method
    )
    for _ in range(200):
        y = Gate()(x + 0.2 * (2 * torch.rand_like(x) - 1))
        assert (lower <= y + 1e-6).all() and (y <= upper + 1e-6).all()
    assert (upper - lower < 5).all()


@pytest.mark.parametrize("every", [False, True])
@pytest.mark.parametrize(("dim", "keepdim"), [(None, False), (1, False), (0, True), ([0, 1], True)])
def test_any_and_all_follow_the_masks(every, dim, keepdim):
    aten = torch.ops.aten.all if every else torch.ops.aten.any
    function = torch.all if every else torch.any
    op = aten.default if dim is None else aten.dim if isinstance(dim, int) else aten.dims
    args = () if dim is None else (dim, keepdim)
    masks = Operand((2, 3), torch.bool)
    call = Call.of(op, masks, *args)
    generator = torch.Generator().manual_seed(0)
    surely = (torch.rand(40, 2, 3, generator=generator) < 0.3).float()
    possibly = surely.maximum((torch.rand(40, 2, 3, generator=generator) < 0.3).float())
    rule = default_registry().rule_for(op)
    found = rule.interval(call, (Interval(surely, possibly),))
    for end, mask in ((found.lower, surely), (found.upper, possibly)):
        expected = torch.stack([function(m.bool(), *args).float() for m in mask])
        assert torch.equal(end, expected)
    relaxation = rule.relax(call, (Interval(surely, possibly),))
    assert torch.equal(relaxation.lower.bias, found.lower)
    assert torch.equal(relaxation.upper.bias, found.upper)


@pytest.mark.parametrize(
    ("name", "answer"), [("isnan", 0), ("isinf", 0), ("isposinf", 0), ("isneginf", 0), ("isfinite", 1)]
)
def test_questions_about_numbers(name, answer):
    op = getattr(torch.ops.aten, name).default
    call, rule = Call.of(op, Operand((3,))), default_registry().rule_for(op)
    box = Interval(
        torch.tensor([[-1.0, -torch.inf, 0.0]]).double(), torch.tensor([[2.0, 1.0, torch.inf]]).double()
    )
    found = rule.interval(call, (box,))
    assert found.lower.tolist() == [[answer, 0, 0]] and found.upper.tolist() == [[answer, 1, 1]]
