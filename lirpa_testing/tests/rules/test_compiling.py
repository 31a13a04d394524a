"""Rules that `torch.compile` traces whole pass; those with a graph break, or with another result, do not."""

from __future__ import annotations

from typing import Any

import honest
import pytest
import torch

from lirpa_core.linear.interval import Interval
from lirpa_core.rules.call import Call
from lirpa_testing import RuleViolation
from lirpa_testing.rules.case import Case
from lirpa_testing.rules.compiling import check_compiled


def case_of(rule: Any, call: Call) -> Case:
    ends = torch.rand(3, *call.shapes[0], dtype=torch.float64)
    return Case(rule, call, (Interval(-ends, ends + 1),), "subject")


@pytest.mark.parametrize(
    ("rule", "call"), [(honest.Relu(), honest.relu_call), (honest.Linear(), honest.linear_call)]
)
def test_honest_rules_pass(rule: Any, call: Any) -> None:
    case = case_of(rule, call())
    check_compiled(case)
    assert case.counts["compiled"] == 1


class LooksAtTheData(honest.Relu):
    def interval(self, call: Call, inputs: tuple[Interval, ...]) -> Interval:
        if inputs[0].lower.min() > 0:
            return inputs[0]
        return super().interval(call, inputs)


class DiffersWhenCompiled(honest.Relu):
    def lines(self, l: Any, u: Any) -> Any:
        low, up, bias = super().lines(l, u)
        return (low + 0.25, up, bias) if torch.compiler.is_compiling() else (low, up, bias)


def test_graph_breaks_and_other_results_are_found() -> None:
    with pytest.raises(RuleViolation, match="cannot trace interval without a graph break") as caught:
        check_compiled(case_of(LooksAtTheData(), honest.relu_call()))
    assert caught.value.check == "compiled" and caught.value.mode == "interval"
    with pytest.raises(RuleViolation, match="gives another relax") as caught:
        check_compiled(case_of(DiffersWhenCompiled(), honest.relu_call()))
    assert "as it is" in caught.value.details
