"""Views, permutations, slices and concatenation against autograd's Jacobians."""

import pytest
import torch

from lirpa_core.operators import shape
from lirpa_core.plugins import default_registry
from lirpa_core.rules.call import Call, Const, Operand
from lirpa_testing.core_cases.shape import CASES, MANY

aten = torch.ops.aten
INT64_MAX = 2**63 - 1


def X(*sizes: int) -> Operand:
    return Operand(sizes)


def _call(case: tuple) -> Call:
    return Call.of(
        *(a.double() if isinstance(a, torch.Tensor) and a.is_floating_point() else a for a in case)
    )


@pytest.mark.parametrize("name", CASES)
def test_exact_in_every_mode(name, oracle):
    call = _call(CASES[name])
    registry = default_registry()
    oracle.assert_affine(registry.rule_for(call.node.target), call, registry)


@pytest.mark.parametrize("name", [n for n in CASES if n != "cat empty"])  # which vmap cannot do
def test_native_code_is_the_operator(name, oracle):
    call = _call(CASES[name])
    oracle.assert_native(default_registry().rule_for(call.node.target), call)


@pytest.mark.parametrize("output", [0, 1, -1])
@pytest.mark.parametrize("name", MANY)
def test_operators_with_several_outputs(name, output, oracle):
    op, x, *rest = MANY[name]
    outputs = len(op(torch.zeros(x.shape), *rest))
    call = Call.of(op, x, *rest, output=output % outputs)
    registry = default_registry()
    oracle.assert_affine(registry.rule_for(op), call, registry)
    oracle.assert_native(registry.rule_for(op), call)


def test_concatenation_with_a_constant_of_each_example(oracle):
    call = Call.of(aten.cat.default, [X(2, 3), Const(oracle.rand(3, 2, 2), batched=True)], 1, batch=3)
    registry = default_registry()
    oracle.assert_affine(shape.CAT, call, registry)
    oracle.assert_native(shape.CAT, call)


@pytest.mark.parametrize(
    "case",
    [CASES[n] for n in ("view", "squeeze dims", "permute", "expand", "slice step", "select", "cat constant")],
    ids=lambda c: str(c[0]),
)
def test_selected_rows_stay_selected_rows(case):
    from lirpa_core.linear.coefficients import SelectedRows
    from lirpa_core.rules.linear import StructuralOp

    call = _call(case)
    registry = default_registry()
    kernel = registry.find_kernel(call.node.target, SelectedRows)
    rows = SelectedRows.identity(call.shape, dtype=torch.float64, device="cpu")
    result = kernel(StructuralOp(call, 0, registry.rule_for(call.node.target)), rows)
    assert isinstance(result, SelectedRows)


def test_copy_is_its_source(oracle):
    into, source = torch.zeros(2, 3, dtype=torch.float64), torch.arange(3, dtype=torch.float32)
    copied = shape.copy(into, source)
    assert copied.dtype == torch.float64
    oracle.close(copied, aten.copy.default(into, source))


def test_views_do_not_copy_coefficients():
    call = _call(CASES["permute"])
    A = torch.randn(4, 3, *call.shape)
    pulled = default_registry().rule_for(call.node.target).native.transpose(call, 0, A)
    assert pulled.data_ptr() == A.data_ptr()
