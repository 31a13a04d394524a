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


class Chain(nn.Module):
    """A model all of whose calls are bound to its own tensors, and so are used again."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 4).double(), nn.Linear(4, 2).double()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.second(torch.relu(self.first(x)))
        return out


def of_point(problem: functional.Problem) -> Tensor:
    """The value of the output, from the intervals of a problem whose set is one point."""
    (node,) = functional.output_names(problem)
    return functional.intervals(problem)[node].lower.reshape(4, 2)


def test_calls_that_are_used_again_follow_every_change_of_a_tensor() -> None:
    model, (x, _) = Chain(), example()
    captured = functional.capture(model, (x,))
    point = BoundedTensor(x + 0.5, PerturbationLpNorm(eps=0.0))

    def bind() -> functional.Problem:
        return functional.bind(captured, (point,))

    def alike() -> None:
        problem = bind()
        torch.testing.assert_close(of_point(problem), model(x + 0.5))

    first = bind()
    assert list(bind().calls.values()) == list(first.calls.values())  # the same objects
    alike()
    with torch.no_grad():
        model.first.weight.mul_(3)
    alike()
    model.second.bias.data = torch.tensor([4.0, 5.0], dtype=torch.float64)
    alike()
    model.first.weight = nn.Parameter(torch.randn(4, 3, dtype=torch.float64))
    alike()
    with torch.no_grad():
        model.second.bias.fill_(-torch.inf)
    assert [call.infinite for call in bind().calls.values()] == [False, False, True]
    with torch.no_grad():
        model.second.bias.zero_()
    assert not any(call.infinite for call in bind().calls.values())
    alike()


def test_a_weight_that_becomes_perturbed_and_is_not_read_is_refused() -> None:
    class Unread(Chain):
        def __init__(self) -> None:
            super().__init__()
            self.unread = nn.Linear(1, 1).double()

    model, (x, _) = Unread(), example()
    captured = functional.capture(model, (x,))
    point = BoundedTensor(x, PerturbationLpNorm(eps=0.5))
    functional.bind(captured, (point,))
    model.unread.weight = BoundedParameter(model.unread.weight.detach(), PerturbationLpNorm(eps=0.1))
    with pytest.raises(PerturbationError, match=r"'unread\.weight' is perturbed"):
        functional.bind(captured, (point,))
    model.unread.weight = nn.Parameter(torch.ones(1, 1, dtype=torch.float64))
    model.first.weight = BoundedParameter(model.first.weight.detach(), PerturbationLpNorm(eps=0.1))
    assert len(functional.bind(captured, (point,)).inputs) == 2
