"""What operators do with pairs: what is done to each part by itself, and products, quotients, absolute values, angles, exponentials."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.utils import _pytree as pytree  # the public torch.utils.pytree is not in all supported versions

from lirpa_core.capture.complex_numbers.pair import Pair, pair

#: From an operator's arguments, in which complex tensors are pairs, to its result.
Function: TypeAlias = Callable[..., Any]

aten = torch.ops.aten


def by_parts(op: Callable[..., Any]) -> Function:
    """An operator that moves, adds or repeats elements: the same for real and imaginary parts.

    Args:
        op: The operator. Real floating tensors among its arguments have the imaginary part 0, indices stay as they are.
    """

    def function(*args: Any, **kwargs: Any) -> Any:
        kwargs.pop("dtype", None)
        leaves, spec = pytree.tree_flatten((args, kwargs))

        def given(part: Callable[[Pair], Tensor]) -> Any:
            return pytree.tree_unflatten([_part(leaf, part) for leaf in leaves], spec)

        sides = []
        for part in (lambda p: p.real, lambda p: p.imag):
            positional, named = given(part)
            sides.append(op(*positional, **named))
        real, imag = sides
        if isinstance(real, Tensor):
            return Pair(real, imag)
        return [Pair(r, i) for r, i in zip(real, imag, strict=True)]

    return function


def _part(leaf: Any, part: Callable[[Pair], Tensor]) -> Any:
    if isinstance(leaf, Pair):
        return part(leaf)
    return part(pair(leaf)) if isinstance(leaf, Tensor) and leaf.is_floating_point() else leaf


# ---------------------------------------------------------------------- sums and products


def _scaled(x: Any, alpha: Any) -> Any:
    return x if alpha == 1 else mul(x, alpha)


def add(self: Any, other: Any, *, alpha: Any = 1) -> Pair:
    """`self + alpha · other`."""
    like = self if isinstance(self, Pair) else other
    a, b = pair(self, like), pair(_scaled(other, alpha), like)
    return Pair(a.real + b.real, a.imag + b.imag)


def sub(self: Any, other: Any, *, alpha: Any = 1) -> Pair:
    """`self − alpha · other`."""
    return add(self, other, alpha=-alpha)


def bilinear(product: Callable[[Tensor, Tensor], Tensor]) -> Function:
    """A product of pairs by four products of real tensors, two where one factor is real."""

    def function(self: Any, other: Any) -> Pair:
        if not isinstance(self, Pair):
            return Pair(product(self, other.real), product(self, other.imag))
        if not isinstance(other, Pair):
            return Pair(product(self.real, other), product(self.imag, other))
        real = product(self.real, other.real) - product(self.imag, other.imag)
        return Pair(real, product(self.real, other.imag) + product(self.imag, other.real))

    return function


def mul(self: Any, other: Any) -> Any:
    """`self · other`, one of which may be real, or a Python number."""
    for a, b in ((self, other), (other, self)):
        if isinstance(b, complex):
            c = pair(a)
            return Pair(c.real * b.real - c.imag * b.imag, c.real * b.imag + c.imag * b.real)
        if not isinstance(b, (Pair, Tensor)):
            return Pair(a.real * b, a.imag * b)
    if self is other:
        return square(self)
    return bilinear(torch.mul)(self, other)


def square(x: Pair) -> Pair:
    """`x²`, of which every part is mentioned once."""
    return Pair(torch.square(x.real) - torch.square(x.imag), 2 * x.real * x.imag)


def reciprocal(self: Pair) -> Pair:
    """`1 / self`."""
    inverse = torch.reciprocal(square_of_abs(self))
    return Pair(self.real * inverse, -(self.imag * inverse))


def div(self: Any, other: Any) -> Any:
    """`self / other`."""
    if isinstance(other, complex):
        return mul(self, 1 / other)
    if not isinstance(other, Pair):
        return Pair(self.real / other, self.imag / other)
    return mul(self, reciprocal(other))


def power(self: Pair, exponent: Any) -> Any:
    """A whole power by repeated products; NotImplemented for any other."""
    if exponent != int(exponent) or abs(exponent) > 16:
        return NotImplemented
    if exponent < 0:
        return reciprocal(power(self, -exponent))
    if exponent == 0:
        return pair(torch.ones_like(self.real))
    half = power(self, exponent // 2) if exponent > 1 else None
    if half is None:
        return self
    return square(half) if exponent % 2 == 0 else mul(square(half), self)


def addmm(self: Any, mat1: Any, mat2: Any, *, beta: Any = 1, alpha: Any = 1) -> Pair:
    """`beta · self + alpha · mat1 mat2`, of matrices or of batches of them."""
    return add(_scaled(self, beta), _scaled(bilinear(torch.matmul)(mat1, mat2), alpha))


# ---------------------------------------------------------------------- parts, polar form, exponentials


def square_of_abs(x: Pair) -> Tensor:
    """`|x|²`."""
    return torch.square(x.real) + torch.square(x.imag)


def conj(self: Pair) -> Pair:
    """The conjugate."""
    return Pair(self.real, -self.imag)


def polar(abs: Tensor, angle: Tensor) -> Pair:  # noqa: A002 - the operator's own name
    """From an absolute value and an angle."""
    return Pair(abs * torch.cos(angle), abs * torch.sin(angle))


def exp(self: Pair) -> Pair:
    """`e^self`."""
    return polar(torch.exp(self.real), self.imag)


def view_as_real(self: Pair) -> Tensor:
    """Both parts, side by side in a new last dimension."""
    return torch.stack([self.real, self.imag], -1)


def view_as_complex(self: Tensor) -> Pair:
    """From both parts, side by side in the last dimension."""
    return Pair(self.select(-1, 0), self.select(-1, 1))


def converted(self: Any, *, dtype: torch.dtype | None = None, **_: Any) -> Any:
    """A conversion: of a real tensor to a complex type, or the real part of a complex one."""
    if dtype is None:
        return pair(self)
    if dtype.is_complex:
        given = pair(self)
        return Pair(given.real.to(dtype.to_real()), given.imag.to(dtype.to_real()))
    return self.real.to(dtype)


def where(condition: Tensor, self: Any, other: Any) -> Pair:
    """A choice."""
    a, b = pair(self), pair(other)
    return Pair(torch.where(condition, a.real, b.real), torch.where(condition, a.imag, b.imag))


def _same(self: Pair, *_: Any, **__: Any) -> Pair:
    return self


#: Operators that do the same to each part.
_BY_PARTS = (
    aten.view.default, aten._unsafe_view.default, aten.reshape.default, aten.permute.default, aten.transpose.int, aten.t.default,
    aten.expand.default, aten.slice.Tensor, aten.select.int, aten.squeeze.default, aten.squeeze.dim, aten.squeeze.dims,
    aten.unsqueeze.default, aten.cat.default, aten.stack.default, aten.index_select.default, aten.index.Tensor, aten.gather.default,
    aten.flip.default, aten.roll.default, aten.repeat.default, aten.constant_pad_nd.default, aten.sum.default,
    aten.sum.dim_IntList, aten.mean.default, aten.mean.dim, aten.cumsum.default, aten.neg.default, aten.unbind.int,
    aten.split.Tensor, aten.split_with_sizes.default, aten.diagonal.default, aten.select_scatter.default,
    aten.slice_scatter.default, aten.index_put.default, aten.tril.default, aten.triu.default, aten.unfold.default,
    aten.zeros_like.default, aten.copy.default, aten.scatter_add.default, aten.index_add.default,
)  # fmt: skip

#: By operator.
ARITHMETIC: Mapping[Any, Function] = {
    **{op: by_parts(op) for op in _BY_PARTS},
    **dict.fromkeys(
        (aten.clone.default, aten.alias.default, aten.detach.default, aten.resolve_conj.default, aten.lift_fresh_copy.default),
        _same,
    ),
    aten.complex.default: Pair,
    aten.polar.default: polar,
    aten.view_as_real.default: view_as_real,
    aten.view_as_complex.default: view_as_complex,
    aten._to_copy.default: converted,
    aten._conj.default: conj,
    aten._conj_physical.default: conj,
    aten.conj_physical.default: conj,
    aten.add.Tensor: add,
    aten.sub.Tensor: sub,
    aten.add.Scalar: add,
    aten.sub.Scalar: sub,
    aten.mul.Tensor: mul,
    aten.mul.Scalar: mul,
    aten.div.Tensor: div,
    aten.div.Scalar: div,
    aten.reciprocal.default: reciprocal,
    aten.square.default: square,
    aten.pow.Tensor_Scalar: power,
    **{op: bilinear(torch.matmul) for op in (aten.matmul.default, aten.mm.default, aten.bmm.default, aten.mv.default)},
    aten.addmm.default: addmm,
    aten.baddbmm.default: addmm,
    aten.abs.default: lambda self: torch.hypot(self.real, self.imag),
    aten.angle.default: lambda self: torch.atan2(self.imag, self.real),
    aten.exp.default: exp,
    aten.where.self: where,
}  # fmt: skip
