"""An oracle that shares no code with the rules: one example at a time, autograd's Jacobians, sampling."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from lirpa_core.linear.coefficients import Coefficients, SelectedRows
from lirpa_core.linear.interval import Interval
from lirpa_core.linear.operators import LinearOp
from lirpa_core.linear.relaxation import Affine, Relaxation
from lirpa_core.plugins import Registry
from lirpa_core.rules.call import Call, Const, Operand

BATCH = 3
ROWS = 4

X = Operand  # short in tables of calls


def batched(*shape: int, seed: int = 7, **kwargs: Any) -> Const:
    """A constant that differs between the examples."""
    return Const(rand(BATCH, *shape, seed=seed), batched=True)


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def example(call: Call, b: int) -> Callable[..., Tensor]:
    """The operator on example `b`, as a function of one tensor a slot."""
    constants = [c.value[b % c.value.shape[0]] if c.batched else c.value for c in call.constants]
    return lambda *xs: call.function(xs, constants)


def values(call: Call, xs: Sequence[Tensor]) -> Tensor:
    """The operator on `[B, *S_i]`, one example after the other."""
    return torch.stack([example(call, b)(*(x[b % x.shape[0]] for x in xs)) for b in range(BATCH)])


def jacobian(call: Call, slot: int) -> Tensor:
    """`[B, *S_out, *S_in]` at some point."""
    found = []
    for b in range(BATCH):
        xs = [rand(*s, seed=11 + i) for i, s in enumerate(call.shapes)]

        def of_one(x: Tensor, b: int = b, xs: list[Tensor] = xs) -> Tensor:
            return example(call, b)(*(x if i == slot else y for i, y in enumerate(xs)))

        found.append(torch.autograd.functional.jacobian(of_one, xs[slot]))
    return torch.stack(found).reshape(BATCH, *call.shape, *call.shapes[slot])


def matrix(call: Call, slot: int) -> Tensor:
    """The Jacobian as `[B, out, in]`."""
    return jacobian(call, slot).reshape(BATCH, call_size(call), -1)


def call_size(call: Call) -> int:
    return int(torch.Size(call.shape).numel())


def boxes(call: Call, seed: int = 3, width: float = 1.0) -> tuple[Interval, ...]:
    """A random box an operand, one element of each a single point."""
    found = []
    for i, shape in enumerate(call.shapes):
        lower = rand(BATCH, *shape, seed=seed + 10 * i)
        radius = width * rand(BATCH, *shape, seed=seed + 10 * i + 1).abs()
        radius.reshape(BATCH, -1)[:, :1] = 0
        found.append(Interval(lower, lower + radius))
    return tuple(found)


def points(inputs: Sequence[Interval], count: int = 20, corners: int = 7) -> list[list[Tensor]]:
    """Points of a box: random ones, its corners (all of them in low dimension)."""
    generator = torch.Generator().manual_seed(5)

    def at(share: Callable[[Tensor], Tensor]) -> list[Tensor]:
        return [x.lower + share(x.lower) * (x.upper - x.lower) for x in inputs]

    def uniform(like: Tensor) -> Tensor:
        return torch.rand(like.shape, generator=generator, dtype=like.dtype)

    found = [at(uniform) for _ in range(count)] + [at(lambda t: uniform(t).round()) for _ in range(count)]
    sizes = [x.lower[0].numel() for x in inputs]
    if sum(sizes) <= corners:
        for bits in itertools.product((0.0, 1.0), repeat=sum(sizes)):
            parts = torch.tensor(bits, dtype=torch.float64).split(sizes)
            found.append(
                [
                    x.lower + p.reshape(x.lower.shape[1:]) * (x.upper - x.lower)
                    for x, p in zip(inputs, parts, strict=True)
                ]
            )
    return found


def line(affine: Affine, xs: Sequence[Tensor], call: Call) -> Tensor:
    """Value of an affine bound, `[B, *S]`."""
    total = torch.zeros(BATCH, *call.shape, dtype=torch.float64)
    for term, x in zip(affine.terms, xs, strict=True):
        if term is not None:
            total = total + term.apply(x)
    return total if affine.bias is None else total + affine.bias


def assert_sound(rule: Any, call: Call, inputs: tuple[Interval, ...], tolerance: float = 1e-9) -> None:
    """No point of the box outside of the interval, none outside of the two affine bounds."""
    interval, relaxation = rule.interval(call, inputs), rule.relax(call, inputs)
    assert interval.lower.shape[1:] == call.shape == interval.upper.shape[1:]
    for xs in points(inputs):
        y = values(call, xs).to(torch.float64)
        assert (interval.lower <= y + tolerance).all() and (y <= interval.upper + tolerance).all()
        assert (line(relaxation.lower, xs, call) <= y + tolerance).all(), "lower affine bound"
        assert (y <= line(relaxation.upper, xs, call) + tolerance).all(), "upper affine bound"


def assert_tight(rule: Any, call: Call, inputs: tuple[Interval, ...]) -> None:
    """The interval is the range, as the corners of the box show."""
    interval = rule.interval(call, inputs)
    found = torch.stack([values(call, xs) for xs in points(inputs, count=0, corners=9)])
    close(interval.lower.expand(BATCH, *call.shape), found.amin(0))
    close(interval.upper.expand(BATCH, *call.shape), found.amax(0))


def assert_transposes(op: LinearOp, J: Tensor, shape: tuple[int, ...]) -> None:
    """`apply`, `apply_abs`, `apply_split` and `transpose` of an operator are those of a matrix.

    Args:
        op: The operator.
        J: `[B, out, in]`.
        shape: `S_out`.
    """
    x = rand(2, BATCH, *op.in_shape, seed=21)
    flat = x.reshape(2, BATCH, -1)

    def times(W: Tensor, v: Tensor) -> Tensor:
        return torch.einsum("boi,lbi->lbo", W, v).reshape(2, BATCH, *shape)

    close(op.apply(x[0]).expand(BATCH, *shape), times(J, flat)[0])
    close(op.apply(x, 2), times(J, flat))
    close(op.apply_abs(x, 2), times(J.abs(), flat))
    width = rand(2, BATCH, *op.in_shape, seed=22).abs().reshape(2, BATCH, -1)
    low, up = op.apply_split(x, x + width.reshape(x.shape), 2)
    close(low, times(J.clamp(min=0), flat) + times(J.clamp(max=0), flat + width))
    close(up, times(J.clamp(min=0), flat + width) + times(J.clamp(max=0), flat))
    A = rand(ROWS, BATCH, *shape, seed=23)
    close(
        op.transpose(A),
        torch.einsum("rbo,boi->rbi", A.reshape(ROWS, BATCH, -1), J).reshape(ROWS, BATCH, *op.in_shape),
    )
    shared = A[:, :1]  # rows that are the same for all examples
    expected = torch.einsum("rbo,boi->rbi", shared.expand(-1, BATCH, *shape).reshape(ROWS, BATCH, -1), J)
    close(op.transpose(shared).expand(-1, BATCH, *op.in_shape), expected.reshape(ROWS, BATCH, *op.in_shape))


def assert_affine(rule: Any, call: Call, kernels: Registry | None = None) -> None:
    """An operator that is affine in its operands: exact in every mode, whatever the operands.

    Args:
        rule: The rule.
        call: The call.
        kernels: Where to find kernels for selected rows, each of which is compared with the dense result.
    """
    rule.check(call)
    assert rule.is_affine(call)
    relaxation = rule.relax(call, (None,) * len(call.shapes))
    assert relaxation.exact
    xs = [rand(BATCH, *s, seed=31 + i) for i, s in enumerate(call.shapes)]
    close(line(relaxation.lower, xs, call), values(call, xs))
    jacobians = [matrix(call, i) for i in range(len(call.shapes))]
    inputs = boxes(call)
    lower = values(call, [torch.zeros_like(x) for x in xs]).reshape(BATCH, -1)
    upper = lower
    for J, x, term in zip(jacobians, inputs, relaxation.lower.terms, strict=True):
        l, u = x.lower.reshape(BATCH, -1, 1), x.upper.reshape(BATCH, -1, 1)
        lower = lower + (J.clamp(min=0) @ l + J.clamp(max=0) @ u).squeeze(-1)
        upper = upper + (J.clamp(min=0) @ u + J.clamp(max=0) @ l).squeeze(-1)
        assert_transposes(term, J, call.shape)
        kernel = None if kernels is None else kernels.find_kernel(term.key, SelectedRows)
        if kernel is not None:
            assert_rows(kernel, term, call)
    interval = rule.interval(call, inputs)
    close(interval.lower.expand(BATCH, *call.shape), lower.reshape(BATCH, *call.shape))
    close(interval.upper.expand(BATCH, *call.shape), upper.reshape(BATCH, *call.shape))
    one = tuple(Interval(x.lower[:1], x.upper[:1]) for x in inputs)  # the same box for every example
    alone = rule.interval(call, one)
    all_ = tuple(
        Interval(x.lower.expand_as(y.lower), x.upper.expand_as(y.upper))
        for x, y in zip(one, inputs, strict=True)
    )
    repeated = rule.interval(call, all_)
    close(alone.lower.expand(BATCH, *call.shape), repeated.lower.expand(BATCH, *call.shape))
    close(alone.upper.expand(BATCH, *call.shape), repeated.upper.expand(BATCH, *call.shape))


def assert_rows(kernel: Callable[[LinearOp, Any], Coefficients | None], op: LinearOp, call: Call) -> None:
    """A kernel for selected rows gives what the transpose gives for the same rows written out."""
    size = call_size(call)
    generator = torch.Generator().manual_seed(9)
    for batch, scales in (
        (1, (1, 1)),
        (BATCH, (1, 1)),
        (BATCH, (ROWS, BATCH)),
        (1, (ROWS, 1)),
        (1, (ROWS, BATCH)),
    ):
        index = torch.randint(size, (ROWS, batch), generator=generator)
        rows = SelectedRows(index, rand(*scales, seed=41), call.shape)
        result = kernel(op, rows)
        if result is None:
            continue
        dense = op.transpose(rows.to_dense())
        assert result.rows == ROWS and result.shape == op.in_shape
        got, want = torch.broadcast_tensors(result.to_dense(), dense)
        close(got, want)


def assert_native(rule: Any, call: Call) -> None:
    """Hand-written code agrees with what is derived from the operator itself."""
    written = {f.name for f in dataclasses.fields(rule)} & {"native", "operator", "fixed", "ranges"}
    generic = dataclasses.replace(rule, **dict.fromkeys(written))
    inputs = boxes(call)
    mine: Relaxation = rule.relax(call, inputs)
    theirs: Relaxation = generic.relax(call, inputs)
    shape = (BATCH, *call.shape)
    A = rand(ROWS, BATCH, *call.shape, seed=51)
    for a, b in ((mine.lower, theirs.lower), (mine.upper, theirs.upper)):
        zero = torch.zeros(shape, dtype=torch.float64)
        close(zero + (0 if a.bias is None else a.bias), zero + (0 if b.bias is None else b.bias))
        for s, t in zip(a.terms, b.terms, strict=True):
            x = rand(2, BATCH, *s.in_shape, seed=52)
            close(s.apply(x, 2), t.apply(x, 2))
            close(s.apply_abs(x, 2), t.apply_abs(x, 2))
            close(s.transpose(A), t.transpose(A))
