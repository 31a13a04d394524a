"""The table of choices: the best method is the tightest that fits, and what misses a goal is counted."""

from __future__ import annotations

import pytest
from benchmarks import auto
from benchmarks.against.networks import Network, mlp
from benchmarks.auto import Measured, Row, lines, page


def test_a_small_network_is_measured() -> None:
    small = Network("small", lambda: mlp(4, 8, 2), (4,), 0.1)
    rows = auto.measure(small, None, (1e-9, 1e3), 1)
    assert [row.best.method for row in rows] == ["IBP", "CROWN-Optimized"]
    assert [row.auto.method for row in rows] == ["IBP", "CROWN-Optimized"]
    assert all(row.auto.looser == 0 and row.auto.reason for row in rows)
    assert rows[1].auto.width == pytest.approx(rows[1].best.width)


def test_goals_that_were_missed_are_counted() -> None:
    good = Row("a", 1.0, Measured("CROWN", 0.5, 1.0), Measured("CROWN", 0.4, 1.0))
    slow = Row("a", 1.0, Measured("CROWN", 1.5, 1.0, looser=0.25), Measured("CROWN-IBP", 0.1, 2.0))
    text = page([good, slow])
    assert "Of 2 choices 1 took more than twice" in text and ", 1 more than a budget" in text
    assert "and 1 gave a bound looser" in text
    assert [line.count("✓") for line in lines([good, slow])] == [0, 0, 1, 0]
