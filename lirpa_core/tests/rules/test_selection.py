"""What is one of several elements."""

import torch

from lirpa_core.linear.interval import Interval
from lirpa_core.plugins import default_registry
from lirpa_core.rules import Call, Operand
from lirpa_core.rules.selection import WeightedPlaces

aten = torch.ops.aten


def test_the_operator_is_its_matrix(oracle):
    places = torch.tensor([[0, 3], [2, 1], [3, 4]])
    op = WeightedPlaces(oracle.rand(3, 3, 2), places, ((5,), (3,)))
    J = torch.zeros(3, 3, 5).double()
    for b in range(3):
        for o in range(3):
            J[b, o, places[o]] = op.weight[b, o]
    x = oracle.rand(3, 5, seed=2)
    oracle.close(op.apply(x), (J @ x.unsqueeze(-1)).squeeze(-1))
    oracle.close(op.apply_abs(x), (J.abs() @ x.unsqueeze(-1)).squeeze(-1))
    oracle.assert_transposes(op, J, (3,))


def _gather(low: float, up: float):
    """`gather` from three elements at one position, for boxes of the elements in a row and the position between two numbers."""
    call = Call.of(aten.gather.default, Operand((3,)), 0, Operand((1,), torch.int64))
    x = Interval(torch.tensor([[0.0, 5.0, -3.0]]).double(), torch.tensor([[1.0, 6.0, -1.0]]).double())
    at = Interval(torch.tensor([[low]]).double(), torch.tensor([[up]]).double())
    return default_registry().rule_for(aten.gather.default), call, (x, at)


def test_one_candidate_is_exact():
    rule, call, inputs = _gather(1 - 1e-13, 1 + 1e-13)  # as rounding leaves a position
    found = rule.interval(call, inputs)
    assert (found.lower.item(), found.upper.item()) == (5, 6)
    relaxation = rule.relax(call, inputs)
    for side in (relaxation.lower, relaxation.upper):
        assert side.terms[0].weight.tolist() == [[[0, 1, 0]]] and side.bias.item() == 0
        assert side.terms[1] is None


def test_two_candidates_are_their_hull():
    rule, call, inputs = _gather(0, 1)
    found = rule.interval(call, inputs)
    assert (found.lower.item(), found.upper.item()) == (0, 6)


def test_a_position_outside_is_refused():
    rule, call, inputs = _gather(-1, 1)
    assert bool(rule.domain_violation(call, inputs).all())
    found, relaxation = rule.interval(call, inputs), rule.relax(call, inputs)
    assert found.lower.item() == -torch.inf and found.upper.item() == torch.inf
    assert relaxation.lower.bias.item() == -torch.inf and relaxation.upper.bias.item() == torch.inf
