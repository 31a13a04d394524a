"""Operators that convert their operand first are bounded as the conversion and the operator."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.errors import UnsupportedOperandError
from lirpa_testing import method_names

OPERATORS: dict[str, Callable[..., Tensor]] = {
    "sum": lambda y, **to: y.sum(-1, **to),
    "sum of all": lambda y, **to: y.unsqueeze(1).sum((1, 2), True, **to),
    "nansum": lambda y, **to: y.nansum(-1, **to),
    "mean": lambda y, **to: y.mean(-1, keepdim=True, **to),
    "product": lambda y, **to: y.prod(-1, **to),
    "running sum": lambda y, **to: y.cumsum(-1, **to),
    "running product": lambda y, **to: y.cumprod(-1, **to),
    "softmax": lambda y, **to: y.softmax(-1, **to),
    "its logarithm": lambda y, **to: torch.log_softmax(y, -1, **to),
    "norm": lambda y, **to: torch.linalg.vector_norm(y, dim=-1, **to),
}


class Stating(nn.Module):
    def __init__(self, function: Callable[..., Tensor], dtype: torch.dtype | None, *, before: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 4)
        self.function, self.dtype, self.before = function, dtype, before

    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(x)
        return self.function(y.to(self.dtype)) if self.before else self.function(y, dtype=self.dtype)


@pytest.mark.parametrize("name", OPERATORS)
def test_bounds_are_those_of_a_conversion_before(name: str) -> None:
    torch.manual_seed(0)
    stated, converted = (
        Stating(OPERATORS[name], torch.float64, before=before).eval() for before in (False, True)
    )
    converted.load_state_dict(stated.state_dict())
    x = torch.randn(2, 3)
    ball = BoundedTensor(x, PerturbationLpNorm(eps=0.1))
    samples = stated(x + 0.2 * torch.rand(200, 2, 3) - 0.1) if name != "sum of all" else None
    ours, theirs = (BoundedModule(model, x) for model in (stated, converted))
    for method in method_names():
        found, expected = (bounded.compute_bounds(ball, method=method) for bounded in (ours, theirs))
        assert torch.equal(found.lower, expected.lower) and torch.equal(found.upper, expected.upper), method
        if samples is not None:
            assert bool((found.lower <= samples).all() and (samples <= found.upper).all()), method


@pytest.mark.parametrize("name", ["sum", "running sum", "softmax"])
def test_a_narrower_type_is_refused(name: str) -> None:
    x = torch.randn(2, 3)
    bounded = BoundedModule(Stating(OPERATORS[name], torch.bfloat16, before=False).eval(), x)
    for method in ("IBP", "CROWN"):
        with pytest.raises(UnsupportedOperandError, match="bfloat16"):
            bounded.compute_bounds(BoundedTensor(x, PerturbationLpNorm(eps=0.1)), method=method)


def test_an_operator_in_its_operand_s_type_stays() -> None:
    x = torch.randn(2, 3)
    graph = BoundedModule(Stating(OPERATORS["sum"], torch.float32, before=False), x).graph
    assert not [node for node in graph.nodes if node.target == torch.ops.aten.to.dtype]
