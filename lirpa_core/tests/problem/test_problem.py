"""Which nodes intervals bound exactly, and the exactness of affine models that they do not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_testing import method_names

#: Intervals do not know that operands vary together.
EXACT = [name for name in method_names() if name not in ("IBP", "CROWN-IBP")]


class Correlated(nn.Module):
    """Operands of one operator that vary together."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        difference = x - x.flip(-1) + self.layer(x)
        return torch.relu(self.layer(difference))


@pytest.mark.parametrize("norm", [1.0, 2.0, float("inf")])
@pytest.mark.parametrize("method", EXACT)
def test_affine_parts_are_bounded_exactly(method: str, norm: float) -> None:
    torch.manual_seed(0)
    model = Correlated().double()
    x = torch.randn(2, 4, dtype=torch.float64)
    point = BoundedTensor(x, PerturbationLpNorm(norm=norm, eps=0.1))
    inner = BoundedModule(model, x).compute_bounds(x=point, method=method).intermediate
    affine = lambda z: model.layer(z - z.flip(-1) + model.layer(z))  # noqa: E731
    jacobian = torch.func.jacrev(affine)(x[0])
    q = {1.0: float("inf"), 2.0: 2.0, float("inf"): 1.0}[norm]
    radius = 0.1 * jacobian.norm(p=q, dim=-1)
    node = next(n for n in inner if n.startswith("linear_1"))
    lower, upper = inner[node].lower, inner[node].upper
    unstable = (affine(x) - radius < 0) & (affine(x) + radius > 0)  # the others need no tight bounds
    assert bool(unstable.any())
    assert torch.allclose(lower[unstable], (affine(x) - radius)[unstable])
    assert torch.allclose(upper[unstable], (affine(x) + radius)[unstable])


class Apart(nn.Module):
    """Two outputs, each of an input of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(2, 3), nn.Linear(2, 3)

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return self.first(x), self.second(y)


@pytest.mark.parametrize("method", method_names())
def test_a_specification_over_an_output_that_nothing_moves(method: str) -> None:
    torch.manual_seed(0)
    model, x, y = Apart(), torch.zeros(2, 2), torch.ones(2, 2)
    C = torch.randn(2, 1, 3)
    inputs = (BoundedTensor(x, PerturbationLpNorm(eps=0.1)), y)
    found = BoundedModule(model, (x, y)).compute_bounds(inputs, C=C, output=1, method=method)
    expected = (C @ model.second(y).unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(found.lower, expected)
    torch.testing.assert_close(found.upper, expected)
