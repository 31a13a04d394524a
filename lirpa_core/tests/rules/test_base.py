"""What every rule has: the defaults of the base class, and that everything registered derives from it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lirpa_core.linear.interval import Interval
from lirpa_core.linear.operators import Diagonal
from lirpa_core.linear.relaxation import Affine, Relaxation
from lirpa_core.plugins import default_registry
from lirpa_core.rules import MODES, Call, Operand, Rule

aten = torch.ops.aten
CALL = Call.of(aten.relu.default, Operand((3,)))
BOX = Interval(torch.tensor([[-1.0, 0.0, 2.0]]).double(), torch.tensor([[1.0, 0.0, 3.0]]).double())


class Least(Rule):
    """Only what a rule has to state."""

    def interval(self, call: Call, inputs: tuple[Interval, ...]) -> Interval:
        return Interval(inputs[0].lower.clamp(min=0), inputs[0].upper.clamp(min=0))

    def relax(self, call: Call, inputs: tuple[Interval | None, ...]) -> Relaxation:
        assert inputs[0] is not None
        zero = torch.zeros_like(inputs[0].lower)
        term = (Diagonal(zero, call.shapes[0]),)
        return Relaxation(Affine(term), Affine(term, inputs[0].upper.clamp(min=0)))


def test_defaults_are_the_cautious_ones() -> None:
    rule = Least()
    rule.check(CALL)
    assert (rule.family, rule.modes, rule.selects) == ("general", MODES, False)
    assert not rule.is_affine(CALL)
    assert rule.needs_interval(CALL) == (True,)
    assert rule.domain_violation(CALL, (BOX,)) is None
    assert rule.slopes(CALL, (BOX,)) == ()
    (unstable,) = rule.unstable_inputs(CALL, (BOX,))
    assert unstable is not None and unstable.tolist() == [[True, False, True]]
    assert rule.unstable_inputs(CALL, (None,)) == (None,)


def test_a_rule_without_slopes_is_relaxed_without_any() -> None:
    rule = Least()
    found = rule.relax_with(CALL, (BOX,), ())
    bias = found.upper.bias
    assert bias is not None and bias.tolist() == [[1.0, 0.0, 3.0]]
    with pytest.raises(TypeError, match="Least has no slopes to choose, got values for 1"):
        rule.relax_with(CALL, (BOX,), (BOX.lower,))


def test_a_rule_states_its_interval_and_its_relaxation() -> None:
    class Half(Rule):
        def interval(self, call: Call, inputs: tuple[Interval, ...]) -> Interval:
            return inputs[0]

    with pytest.raises(TypeError, match="relax"):
        Half()  # type: ignore[abstract]


def test_every_registered_rule_is_a_rule() -> None:
    registry = default_registry()
    rules = [entry.rule for entry in registry.operators.values()]
    assert len(rules) > 150
    assert [r for r in rules if not isinstance(r, Rule)] == []


@pytest.mark.parametrize(
    "op", [aten.relu.default, aten.sigmoid.default, aten.sin.default, aten.floor.default]
)
def test_relaxations_are_sound_for_all_slopes_in_their_ranges(op: torch._ops.OpOverload) -> None:
    rule, call = default_registry().rule_for(op), Call.of(op, Operand((200,)))
    assert rule is not None
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, dtype=torch.float64)

    low = 6 * drawn(1, 200) - 4
    box = Interval(low, low + 4 * drawn(1, 200))
    slopes = rule.slopes(call, (box,))
    assert len(slopes) == 2
    for _ in range(5):
        chosen = [s.least + drawn(1, 200) * (s.greatest - s.least) for s in slopes]
        found = rule.relax_with(call, (box,), chosen)
        x = box.lower + drawn(50, 200) * box.width
        y = op(x)
        for sign, affine in ((1, found.lower), (-1, found.upper)):
            (term,), bias = affine.terms, affine.bias
            assert term is not None and bias is not None
            assert bool((sign * (y - term.apply(x) - bias) >= -1e-12).all())
