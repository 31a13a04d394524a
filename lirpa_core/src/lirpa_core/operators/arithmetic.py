"""Rules of elementwise sums, products and quotients, with broadcasting."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from lirpa_core.linear.coefficients import Coefficients, SelectedRows
from lirpa_core.linear.infinite import separated
from lirpa_core.linear.interval import Interval
from lirpa_core.linear.operators import Diagonal, LinearOp, align, sum_to
from lirpa_core.linear.relaxation import Affine, Relaxation
from lirpa_core.plugins import OperatorRegistry
from lirpa_core.rules.base import Slope
from lirpa_core.rules.bilinear import Bilinear
from lirpa_core.rules.call import Call, Const, Slot
from lirpa_core.rules.linear import Linear, LinearNative, StructuralOp
from lirpa_core.rules.mccormick import Mixture, Product
from lirpa_core.rules.relaxations.products import nearest_to_zero, product_range

aten = torch.ops.aten


def factor(call: Call, name: str) -> float:
    """The number that `add`, `sub` and `rsub` multiply an argument by."""
    alpha = call.arguments.get("alpha", 1)
    op = call.node.target
    if op is aten.neg.default:
        return -1
    if op in (aten.sub.Tensor, aten.sub.Scalar):
        return -alpha if name == "other" else 1
    if op in (aten.rsub.Tensor, aten.rsub.Scalar):
        return -alpha if name == "self" else 1
    return alpha if name == "other" else 1


def _name_of(call: Call, slot: int) -> str:
    return next(n for n, v in call.arguments.items() if isinstance(v, Slot) and v.index == slot)


def factor_of(call: Call, slot: int) -> float:
    """The number that a sum multiplies an operand by."""
    return factor(call, _name_of(call, slot))


def _sign(call: Call, slot: int) -> int:
    return 1 if factor_of(call, slot) >= 0 else -1


@dataclass(frozen=True)
class Add(LinearNative):
    """`self ± alpha · other` and negation."""

    def evaluate(self, call: Call, operands: Sequence[Tensor], lead: int) -> Tensor:
        rank = len(call.shape)
        total: Any = None
        for name in ("self", "other"):
            value = call.arguments.get(name)
            if value is None:
                continue
            if isinstance(value, Slot):
                value = align(operands[value.index], lead, rank)
            elif isinstance(value, Const):
                value = align(value.value, 1, rank) if value.batched else value.value
            by = factor(call, name)
            value = value if by == 1 else value * by
            total = value if total is None else total + value
        assert isinstance(total, Tensor)
        return self._whole(call, total, lead)

    def part(self, call: Call, slot: int, x: Tensor, lead: int) -> Tensor:
        by = factor_of(call, slot)
        x = align(x, lead, len(call.shape))
        return self._whole(call, x if by == 1 else x * by, lead)

    def transpose(self, call: Call, slot: int, A: Tensor) -> Tensor:
        by = factor_of(call, slot)
        A = sum_to(A, call.shapes[slot], lead=2)
        return A if by == 1 else A * by

    def _whole(self, call: Call, x: Tensor, lead: int) -> Tensor:
        """Broadcast a part to the whole output."""
        return x.expand(*x.shape[:lead], *call.shape)


def diagonal(call: Call, slot: int, weight: Const) -> LinearOp:
    """Multiplication by a fixed factor as a diagonal operator."""
    value = weight.value if weight.batched else weight.value.unsqueeze(0)
    slope = align(value, 1, len(call.shape))
    return Diagonal(slope.expand(slope.shape[0], *call.shape), call.shapes[slot])


def range_of_product(call: Call, inputs: tuple[Interval, ...]) -> Interval | None:
    """The exact range of the elementwise product of two boxes."""
    i, j = call.slots.get("self"), call.slots.get("other")
    if i is None or j is None:
        return None
    x, y, rank = inputs[i], inputs[j], len(call.shape)
    first = (align(x.lower, 1, rank), align(x.upper, 1, rank))
    second = (align(y.lower, 1, rank), align(y.upper, 1, rank))
    return Interval(*product_range(first, second))


def add_rows(op: LinearOp, A: SelectedRows) -> Coefficients:
    """Selected rows through a sum: the same elements of the operand, broadcasting undone by look-up."""
    assert isinstance(op, StructuralOp)
    by = factor_of(op.call, op.slot)
    scale = A.values if by == 1 else A.values * by
    if op.in_shape == A.size:
        return SelectedRows(A.index, scale, op.in_shape)
    count = math.prod(op.in_shape)
    positions = torch.arange(count, device=A.index.device).reshape(op.in_shape)
    return SelectedRows(positions.expand(A.size).flatten()[A.index], scale, op.in_shape)


def smallest_slopes(product: Product) -> Relaxation:
    """Of McCormick's planes of an elementwise product, the mixtures with the smallest slopes.

    On either side all mixtures of the two planes are equally high at the midpoint of the box. Taken is the one
    that multiplies `y` by the point of `x`'s interval that is nearest to zero: of all mixtures it has the
    smallest slopes, `|∂x|·rₓ + |∂y|·r_y`, so that it is the tightest where bounds are taken over the box, and
    the smallest slope by `y` of those. In `gate · state` that is the slope which a recurrent network
    multiplies at every step. Mean widths for the mean of both planes, McCormick's first planes, and these:
    LSTM (hidden 32, 5 steps, eps 0.1), CROWN-IBP 0.174, 0.156, 0.156; encoder with layer norm, CROWN 916, 1313,
    308; at eps 0.02 0.1077, 0.1070, 0.1076.
    """
    mixture = _nearest_to_zero(product)
    return _mixed(product, mixture, mixture)


def _aligned(product: Product) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Midpoint and radius of the first factor, and of the second, with as many dimensions as the product."""
    rank, x, y = len(product.call.shape), product.x, product.y
    return tuple([align(k, 1, rank) for k in (x.midpoint, x.radius, y.midpoint, y.radius)])  # type: ignore[return-value]


def _nearest_to_zero(product: Product) -> Tensor:
    """The share for which `x` is at the point of its interval that is nearest to zero."""
    x, rx, _, _ = _aligned(product)
    if product.call.infinite:
        bounded = rx.isfinite()
        x, rx = torch.where(bounded, x, 0), torch.where(bounded, rx, 0)
    return nearest_to_zero(x, rx)


def _mixed(product: Product, below: Tensor, above: Tensor) -> Relaxation:
    """Mixtures of McCormick's planes of an elementwise product, with shares from −1 to 1 on either side."""
    call = product.call
    x, rx, y, ry = _aligned(product)
    hull: Interval | None = None
    unbounded: Tensor | None = None
    if call.infinite:  # planes of an unbounded box have no slopes
        hull = range_of_product(call, tuple([x for x in product.inputs if x is not None]))
        assert hull is not None
        unbounded = ~(rx + ry).isfinite()
        x, rx, y, ry = (torch.where(unbounded, 0, number) for number in (x, rx, y, ry))
    of_right = product.of_right(x - below * rx)

    def side(sign: int, mixture: Tensor, of_right: LinearOp) -> Affine:
        slope = y - sign * mixture * ry
        offset = mixture * (sign * x * ry + rx * y) - x * y - sign * rx * ry
        if unbounded is not None and hull is not None:
            slope = torch.where(unbounded, 0, slope)
            offset = torch.where(unbounded, hull.lower if sign == 1 else hull.upper, offset)
        bias, infinite = separated(offset.expand(offset.shape[0], *call.shape), call.infinite)
        assert bias is not None
        found = product.affine(product.of_left(slope), of_right, bias)
        return found if infinite is None else replace(found, infinite=infinite)

    under = side(1, below, of_right)
    return Relaxation(
        under, side(-1, above, of_right if above is below else product.of_right(x - above * rx))
    )


def shares_of_elements(product: Product) -> tuple[Slope, ...]:
    """The shares of the planes below and above each element that `smallest_slopes` takes; fixed where a box is a point."""
    _, rx, _, ry = _aligned(product)
    shape = product.call.shape
    start = _nearest_to_zero(product)
    start = start.expand(start.shape[0], *shape)
    end = (rx > 0) & (ry > 0)
    least, greatest = torch.where(end, -1, start), torch.where(end, 1, start)
    return (Slope(start.expand_as(least), least, greatest),) * 2


def planes_of_shares(product: Product, shares: Sequence[Tensor]) -> Relaxation:
    """The planes with given shares `[B, *S]`, below and above."""
    return _mixed(product, shares[0].clamp(-1, 1), shares[1].clamp(-1, 1))


# ---------------------------------------------------------------------- by other operators


def divide(self: Tensor, other: Tensor | float) -> Tensor:
    """`self / other` as a product, which is linear where one of the two is constant."""
    if not isinstance(other, Tensor):
        return self * (1 / other if other != 0 else math.copysign(math.inf, other))
    return self * torch.reciprocal(other)


def lerp(self: Tensor, end: Tensor, weight: float) -> Tensor:
    """`self + weight · (end − self)`, each operand once where the weight is constant."""
    return self * (1 - weight) + end * weight


def lerp_tensor(self: Tensor, end: Tensor, weight: Tensor) -> Tensor:
    """`self + weight · (end − self)`: one product, as any of the three may be perturbed."""
    return self + weight * (end - self)


def addcmul(self: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Any = 1) -> Tensor:
    """`self + value · tensor1 · tensor2`."""
    product = tensor1 * tensor2
    return self + (product if value == 1 else product * value)


def addcdiv(self: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Any = 1) -> Tensor:
    """`self + value · tensor1 / tensor2`."""
    quotient = tensor1 * torch.reciprocal(tensor2)
    return self + (quotient if value == 1 else quotient * value)


def hypot(self: Tensor, other: Tensor) -> Tensor:
    """`√(self² + other²)`."""
    return torch.sqrt(torch.square(self) + torch.square(other))


ADD = Linear(("self", "other"), sign=_sign, native=Add())
NEG = Linear(("self",), sign=_sign, native=Add(), selects=True)
MUL = Bilinear(
    "self", "other", fixed=diagonal, ranges=range_of_product, planes=smallest_slopes,
    mixture=Mixture(shares_of_elements, planes_of_shares), of_elements=True,
)  # fmt: skip


def register(registry: OperatorRegistry) -> None:
    """Register this file's rules, kernels and decompositions."""
    for op in (
        aten.add.Tensor, aten.add.Scalar, aten.sub.Tensor, aten.sub.Scalar, aten.rsub.Tensor, aten.rsub.Scalar
    ):  # fmt: skip
        registry.register(op, ADD)
        registry.kernel(op, SelectedRows, add_rows)
    registry.register(aten.neg.default, NEG)
    registry.kernel(aten.neg.default, SelectedRows, add_rows)
    registry.register(aten.mul.Tensor, MUL)
    registry.register(aten.mul.Scalar, MUL)
    for op, function in (
        (aten.div.Tensor, divide),
        (aten.div.Scalar, divide),
        (aten.true_divide.Tensor, divide),
        (aten.true_divide.Scalar, divide),
        (aten.lerp.Scalar, lerp),
        (aten.lerp.Tensor, lerp_tensor),
        (aten.addcmul.default, addcmul),
        (aten.addcdiv.default, addcdiv),
        (aten.hypot.default, hypot),
    ):
        registry.decompose(op, function)
