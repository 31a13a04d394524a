"""The bilinear family: products of two arguments, either or both of them perturbed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from lirpa_core.graph import Shape
from lirpa_core.linear.infinite import plus, separated
from lirpa_core.linear.interval import Interval
from lirpa_core.linear.operators import Diagonal, LinearOp, align
from lirpa_core.linear.relaxation import Affine, Relaxation
from lirpa_core.rules.call import Call, Const
from lirpa_core.rules.linear import Broadcast, Linear, StructuralOp, refuse_because, refuse_slots_outside
from lirpa_core.rules.transposition import linear_part, transpose


class BilinearNative(Protocol):
    """Hand-written code for a product with one factor fixed, where `vmap` is too slow.

    Each method may return None: "not this case", and the generic code runs instead.
    """

    def apply(self, call: Call, slot: int, weight: Const, x: Tensor, lead: int) -> Tensor | None:
        """`[*L, B, *S_in]` to `[*L, B, *S]` with the other factor fixed at `weight`."""

    def transpose(self, call: Call, slot: int, weight: Const, A: Tensor) -> Tensor | None:
        """`[R, B, *S]` to `[R, B, *S_in]`."""

    def interval(self, call: Call, x: Interval, y: Interval) -> Interval | None:
        """The product of two boxes, without the additive arguments."""


@runtime_checkable
class MidpointRadiusNative(Protocol):
    """Native code that has a faster way to the operator and its absolute values than one after the other."""

    def midpoint_radius(
        self, call: Call, slot: int, weight: Const, center: Tensor, radius: Tensor
    ) -> tuple[Tensor, Tensor] | None:
        """`W·center` and `|W|·radius`, from `[B, *S_in]` to `[B, *S]`; None where there is no faster way."""


@dataclass(frozen=True)
class Bilinear:
    """Rule of `f(left, right) + additive`, with `f` bilinear and of non-negative structure constants.

    Non-negative structure constants means: `f(x, y) = Σ c·xᵢyⱼ` with every `c ≥ 0`, as in products,
    matrix products and convolutions. With one factor fixed the operator is linear; with both
    perturbed it is bounded by McCormick's planes (McCormick 1976, Math. Programming 10), each a sum
    of two linear operators.

    Attributes:
        left: Name of the first factor's argument.
        right: Name of the second factor's argument.
        additive: Names of arguments that are added to the product.
        native: Hand-written code for speed.
        refuse: Says why a call cannot be bounded, or None; for options that the rule does not cover.
        trailing: Whether the additive arguments broadcast to the output with their dimensions aligned at
            the end, as in ordinary addition; or how many dimensions of the output lie behind theirs, as
            those of space behind a channel. Without it, they are evaluated through the operator.
        fixed: `(call, slot, weight) -> LinearOp`: the operator in `slot` with the other factor fixed
            at `weight`, where a more telling operator than `WeightedOp` exists (a `Diagonal`, say).
    """

    left: str
    right: str
    additive: tuple[str, ...] = ()
    native: BilinearNative | None = None
    fixed: Callable[[Call, int, Const], LinearOp] | None = None
    trailing: bool | Callable[[Call], int] = False
    refuse: Callable[[Call], str | None] | None = None

    family = "bilinear"
    modes = ("interval", "backward", "forward")

    def check(self, call: Call) -> None:
        """See `Rule.check`."""
        refuse_slots_outside(call, (self.left, self.right, *self.additive))
        refuse_because(call, self.refuse)

    def is_affine(self, call: Call) -> bool:
        """See `Rule.is_affine`."""
        return call.slot(self.left) is None or call.slot(self.right) is None

    def needs_interval(self, call: Call) -> tuple[bool, ...]:
        """See `Rule.needs_interval`."""
        if self.is_affine(call):
            return (False,) * len(call.shapes)
        factors = (call.slot(self.left), call.slot(self.right))
        return tuple(i in factors for i in range(len(call.shapes)))

    def unstable_inputs(self, call: Call, inputs: tuple[Interval | None, ...]) -> tuple[Tensor | None, ...]:
        """See `Rule.unstable_inputs`: a factor that is a single point cannot be tightened."""
        needed = self.needs_interval(call)
        return tuple(
            x.upper > x.lower if x is not None and need else None
            for x, need in zip(inputs, needed, strict=True)
        )

    def interval(self, call: Call, inputs: tuple[Interval, ...]) -> Interval:
        """See `Rule.interval`."""
        if self.is_affine(call):
            affine = self.relax(call, inputs).lower
            bias = plus(affine.bias, affine.infinite)
            if len(inputs) == 1 and isinstance(affine.terms[0], WeightedOp):
                return affine.terms[0].interval(inputs[0], bias)
            if (
                len(inputs) == 1
                and isinstance(affine.terms[0], Diagonal)
                and inputs[0].known_midpoint_radius is not None
            ):
                middle, spread = inputs[0].known_midpoint_radius
                center, radius = affine.terms[0].apply(middle), affine.terms[0].apply_abs(spread)
                return Interval.from_midpoint_radius(center if bias is None else center + bias, radius)
            lower = upper = bias
            for term, x in zip(affine.terms, inputs, strict=True):
                if term is None:
                    continue
                low, up = term.apply_split(x.lower, x.upper)
                lower, upper = (low, up) if lower is None or upper is None else (lower + low, upper + up)
            assert lower is not None and upper is not None
            return Interval(lower, upper)
        i, j = self._factor_slots(call)
        product = self.product(call, inputs[i], inputs[j])
        rest = self._additive(call, inputs)
        return product if rest is None else Interval(product.lower + rest.lower, product.upper + rest.upper)

    def product(self, call: Call, x: Interval, y: Interval) -> Interval:
        """Bounds of `f` alone over two boxes: exact where native, else centre and radius."""
        if self.native is not None:
            exact = self.native.interval(call, x, y)
            if exact is not None:
                return exact
        i, _ = self._factor_slots(call)
        f = self._fixed(call, i)
        center = f(y.midpoint).apply(x.midpoint)
        radius = (
            f(y.radius).apply(x.midpoint.abs())
            + f(y.midpoint.abs()).apply(x.radius)
            + f(y.radius).apply(x.radius)
        )
        return Interval(center - radius, center + radius)

    def relax(self, call: Call, inputs: tuple[Interval | None, ...]) -> Relaxation:
        """See `Rule.relax`."""
        terms: list[LinearOp | None] = [None] * len(call.shapes)
        for i in self._additive_slots(call):
            terms[i] = StructuralOp(call, i, self._joint(call))
        bias = self._bias(call)
        if self.is_affine(call):
            for slot, other in ((call.slot(self.left), self.right), (call.slot(self.right), self.left)):
                if slot is not None:
                    terms[slot] = self._with_weight(call, slot, _constant(call[other], call))
            return Relaxation.exactly(Affine(tuple(terms), *separated(bias, call.infinite)))
        i, j = self._factor_slots(call)
        x, y = inputs[i], inputs[j]
        assert x is not None and y is not None
        of_x = self._fixed(call, i)(y.midpoint)
        # The mean of McCormick's two planes on each side: the same slopes below and above, the
        # smallest worst-case gap, and one pass over the coefficients instead of two.
        terms[i], terms[j] = of_x, self._fixed(call, j)(x.midpoint)
        center, radius = of_x.apply(x.midpoint), self._fixed(call, i)(y.radius).apply(x.radius)
        base = -center if bias is None else bias - center
        shared = tuple(terms)
        return Relaxation(Affine(shared, base - radius), Affine(shared, base + radius))

    def _factor_slots(self, call: Call) -> tuple[int, int]:
        i, j = call.slot(self.left), call.slot(self.right)
        assert i is not None and j is not None
        return i, j

    def _fixed(self, call: Call, slot: int) -> Callable[[Tensor], LinearOp]:
        """`value [B, *S_other] -> LinearOp` in `slot` with the other factor fixed there."""

        def fix(value: Tensor) -> LinearOp:
            shared = value.shape[0] == 1
            return self._with_weight(call, slot, Const(value[0] if shared else value, not shared))

        return fix

    def _with_weight(self, call: Call, slot: int, weight: Const) -> LinearOp:
        if self.fixed is not None:
            return self.fixed(call, slot, weight)
        return WeightedOp(call, slot, weight, self)

    def _joint(self, call: Call) -> Linear:
        names = (self.left, self.right, *self.additive)
        return Linear(names, native=Broadcast()) if self.trailing is True else Linear(names)

    def _additive_slots(self, call: Call) -> list[int]:
        slots = (call.slot(name) for name in self.additive)
        return [i for i in slots if i is not None]

    def _additive(self, call: Call, inputs: tuple[Interval, ...]) -> Interval | None:
        bias = self._bias(call)
        lower = upper = bias
        for i in self._additive_slots(call):
            low, up = StructuralOp(call, i, self._joint(call)).apply_split(inputs[i].lower, inputs[i].upper)
            lower, upper = (low, up) if lower is None or upper is None else (lower + low, upper + up)
        return None if lower is None or upper is None else Interval(lower, upper)

    def _bias(self, call: Call) -> Tensor | None:
        """What no slot enters, broadcast to the output: `[1 or B, *S]`."""
        if call.slot(self.left) is None and call.slot(self.right) is None:
            return call.evaluate(call.zeros())  # the product itself is constant
        addends = [call[name] for name in self.additive if isinstance(call[name], Const)]
        if not addends:
            return None
        if not self.trailing:
            return zero_factors(call, self.left, self.right).evaluate(call.zeros())
        rank, behind = len(call.shape), self.trailing(call) if callable(self.trailing) else 0
        values = [c.value if c.batched else c.value[None] for c in addends]
        values = [align(v.reshape(*v.shape, *[1] * behind), 1, rank) for v in values]
        total: Tensor = values[0]
        for value in values[1:]:
            total = total + value
        return total.expand(total.shape[0], *call.shape)


@dataclass(frozen=True, eq=False)
class WeightedOp(LinearOp):
    """A bilinear operator with one factor fixed.

    Attributes:
        call: The whole call.
        slot: The free factor.
        weight: The fixed factor, shared `[*S_w]` or per example `[B, *S_w]`.
        rule: The bilinear rule.
    """

    call: Call
    slot: int
    weight: Const
    rule: Bilinear

    @property
    def in_shape(self) -> Shape:
        return self.call.shapes[self.slot]

    @property
    def key(self) -> Any:
        return self.call.node.target

    @property
    def name(self) -> str:
        """Argument name of the free factor."""
        return self.rule.left if self.call.slot(self.rule.left) == self.slot else self.rule.right

    def _part(self, weight: Const) -> Call:
        """The product alone as a call with one slot."""
        other = self.rule.right if self.name == self.rule.left else self.rule.left
        part = linear_part(self.call, self.slot, self.rule.additive)
        return dataclasses.replace(part, arguments={**part.arguments, other: weight})

    def _apply(self, weight: Const, x: Tensor, lead: int) -> Tensor:
        if self.rule.native is not None:
            result = self.rule.native.apply(self.call, self.slot, weight, x, lead)
            if result is not None:
                return result
        return self._part(weight).evaluate([x], lead)

    def apply(self, x: Tensor, lead: int = 1) -> Tensor:
        return self._apply(self.weight, x, lead)

    def apply_abs(self, x: Tensor, lead: int = 1) -> Tensor:
        return self._apply(Const(self.weight.value.abs(), self.weight.batched), x, lead)

    def interval(self, x: Interval, bias: Tensor | None) -> Interval:
        """Bounds of the operator plus a bias, which is added to the centre: once, not at either end."""
        middle, spread = x.midpoint_radius()
        center, radius = self._ball(middle, spread)
        return Interval.from_midpoint_radius(center if bias is None else center + bias, radius)

    def _ball(self, center: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
        native: object = self.rule.native
        if isinstance(native, MidpointRadiusNative):
            result = native.midpoint_radius(self.call, self.slot, self.weight, center, radius)
            if result is not None:
                return result
        return self.apply(center), self.apply_abs(radius)

    def transpose(self, A: Tensor) -> Tensor:
        if self.rule.native is not None:
            result = self.rule.native.transpose(self.call, self.slot, self.weight, A)
            if result is not None:
                return result
        return transpose(self._part(self.weight), A)


def zero_factors(call: Call, *names: str) -> Call:
    """The call with the named constant factors replaced by zero, so that only the rest remains."""
    arguments = dict(call.arguments)
    for name in names:
        value = arguments[name]
        if isinstance(value, Const):
            shape = value.value.shape[1:] if value.batched else value.value.shape
            arguments[name] = Const(value.value.new_zeros(shape))
        elif isinstance(value, (int, float)):
            arguments[name] = 0
    return dataclasses.replace(call, arguments=arguments)


def _constant(value: Any, call: Call) -> Const:
    """A fixed factor as a floating tensor: numbers, masks and integers are turned into one."""
    if not isinstance(value, Const):
        return Const(torch.as_tensor(value, dtype=call.dtype, device=call.device))
    if value.value.is_floating_point():
        return value
    return Const(value.value.to(call.dtype), value.batched)
