"""The table of kinds: an attack that finds extremes, and a measure that sees what is wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from benchmarks.kinds import measure as measuring
from benchmarks.kinds.case import op
from benchmarks.kinds.cases import KINDS
from benchmarks.kinds.page import fails, is_meant, is_unsound, page
from benchmarks.kinds.reached import reached
from benchmarks.planes import RULES, Rule, gaps, ratio

from lirpa_core import BoundedModule


def test_the_attack_reaches_extremes_inside_and_at_corners() -> None:
    low, high = -torch.ones(1, 3, dtype=torch.float64), torch.ones(1, 3, dtype=torch.float64)
    found = reached(lambda x: torch.stack([(x - 0.3).square().sum(1), x.sum(1)], 1), low, high)
    torch.testing.assert_close(found.least, torch.tensor([[0.0, -3.0]]).double(), atol=1e-3, rtol=0)
    torch.testing.assert_close(found.most, torch.tensor([[3 * 1.69, 3.0]]).double())


def test_an_exact_bound_has_the_ratio_one_and_refusals_are_told_apart() -> None:
    row = measuring.measure(op("exp", torch.exp), ("IBP", "CROWN"))
    assert [cell.ratio for cell in row.cells] == pytest.approx([1.0, 1.0], abs=1e-9) and not fails(row)
    refused = measuring.measure(op("log", torch.log, refused="DomainError"), ("IBP",))
    assert is_meant(refused) and not fails(refused)
    assert fails(replace(row, case=replace(row.case, refused="DomainError")))
    assert "refused: `DomainError`" in page({"some": [row, refused]}, 3)


def test_bounds_that_do_not_hold_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    class Narrow(BoundedModule):
        def compute_bounds(self, *args: object, **kwargs: object) -> object:  # type: ignore[override]
            found = super().compute_bounds(*args, **kwargs)  # type: ignore[arg-type]
            return replace(found, upper=found.upper - 1e-6)

    monkeypatch.setattr(measuring, "BoundedModule", Narrow)
    row = measuring.measure(op("sin", torch.sin), ("IBP",))
    assert is_unsound(row) and fails(row) and "1 unsound" in page({"some": [row]}, 3)


def test_names_of_cases_are_their_own() -> None:
    for title, cases in KINDS.items():
        names = [case.name for case in cases]
        assert len(set(names)) == len(names), title


def test_the_best_planes_of_a_parabola() -> None:
    """A chord above and the tangent at the middle below: a gap of a quarter of the square of the width."""
    rule = Rule(torch.square, ((-3.0, 3.0),))
    found = gaps(rule)
    assert ratio(found)[1] == pytest.approx(1, abs=1e-3)
    assert ratio([(3.0, 2.0), (1.0, 1.0), (5.0, 1e-9)]) == (1.25, 1.5)
    assert all(rule.domain for rule in RULES.values())
