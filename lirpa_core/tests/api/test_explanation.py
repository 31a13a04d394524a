"""Shares of the width add up, and are those of a sum that can be worked out by hand."""

from __future__ import annotations

import pickle
from dataclasses import astuple

import pytest
import torch
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.errors import InputError
from lirpa_testing import method_names


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2)).double()


X = torch.rand(4, 3, generator=torch.Generator().manual_seed(0)).double()


def ball(eps: float = 0.3) -> BoundedTensor:
    return BoundedTensor(X, PerturbationLpNorm(eps=eps))


@pytest.mark.parametrize("method", method_names())
def test_shares_add_up_to_one(method: str) -> None:
    found = BoundedModule(net(), X).compute_bounds(ball(), method=method).explain()
    assert found.from_inputs + sum(row.lost for row in found.layers) == pytest.approx(1)
    assert all(row.lost >= 0 and row.milliseconds > 0 and row.mebibytes > 0 for row in found.layers)
    assert [row.module for row in found.layers] == ["0", "1", "2", "3", "4"] and found.advice
    assert [row.unstable is None for row in found.layers] == [True, False, True, False, True]


def test_with_parallel_lines_the_parts_are_the_whole() -> None:
    # Then the two bounds have the same coefficients, and their distance is the range of the linear function plus that of
    # the lines times the coefficients: what is reported as shares of the sum.
    model = net()[:3].requires_grad_(False)
    bounded = BoundedModule(model, X, bound_opts={"relu": "same-slope", "rounding": "nearest"})
    result = bounded.compute_bounds(ball(), method="CROWN", return_A=True)
    found = result.explain()
    form = result.A["linear_1"]["input"]
    assert torch.allclose(form["lA"], form["uA"])
    own = float((form["lA"].abs().sum(-1) * 0.6).mean())
    gap = float((form["ubias"] - form["lbias"]).mean())
    assert found.linear == pytest.approx(own + gap)
    assert found.from_inputs == pytest.approx(own / (own + gap))
    assert found.layers[1].lost == pytest.approx(gap / (own + gap))


def test_unstable_neurons_are_counted() -> None:
    bounded = BoundedModule(net(), X)
    result = bounded.compute_bounds(ball(), method="CROWN")
    before = result.intermediate["0"]
    expected = float(((before.lower < 0) & (before.upper > 0)).double().mean())
    assert result.explain().layers[1].unstable == pytest.approx(expected)


def test_an_affine_model_loses_nothing() -> None:
    found = BoundedModule(nn.Linear(3, 2).double(), X).compute_bounds(ball(), method="CROWN").explain()
    assert found.from_inputs == 1 and "no method takes it away" in found.advice[0]


def test_advice_names_the_place_and_what_to_do() -> None:
    class Squared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(3, 4)
            self.rough = nn.Tanh()

        def forward(self, x: Tensor) -> Tensor:
            return self.rough(self.first(x) * 20)

    bounded = BoundedModule(Squared().double(), X)
    for method, advice in (
        ("CROWN-IBP", "try method='CROWN'"),
        ("CROWN", "CROWN-Optimized"),
        ("CROWN-Optimized", "lirpa_verify"),
    ):
        found = bounded.compute_bounds(ball(1.0), method=method).explain()
        assert any("module 'rough'" in sentence and advice in sentence for sentence in found.advice)
    wide = BoundedModule(nn.Sequential(*net(), nn.Linear(2, 2).double(), nn.ReLU()), X)
    assert "try method='CROWN-IBP'" in " ".join(wide.compute_bounds(ball(1.0), method="IBP").explain().advice)


def test_it_is_printed_as_a_table() -> None:
    found = BoundedModule(net(), X).compute_bounds(ball(), method="CROWN").explain()
    lines = str(found).splitlines()
    assert lines[0].startswith("CROWN: mean width") and "1 (relu)" in str(found)
    assert max(map(len, lines)) < 130
    advice = lines[5 + len(found.layers) :]  # broken into lines, and nothing of it lost
    assert " ".join(advice) == " ".join(found.advice)


def test_which_output() -> None:
    result = BoundedModule(net(), X).compute_bounds(ball(), method="CROWN")
    assert result.explain("2").output == "linear_1" and result.explain(0).output == "linear_2"
    assert astuple(result.explain("linear_1"))[0] == "linear_1"
    for output in (1, "nowhere", "p_0_weight"):
        with pytest.raises(InputError, match="there are"):
            result.explain(output)
    with pytest.raises(InputError, match="pickled"):
        pickle.loads(pickle.dumps(result)).explain()


def test_several_perturbed_tensors_and_examples_of_their_own() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return (x * y).sum(1, keepdim=True).tanh()

    y = torch.rand(4, 3).double()
    bounded = BoundedModule(Two(), (X, y))
    found = bounded.compute_bounds((ball(), BoundedTensor(y, PerturbationLpNorm(norm=2, eps=0.1)))).explain()
    assert found.from_inputs + sum(row.lost for row in found.layers) == pytest.approx(1)
    assert {row.rule for row in found.layers} >= {"bilinear", "unary"}
