"""What costly rules choose is found once for the intervals that it is on, and repeated for rows as examples."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.linear import Affine, Interval, Relaxation
from lirpa_core.linear.operators import Diagonal, Negative
from lirpa_core.methods import AlphaCROWN
from lirpa_core.methods.rows_as_examples import fold_relaxation
from lirpa_core.methods.settled import Settled


def relaxation(batch):
    slope = torch.randn(batch, 3)
    return Relaxation(
        Affine((Diagonal(slope, (3,)), None), torch.randn(1, 3)), Affine((Diagonal(slope + 1, (3,)), None))
    )


@pytest.mark.parametrize("batch", [1, 2])
def test_a_repeated_relaxation_says_the_same_of_every_copy(batch):
    found, x = relaxation(batch), torch.randn(2, 3)

    folded = fold_relaxation(found, 4)

    assert folded is not None and folded.upper.terms[1] is None
    for one, many in ((found.lower, folded.lower), (found.upper, folded.upper)):
        values = one.terms[0].apply(x) + (0 if one.bias is None else one.bias)
        again = many.terms[0].apply(x.repeat(4, 1)) + (0 if many.bias is None else many.bias)
        assert torch.equal(again, values.repeat(4, 1))


def test_what_cannot_be_repeated_is_left_to_the_rule():
    op = Negative(Diagonal(torch.randn(2, 3), (3,)))

    assert fold_relaxation(Relaxation.exactly(Affine((op,))), 4) is None


def test_it_is_found_once_for_the_same_intervals_and_never_shared_with_gradients():
    class Rule:
        costly = True
        made = 0

        def relax(self, call, inputs):
            self.made += 1
            return Relaxation.exactly(Affine((None,), torch.zeros(1, 3)))

    rule, settled = Rule(), Settled()
    problem = SimpleNamespace(calls={"a": None}, rules={"a": rule})
    box = (Interval(torch.zeros(1, 3), torch.ones(1, 3)),)

    with torch.no_grad():
        first = settled(problem, "a", box)
        assert settled(problem, "a", box) is first
    assert settled(problem, "a", box) is not first
    with torch.no_grad():
        assert settled(problem, "a", (Interval(box[0].lower, box[0].upper),)) is not first
    assert rule.made == 3


class Gated(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell, self.first, self.last = nn.GRUCell(2, 3), nn.Linear(2, 2), nn.Linear(3, 2)

    def forward(self, x):
        state = x.new_zeros(len(x), 3)
        for _ in range(2):
            state = self.cell(torch.relu(self.first(x)), state)
        return self.last(torch.relu(state))


def test_bounds_are_as_tight_as_without_repetition(monkeypatch):
    torch.manual_seed(0)
    bounded = BoundedModule(Gated().double(), torch.zeros(2, 2).double())
    box = BoundedTensor(torch.randn(2, 2).double(), PerturbationLpNorm(eps=0.5))

    def bounds():
        with torch.no_grad():
            return bounded.compute_bounds(x=(box,), method=AlphaCROWN(steps=3))

    repeated = bounds()
    monkeypatch.setattr("lirpa_core.methods.settled.fold_relaxation", lambda *_: None)

    alone = bounds()
    # Rules search for planes, and small differences send an optimiser other ways.
    width = (alone.upper - alone.lower).max()
    for mine, theirs in zip(repeated, alone, strict=True):
        assert (mine - theirs).abs().max() < 0.03 * width
