"""Every kind of native code can be traced whole: no branch on data, no look at a value."""

import pytest
import torch

from lirpa_core.linear.interval import Interval
from lirpa_core.plugins import default_registry
from lirpa_core.rules.call import Call, Const, Operand

aten = torch.ops.aten


def X(*sizes: int) -> Operand:
    return Operand(sizes)


def C(*sizes: int) -> torch.Tensor:
    return torch.randn(sizes, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


CALLS = {
    "linear": lambda: Call.of(aten.linear.default, X(1, 3), C(2, 3), C(2)),
    "matmul": lambda: Call.of(aten.matmul.default, X(2, 2, 3), X(3, 2)),
    "mul": lambda: Call.of(aten.mul.Tensor, X(2, 3), X(3)),
    "add": lambda: Call.of(aten.add.Tensor, X(2, 3), C(3), alpha=2),
    "cat": lambda: Call.of(aten.cat.default, [X(2, 1), C(2, 2)], 1),
    "slice": lambda: Call.of(aten.slice.Tensor, X(2, 5), 1, 1, 5, 2),
    "sum": lambda: Call.of(aten.sum.dim_IntList, X(2, 3), [1]),
    "mean": lambda: Call.of(aten.mean.dim, X(2, 3), [1]),
    "gather": lambda: Call.of(
        aten.gather.default, X(1, 3), 1, Const(torch.tensor([[[0]], [[2]], [[1]]]), True)
    ),
    "repeat": lambda: Call.of(aten.repeat.default, X(2), [2, 1]),
    "pad": lambda: Call.of(aten.constant_pad_nd.default, X(3), [1, 0], 2.0),
    "where": lambda: Call.of(aten.where.self, Operand((3,), torch.bool), X(3), X(2, 3)),
    "maximum": lambda: Call.of(aten.maximum.default, X(2, 3), X(3)),
    "amax": lambda: Call.of(aten.amax.default, X(2, 3), [1]),
    "logsumexp": lambda: Call.of(aten.logsumexp.default, X(2, 3), [1]),
}


@pytest.mark.parametrize("name", CALLS)
def test_traced_whole(name):
    call = CALLS[name]()
    rule = default_registry().rule_for(call.node.target)
    ends = [(C(3, *s).abs(), C(3, *s).abs() + 1) for s in call.shapes]
    A = C(4, 3, *call.shape)

    def bounds(A, *ends):
        inputs = tuple(Interval(low, up) for low, up in ends)
        box, lines = rule.interval(call, inputs), rule.relax(call, inputs)
        found = [box.lower, box.upper]
        for side in (lines.lower, lines.upper):
            found += [t.transpose(A) for t in side.terms if t is not None]
            found += [] if side.bias is None else [side.bias]
        return found

    torch.compiler.reset()
    compiled = torch.compile(bounds, fullgraph=True, backend="eager")
    for got, want in zip(compiled(A, *ends), bounds(A, *ends), strict=True):
        torch.testing.assert_close(got, want)
