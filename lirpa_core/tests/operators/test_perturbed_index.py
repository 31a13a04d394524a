"""Look-ups and writing at perturbed positions, against every position there is."""

import itertools

import pytest
import torch

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.errors import DomainError, UnsupportedOperandError
from lirpa_core.linear.interval import Interval
from lirpa_core.plugins import default_registry
from lirpa_core.rules import Call, Operand
from lirpa_testing.core_cases.positions import LOOKED_UP

aten = torch.ops.aten


def _inputs(call, counts, oracle):
    """Boxes of values and of positions, and all positions between."""
    boxes, choices = [], []
    generator = torch.Generator().manual_seed(1)
    for box, count in zip(oracle.boxes(call), counts, strict=True):
        if count is None:
            boxes.append(box)
            choices.append(None)
            continue
        ends = torch.randint(0, count, (2, *box.lower.shape), generator=generator).double()
        boxes.append(Interval(*ends.sort(0).values))
        low, up = boxes[-1].lower.long(), boxes[-1].upper.long()
        size = low[0].numel()
        offsets = itertools.islice(itertools.product(range(count), repeat=size), 64)
        choices.append([(low + torch.tensor(o).reshape(low.shape[1:])).minimum(up) for o in offsets])
    return tuple(boxes), choices


@pytest.mark.parametrize("name", LOOKED_UP)
def test_against_every_position(name, oracle):
    op, args, counts = LOOKED_UP[name]
    call = Call.of(op, *args, batch=oracle.BATCH)
    rule = default_registry().rule_for(op)
    rule.check(call)
    inputs, choices = _inputs(call, counts, oracle)
    found, relaxation = rule.interval(call, inputs), rule.relax(call, inputs)
    least, greatest = torch.full_like(found.lower, torch.inf), torch.full_like(found.lower, -torch.inf)
    for places in itertools.islice(itertools.product(*[c or [None] for c in choices]), 128):
        for end in (0.0, 1.0, 0.3):
            xs = [
                x.lower + end * (x.upper - x.lower) if at is None else at
                for x, at in zip(inputs, places, strict=True)
            ]
            y = oracle.values(call, xs).double()
            least, greatest = least.minimum(y), greatest.maximum(y)
            reals = [x.double() for x in xs]
            assert (oracle.line(relaxation.lower, reals, call) <= y + 1e-9).all()
            assert (oracle.line(relaxation.upper, reals, call) >= y - 1e-9).all()
    assert (found.lower <= least).all() and (found.upper >= greatest).all()
    if name != "scatter":  # two elements may go to one place, and only one of them is seen to win
        oracle.close(found.lower, least)
        oracle.close(found.upper, greatest)


TABLE = torch.tensor([0.0, 3.0, 1.0])


@pytest.mark.parametrize("method", ["IBP", "CROWN", "forward", "CROWN-Optimized"])
def test_a_table_by_bucketize(method):
    def table(x):
        return TABLE.to(x.dtype)[torch.bucketize(x, torch.tensor([-0.3, 0.4], dtype=x.dtype))]

    x = torch.tensor([[-0.9, -0.25, 0.0, 0.9]]).double()
    lower, upper = BoundedModule(table, x).compute_bounds(
        x=(BoundedTensor(x, PerturbationLpNorm(eps=0.1)),), method=method
    )
    assert lower.tolist() == [[0, 0, 3, 1]] and upper.tolist() == [[0, 3, 3, 1]]


def test_the_message_names_the_position():
    x = torch.tensor([[0.1, 0.5]]).double()
    model = BoundedModule(lambda x: x.gather(-1, (x > 0.4).sum(-1, keepdim=True)), x)
    with pytest.raises(DomainError, match=r"gather.*\[0, 2\]"):
        model.compute_bounds(x=(BoundedTensor(x, PerturbationLpNorm(eps=0.5)),), method="IBP")


def test_what_is_refused():
    rule = default_registry().rule_for(aten.index.Tensor)
    with pytest.raises(UnsupportedOperandError, match="mask"):
        rule.check(
            Call.of(
                aten.index.Tensor, Operand((2, 3)), [torch.tensor([True, True]), Operand((2,), torch.int64)]
            )
        )
    with pytest.raises(UnsupportedOperandError, match="4096"):
        rule.check(Call.of(aten.index.Tensor, Operand((5000,)), [Operand((1,), torch.int64)]))
    scatter = default_registry().rule_for(aten.scatter.src)
    assert (
        scatter.of(Call.of(aten.scatter.src, Operand((3,)), 0, torch.tensor([1]), Operand((1,))))
        is scatter.usual
    )
