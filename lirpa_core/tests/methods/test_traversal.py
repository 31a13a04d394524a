"""The traversals: intervals hold, and coefficients can be had at inner nodes."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lirpa_core.linear import Interval
from lirpa_core.linear.coefficients import DenseCoefficients
from lirpa_core.methods import Relaxations, backward, intervals


def rows(count: int, seed: int = 0) -> DenseCoefficients:
    generator = torch.Generator().manual_seed(seed)
    return DenseCoefficients(torch.randn(count, 1, 1, 2, generator=generator, dtype=torch.float64))


def test_intervals_hold_and_given_ones_are_intersected(setting: Any) -> None:
    found = intervals(setting.problem)
    out = found[setting.node]
    y = setting.outputs.reshape(200, *out.lower.shape)
    assert bool((out.lower <= y + 1e-9).all()) and bool((y <= out.upper + 1e-9).all())
    given = Interval(y.amin(0), y.amax(0))
    assert torch.equal(
        intervals(setting.problem, {setting.node: given})[setting.node].lower, out.lower.maximum(given.lower)
    )


def test_what_refines_sees_every_operator_before_it_is_bounded(setting: Any) -> None:
    found: dict[str, Interval] = {}
    seen = []

    def refine(name: str) -> None:
        assert name not in found and all(o in found for o in setting.problem.calls[name].operands)
        seen.append(name)

    intervals(setting.problem, None, refine, found)
    assert seen == list(setting.problem.calls)


@pytest.mark.parametrize("both", [False, True])
def test_backward_forms_are_below_the_rows(setting: Any, both: bool) -> None:
    problem = setting.problem
    relaxations = Relaxations(problem, intervals(problem))
    C = rows(3)
    form = backward(problem, setting.node, C, relaxations, both=both)
    ((_, A),) = form.coefficients.items()
    dense = C.with_negated() if both else C
    for z, y in zip(setting.samples, setting.outputs, strict=True):
        assert bool((A.dot(z.unsqueeze(1)) + form.bias <= dense.dot(y.unsqueeze(1)) + 1e-9).all())


def test_coefficients_at_a_node_are_those_where_propagation_stops_there(setting: Any) -> None:
    problem = setting.problem
    relaxations = Relaxations(problem, intervals(problem))
    inner = next(name for name in problem.calls if name.startswith("relu"))
    handed = backward(problem, setting.node, rows(3), relaxations, at_nodes=(inner,)).at_nodes[inner]
    stopped = backward(problem, setting.node, rows(3), relaxations, stop_at=(inner,))
    assert set(stopped.coefficients) == {inner}
    torch.testing.assert_close(handed.to_dense(), stopped.coefficients[inner].to_dense())


def test_extra_rows_join_at_their_node(setting: Any) -> None:
    problem = setting.problem
    relaxations = Relaxations(problem, intervals(problem))
    inner = next(name for name in problem.calls if name.startswith("relu"))
    added = DenseCoefficients(torch.ones(3, 1, *problem.shape(inner), dtype=torch.float64))
    plain = backward(problem, setting.node, rows(3), relaxations, stop_at=(inner,))
    more = backward(problem, setting.node, rows(3), relaxations, stop_at=(inner,), extra={inner: added})
    torch.testing.assert_close(
        more.coefficients[inner].to_dense() - plain.coefficients[inner].to_dense(),
        added.to_dense().expand(3, 4, *problem.shape(inner)),
    )
