"""Binding reads what is constant anew at every call, and finds out once which operators matter."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lirpa_core import BoundedParameter, BoundedTensor, PerturbationLpNorm, functional
from lirpa_core.errors import InputError, PerturbationError


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2, 3, dtype=torch.float64))

    def forward(self, x: Tensor, shift: Tensor) -> Tensor:
        return torch.relu(x @ self.weight.exp().T + shift * 2)


def example() -> tuple[Tensor, Tensor]:
    return torch.zeros(4, 3, dtype=torch.float64), torch.zeros(4, 2, dtype=torch.float64)


def test_constants_follow_the_parameters_and_the_inputs() -> None:
    model, (x, shift) = Model(), example()
    captured = functional.capture(model, (x, shift))
    point = BoundedTensor(x, PerturbationLpNorm(eps=0.5))
    for value in (0.0, 1.0):
        with torch.no_grad():
            model.weight.fill_(value)
        problem = functional.bind(captured, (point, shift + value))
        (node,) = functional.output_names(problem)
        out = functional.intervals(problem)[node]
        weight = torch.tensor(value).double().exp()
        torch.testing.assert_close(out.upper.reshape(4, 2), (3 * 0.5 * weight + 2 * value).expand(4, 2))
        assert problem.batch == 4 and set(problem.inputs) == {
            captured.graph(functional.default_registry()).inputs[0]
        }


def test_only_what_the_perturbation_reaches_becomes_a_call() -> None:
    model, (x, shift) = Model(), example()
    captured = functional.capture(model, (x, shift))
    problem = functional.bind(captured, (x, BoundedTensor(shift, PerturbationLpNorm(eps=0.5))))
    reached = {str(call.node.target) for call in problem.calls.values()}
    assert "aten.relu.default" in reached and "aten.exp.default" not in reached
    assert all(problem.is_perturbed(name) for name in problem.calls)
    assert not any(problem.is_perturbed(name) for name in problem.constants)


def test_a_perturbed_weight_is_an_input() -> None:
    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = BoundedParameter(
                torch.ones(2, 3, dtype=torch.float64), PerturbationLpNorm(eps=0.25)
            )

        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.linear(x, self.weight)

    x = torch.ones(4, 3, dtype=torch.float64)
    problem = functional.bind(functional.capture(Layer(), x), x)
    ((_, member),) = problem.inputs.items()
    assert member.batch_dim is None and member.is_box
    (node,) = functional.output_names(problem)
    torch.testing.assert_close(
        functional.intervals(problem)[node].upper.flatten(), torch.full((8,), 3.75).double()
    )


def test_refusals() -> None:
    captured = functional.capture(Model(), example())
    x, shift = example()
    with pytest.raises(PerturbationError, match=r"nothing is perturbed|no input"):
        functional.bind(captured, (x, shift))
    with pytest.raises(InputError, match="shape"):
        functional.bind(captured, (BoundedTensor(x[:, :2], PerturbationLpNorm(eps=0.5)), shift))
