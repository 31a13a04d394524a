"""Views, permutations, slices and concatenation against autograd's Jacobians."""

import pytest
import torch

from lirpa_core.aten import shape
from lirpa_core.registry import default_registry
from lirpa_core.rules.call import Call, Const, Operand

aten = torch.ops.aten
INT64_MAX = 2**63 - 1


def X(*sizes: int) -> Operand:
    return Operand(sizes)


CASES = {
    "view": (aten.view.default, X(2, 3), [3, -1]),
    "reshape to scalar": (aten.reshape.default, X(1, 1), []),
    "unsafe_view": (aten._unsafe_view.default, X(2, 3), [6]),
    "flatten": (aten.flatten.using_ints, X(2, 3, 2), 1, -1),
    "unflatten": (aten.unflatten.int, X(2, 6), -1, [2, 3]),
    "squeeze": (aten.squeeze.default, X(1, 3, 1)),
    "squeeze one": (aten.squeeze.dim, X(1, 3, 1), -1),
    "squeeze no-op": (aten.squeeze.dim, X(1, 3), 1),
    "squeeze dims": (aten.squeeze.dims, X(1, 3, 1), [0, -1]),
    "unsqueeze": (aten.unsqueeze.default, X(2, 3), -2),
    "permute": (aten.permute.default, X(2, 3, 4), [-1, 0, 1]),
    "transpose": (aten.transpose.int, X(2, 3, 4), -1, 0),
    "t": (aten.t.default, X(2, 3)),
    "t vector": (aten.t.default, X(3)),
    "expand": (aten.expand.default, X(3, 1), [2, -1, 4]),
    "expand copy": (aten.expand_copy.default, X(1, 3), [2, 3]),
    "slice": (aten.slice.Tensor, X(2, 5), 1, 1, 4),
    "slice open": (aten.slice.Tensor, X(2, 5), -1, 2, INT64_MAX),
    "slice negative": (aten.slice.Tensor, X(5, 2), 0, -4, -1),
    "slice step": (aten.slice.Tensor, X(2, 7), 1, 1, 6, 2),
    "slice None": (aten.slice.Tensor, X(2, 4), 1, None, None, 3),
    "select": (aten.select.int, X(2, 3, 4), 1, 2),
    "select negative": (aten.select.int, X(2, 3), -1, -2),
    "narrow": (aten.narrow.default, X(2, 5), 1, 1, 3),
    "narrow negative": (aten.narrow.default, X(2, 5), -1, -2, 2),
    "cat": (aten.cat.default, [X(2, 1), X(2, 3)], 1),
    "cat negative": (aten.cat.default, [X(1, 2), X(3, 2)], -2),
    "cat constant": (aten.cat.default, [torch.ones(2, 2), X(2, 3), torch.ones(2, 1)], -1),
    "cat integers": (aten.cat.default, [torch.ones(2, 2, dtype=torch.int64), X(2, 3)], 1),
    "cat empty": (aten.cat.default, [X(0), X(2, 3)], 0),
    "cat vectors": (aten.cat.default, [X(0), X(2), X(3)], 0),
    "cat twice": (aten.cat.default, [X(2, 2), torch.ones(2, 1), X(2, 2)], 1),
}
MANY = {
    "split": (aten.split.Tensor, X(2, 5), 2, 1),
    "split sizes": (aten.split.sizes, X(5, 2), [1, 3, 1], 0),
    "split_with_sizes": (aten.split_with_sizes.default, X(2, 5), [2, 3], -1),
    "chunk": (aten.chunk.default, X(2, 7), 3, 1),
    "unbind": (aten.unbind.int, X(2, 3), -1),
}


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
    from lirpa_core.bounds.linear_map import RowsMap
    from lirpa_core.rules.linear import StructuralOp

    call = _call(case)
    registry = default_registry()
    kernel = registry.find_kernel(call.node.target, RowsMap)
    rows = RowsMap.identity(call.shape, dtype=torch.float64, device="cpu")
    result = kernel(StructuralOp(call, 0, registry.rule_for(call.node.target)), rows)
    assert isinstance(result, RowsMap)


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
