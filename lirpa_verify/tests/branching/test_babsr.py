"""Heuristics that split neurons choose what their formulas say."""

from __future__ import annotations

import torch
from lirpa_verify.branching import FSB, BaBSR, Gain, OpenNeurons, Widest


def row(*values: float) -> torch.Tensor:
    return torch.tensor([values], dtype=torch.float64)


def neurons(**changed: torch.Tensor) -> OpenNeurons:
    """One subproblem with four neurons, of which the last cannot be split."""
    given = {
        "lower": row(-1, -1, -1, 1),
        "upper": row(1, 1, 1, 2),
        "points": row(0, 0, 0, torch.nan),
        "coefficients": row(0, 0, 0, 0),
        "offsets": row(0, 0, 0, 0),
    } | changed

    def trial(tried: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return -(tried - 1.0).abs(), -torch.ones_like(tried, dtype=torch.float64)

    return OpenNeurons(**given, trial=trial, slopes=lambda: (row(9, 2, 0, 99), row(0, -2, 0, -99)))


def test_gain_prefers_what_helps_both_halves() -> None:
    assert Gain().choose(neurons()).tolist() == [1]
    assert Widest().choose(neurons()).tolist()[0] in {0, 1, 2}


def test_babsr_counts_what_the_upper_line_costs_and_the_bias() -> None:
    # The upper line of a ReLU over [-1, 1] is 0.5 z + 0.5: a coefficient of -2 loses one there, -1 a half.
    assert BaBSR().choose(neurons(coefficients=row(-1, -2, 5, -9))).tolist() == [1]
    # A positive coefficient loses nothing to a lower line through zero, but below a bias both halves differ.
    biased = neurons(coefficients=row(0, 1, 2, 9), offsets=row(1, 1, 1, 1))
    assert BaBSR().choose(biased).tolist() == [2]


def test_fsb_keeps_the_best_trial() -> None:
    assert FSB().choose(neurons(coefficients=row(-3, -1, -2, -9))).tolist() == [1]
