"""Look-ups at constant places, shared by all examples or each example's own; flips, tiles and borders."""

import pytest
import torch

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.errors import UnsupportedOperandError
from lirpa_core.linear.coefficients import SelectedRows
from lirpa_core.operators import indexing
from lirpa_core.plugins import default_registry
from lirpa_core.rules.call import Call, Const, Operand
from lirpa_testing.core_cases.indexing import CASES

aten = torch.ops.aten


def X(*sizes: int) -> Operand:
    return Operand(sizes)


def I(*values) -> torch.Tensor:  # noqa: E743
    return torch.tensor(values)


def each(*values) -> Const:
    return Const(torch.tensor(values), batched=True)


@pytest.mark.parametrize("name", CASES)
def test_exact_in_every_mode(name, oracle):
    call = Call.of(*CASES[name], batch=3)
    registry = default_registry()
    rule = registry.rule_for(call.node.target)
    oracle.assert_affine(rule, call, registry)
    if name != "index mask":  # of unknown length to vmap
        oracle.assert_native(rule, call)


@pytest.mark.parametrize("name", [n for n in CASES if "pad" not in n and n != "crop"])
def test_selected_rows_stay_selected_rows(name):
    call = Call.of(*CASES[name], batch=3)
    registry = default_registry()
    term = registry.rule_for(call.node.target).relax(call, (None,)).lower.terms[0]
    rows = SelectedRows.identity(call.shape, dtype=torch.float64, device="cpu")
    assert isinstance(registry.find_kernel(term.key, SelectedRows)(term, rows), SelectedRows)


def test_a_border_of_zeros_costs_no_bias():
    rule = default_registry().rule_for(aten.constant_pad_nd.default)
    bias = [rule.relax(Call.of(*CASES[n]), (None,)).lower.bias for n in ("pad", "pad with a value")]
    assert bias[0] is None and bias[1].max() == 2.5


def test_elements_of_the_flattened_tensor():
    x, index = torch.arange(6.0).reshape(2, 3), I([5, 0], [-1, 3])
    assert torch.equal(indexing.take(x, index % 6), x.take(index))


def test_perturbed_places_are_refused():
    x = torch.randn(2, 4)
    bounded = BoundedModule(lambda x: torch.zeros_like(x).scatter_add(1, x.argsort(1), x), x)
    with pytest.raises(UnsupportedOperandError, match="argument 'index'"):
        bounded.compute_bounds(BoundedTensor(x, PerturbationLpNorm(eps=0.1)))
