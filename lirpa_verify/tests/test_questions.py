"""Answers are right: against brute force, planted counterexamples, and properties that hold by construction."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from lirpa_verify import (
    Inequality,
    Property,
    Status,
    monotone,
    output_in_box,
    robust,
    targeted,
    verify,
    verify_files,
)
from lirpa_verify.certification import certify_examples
from lirpa_verify.errors import NetworkError, PropertyError
from lirpa_verify.properties import exact
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedParameter, BoundedTensor, PerturbationLpNorm
from lirpa_core.errors import InputError, OptionError


class Products(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(2, 6), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.first(x).chunk(2, 1)
        return self.last(a * b)


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.inner, self.last = nn.Linear(2, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x).relu()
        return self.last((h + self.inner(h)).relu())


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.last = nn.Linear(1, 6), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x.unsqueeze(2)).chunk(3, 2)  # two tokens of one number each
        return self.last(((q @ k.transpose(1, 2)).softmax(2) @ v).flatten(1))


class MaxPool(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(2, 16), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x).reshape(-1, 1, 4, 4)
        return self.last(nn.functional.max_pool2d(h, 2).flatten(1))


def mlp(activation: Callable[[], nn.Module]) -> nn.Module:
    return nn.Sequential(nn.Linear(2, 10), activation(), nn.Linear(10, 10), activation(), nn.Linear(10, 3))


FAMILIES: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: nn.Linear(2, 3),
    "relu": lambda: mlp(nn.ReLU),
    "leaky": lambda: mlp(nn.LeakyReLU),
    "sigmoid": lambda: mlp(nn.Sigmoid),
    "tanh": lambda: mlp(nn.Tanh),
    "gelu": lambda: mlp(nn.GELU),
    "max-pool": MaxPool,
    "residual": Residual,
    "attention": Attention,
    "products": Products,
}


def planted(family: str, seed: int) -> tuple[nn.Module, Tensor, PerturbationLpNorm, float]:
    """A network, a box, and the smallest margin of class 0 on a grid of the box."""
    torch.manual_seed(seed)
    model = FAMILIES[family]().double().eval().requires_grad_(requires_grad=False)
    x = torch.randn(1, 2, dtype=torch.float64)
    axis = torch.linspace(-0.3, 0.3, 41, dtype=torch.float64)
    outputs = model(x + torch.cartesian_prod(axis, axis))
    margin = float((outputs[:, :1] - outputs[:, 1:]).min())
    return model, x, PerturbationLpNorm(eps=0.3), margin


def moved_by(model: nn.Module, margin: float) -> nn.Module:
    """The model with its class 0 moved so that the smallest margin on the grid is as given."""

    class Moved(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model
            self.register_buffer("offset", torch.tensor([[margin, 0.0, 0.0]], dtype=torch.float64))

        def forward(self, x: Tensor) -> Tensor:
            return self.model(x) + self.offset

    return Moved().eval()


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("family", FAMILIES)
def test_planted_counterexamples_are_found(family: str, seed: int) -> None:
    model, x, ball, margin = planted(family, seed)
    result = verify(moved_by(model, -margin - 1e-6), x, ball, robust(0), timeout=20)
    assert result.status == Status.REFUTED
    assert result.counterexample is not None
    (z,) = result.counterexample.inputs
    assert bool((z - x[0]).abs().max() <= 0.3 + 1e-12)
    outputs = moved_by(model, -margin - 1e-6)(z.unsqueeze(0))[0]
    assert bool(outputs[1:].max() >= outputs[0])


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("family", FAMILIES)
def test_what_holds_by_a_clear_margin_is_proved(family: str, seed: int) -> None:
    model, x, ball, margin = planted(family, seed)
    result = verify(moved_by(model, -margin + 0.05), x, ball, robust(0), timeout=20)
    assert result.status == Status.PROVED
    assert result.counterexample is None
    # The grid's smallest margin, 0.05, is a member's margin: no lower bound may be above it.
    assert float(result.margins[0].min()) <= 0.05 + 1e-9


@pytest.fixture
def identity() -> nn.Module:
    model = nn.Linear(2, 2)
    model.weight.data, model.bias.data = torch.eye(2), torch.zeros(2)
    return model.eval()


def test_every_builder_is_decided_both_ways(identity: nn.Module) -> None:
    x = torch.tensor([[1.0, 0.0]])
    for eps, status in ((0.4, Status.PROVED), (0.6, Status.REFUTED)):
        ball = PerturbationLpNorm(eps=eps)
        for spec in (robust(0), targeted(0, 1), monotone([1, 0]), output_in_box([0.5, -0.5], [1.5, 0.5])):
            assert verify(identity, x, ball, spec).status == status, spec


def test_a_tie_is_a_violation(identity: nn.Module) -> None:
    x = torch.tensor([[1.0, 0.0]])
    box = PerturbationLpNorm(x_L=torch.tensor([[0.5, 0.5]]), x_U=torch.tensor([[1.0, 0.5]]))
    assert verify(identity, x, box, robust(0)).status == Status.REFUTED


def test_conditions_on_inputs_count(relu_net: nn.Module) -> None:
    # y₀ < −100 is impossible, x₀ ≥ 0.5 is not; together they are impossible, apart one of them is not.
    low = Inequality(((0, exact(-1)),), (), exact(-100))
    right = Inequality((), ((0, exact(1)),), exact(-0.5))
    x, ball = torch.zeros(1, 2), PerturbationLpNorm(eps=1.0)
    assert verify(relu_net, x, ball, Property(((low, right),))).status == Status.PROVED
    found = verify(relu_net, x, ball, Property(((low,), (right,))))
    assert found.status == Status.REFUTED
    assert found.counterexample is not None
    assert found.counterexample.violation == 1
    assert float(found.counterexample.inputs[0][0]) >= 0.5


def test_other_sets_than_boxes_are_verified(identity: nn.Module) -> None:
    x = torch.tensor([[1.0, 0.0]])
    for eps, status in ((0.7, Status.PROVED), (0.72, Status.REFUTED)):  # the border is at 1/√2
        assert verify(identity, x, PerturbationLpNorm(eps=eps, norm=2), robust(0)).status == status


def test_several_inputs_are_verified() -> None:
    class Sum(nn.Module):
        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return torch.cat([a + b, torch.zeros_like(a)], 1)

    a, b = torch.tensor([[1.0]]), torch.tensor([[1.0]])
    for eps, status in ((0.9, Status.PROVED), (1.1, Status.REFUTED)):
        inputs = (
            BoundedTensor(a, PerturbationLpNorm(eps=eps)),
            BoundedTensor(b, PerturbationLpNorm(eps=eps)),
        )
        assert verify(Sum().eval(), inputs, None, robust(0)).status == status


def test_answers_are_the_same_for_the_same_seed(relu_net: nn.Module) -> None:
    x, ball = torch.zeros(1, 2), PerturbationLpNorm(eps=2.0)
    first, second = (verify(relu_net, x, ball, robust(0), seed=3) for _ in range(2))
    assert first.status == second.status
    assert first.statistics.subproblems == second.statistics.subproblems
    if first.counterexample is not None and second.counterexample is not None:
        assert torch.equal(first.counterexample.inputs[0], second.counterexample.inputs[0])


def test_a_network_is_captured_once_for_many_examples(
    relu_net: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    captured = []

    class Counted(BoundedModule):
        def __init__(self, *given: Any) -> None:
            captured.append(given)
            super().__init__(*given)

    monkeypatch.setattr("lirpa_verify.bounding.BoundedModule", Counted)
    x = torch.randn(4, 2)
    list(certify_examples(relu_net, x, relu_net(x).argmax(1), PerturbationLpNorm(eps=1e-3)))
    assert len(captured) == 1


def test_bad_questions_are_refused(relu_net: nn.Module) -> None:
    x, ball = torch.zeros(1, 2), PerturbationLpNorm(eps=0.1)
    with pytest.raises(PropertyError, match="no property"):
        verify(relu_net, x, ball)
    with pytest.raises(PropertyError, match="class 3"):
        verify(relu_net, x, ball, robust(3))
    with pytest.raises(InputError, match="no input is perturbed"):
        verify(relu_net, x, None, robust(0))
    with pytest.raises(InputError, match="one example"):
        verify(relu_net, torch.zeros(2, 2), ball, robust(0))
    with pytest.raises(OptionError, match="timeout=0"):
        verify(relu_net, x, ball, robust(0), timeout=0)
    with pytest.raises(NetworkError, match="training mode"):
        verify(relu_net.train(), x, ball, robust(0))
    relu_net.eval()[0].bias.data[0] = float("nan")
    with pytest.raises(NetworkError, match="NaN"):
        verify(relu_net, x, ball, robust(0))


def test_networks_that_are_not_one_function_in_real_arithmetic_are_refused(relu_net: nn.Module) -> None:
    ball = PerturbationLpNorm(eps=0.1)
    dropping = nn.Sequential(relu_net, nn.Dropout(0.5)).eval()
    dropping[1].train()
    with pytest.raises(NetworkError, match="'1' is in training mode"):
        verify(dropping, torch.zeros(1, 2), ball, robust(0))
    with pytest.raises(NetworkError, match=r"type torch\.bfloat16"):
        verify(nn.Linear(2, 2).bfloat16().eval(), torch.zeros(1, 2, dtype=torch.bfloat16), ball, robust(0))
    moving = nn.Linear(2, 2).eval()
    moving.weight = BoundedParameter(moving.weight.data, ball)
    with pytest.raises(NetworkError, match="parameter 'weight' is perturbed"):
        verify(moving, torch.zeros(1, 2), ball, robust(0))


def test_a_property_of_inputs_leaves_the_modes_of_parts_alone() -> None:
    class Part(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x

    part = Part()
    model = nn.Sequential(nn.Linear(1, 1), part).eval()
    part.train()
    above = Inequality(outputs=((0, exact(1)),), inputs=((0, exact(-1)),), constant=exact(-100))
    assert (
        verify(model, torch.zeros(1, 1), PerturbationLpNorm(eps=0.1), Property(((above,),))).status
        == "proved"
    )
    assert part.training


def test_files_are_proved_and_refuted(absolute_onnx: Path, write_query: Callable[..., Path]) -> None:
    # y₀ = |x₀| + |x₁| reaches from 0 to 2 over the box.
    assert verify_files(absolute_onnx, write_query("(assert (>= Y_0 2.001))")).status == Status.PROVED
    assert verify_files(absolute_onnx, write_query("(assert (<= Y_0 -0.001))")).status == Status.PROVED
    found = verify_files(absolute_onnx, write_query("(assert (>= Y_0 2))"))
    assert found.status == Status.REFUTED
    assert found.counterexample is not None
    assert found.counterexample.inputs[0].abs().tolist() == [1.0, 1.0]
    both = write_query("(assert (<= Y_0 0.5))", "(assert (>= Y_1 0.6))")
    assert verify_files(absolute_onnx, both).status == Status.PROVED


def test_a_disjunction_over_boxes_needs_all_of_them(absolute_onnx: Path, tmp_path: Path) -> None:
    text = "".join(f"(declare-const {v} Real)" for v in ("X_0", "X_1", "Y_0", "Y_1"))
    text += "(assert (>= X_1 0)) (assert (<= X_1 0))"
    box = "(and (>= X_0 {}) (<= X_0 {}) (>= Y_0 1.5))"
    for last, status in ((1.4, Status.PROVED), (1.6, Status.REFUTED)):
        path = tmp_path / "p.vnnlib"
        path.write_text(f"{text} (assert (or {box.format(-1, 0)} {box.format(1, last)}))")
        assert verify_files(absolute_onnx, path).status == status


def test_files_that_do_not_fit_are_refused(absolute_onnx: Path, write_query: Callable[..., Path]) -> None:
    with pytest.raises(PropertyError, match="about 3 outputs"):
        verify_files(absolute_onnx, write_query("(assert (>= Y_2 0))", outputs=3))
    wide = write_query("(declare-const X_2 Real) (assert (>= X_2 0)) (assert (<= X_2 1)) (assert (>= Y_0 0))")
    with pytest.raises(PropertyError, match="about 3 inputs, but the network has 2"):
        verify_files(absolute_onnx, wide)
    with pytest.raises(PropertyError, match="set of inputs is empty"):
        verify_files(absolute_onnx, write_query("(assert (>= Y_0 0))", box=(1, -1)))


def test_margins_are_at_most_the_exact_ones() -> None:
    """The difference of two numbers of float64, in fractions."""
    model = nn.Linear(1, 1, bias=False, dtype=torch.float64).eval()
    model.weight.data.fill_(1.0)
    for k in range(1, 40):
        x, limit = k / 7, k / 3
        result = verify(
            model,
            torch.tensor([[x]], dtype=torch.float64),
            PerturbationLpNorm(eps=0.0),
            output_in_box(upper=limit),
        )
        (margin,) = result.margins[0].tolist()
        exact = Fraction(limit) - Fraction(x)
        assert exact - Fraction(1, 10**7) <= Fraction(margin) <= exact
