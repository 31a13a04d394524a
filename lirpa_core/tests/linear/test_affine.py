"""An affine form means `Σ coefficients · value + bias`: what `forward` and `backward` return does."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lirpa_core import BoundedTensor, PerturbationLpNorm, functional
from lirpa_core.linear import AffineForm
from lirpa_core.linear.coefficients import DenseCoefficients


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_both_directions_give_the_form_of_an_affine_model() -> None:
    model, x = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)).double().eval(), draw(5, 3)
    problem = functional.bind(functional.capture(model, x), BoundedTensor(x, PerturbationLpNorm(eps=0.5)))
    (node,) = functional.output_names(problem)
    _, affine = functional.forward(problem, wanted=(node,))
    rows = DenseCoefficients(torch.eye(2, dtype=torch.float64).reshape(2, 1, 1, 2))
    back = functional.backward(
        problem, node, rows, functional.Relaxations(problem, functional.intervals(problem))
    )
    with torch.no_grad():
        y = model(x).T  # [R, B]
        for form in (affine[node].lower, affine[node].upper, back):
            assert isinstance(form, AffineForm)
            ((name, A),) = form.coefficients.items()
            assert name in problem.inputs and form.bias.shape[0] == 2
            torch.testing.assert_close(A.dot(x.unsqueeze(1)) + form.bias, y)
    assert not back.at_nodes
