"""The bilinear family: products of two arguments, either or both of them perturbed."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lirpa_core.linear.infinite import plus, separated
from lirpa_core.linear.interval import Interval
from lirpa_core.linear.operators import LinearOp, align
from lirpa_core.linear.relaxation import Affine, Relaxation
from lirpa_core.linear.rounding import Accuracy
from lirpa_core.rules.base import Rule, Slope
from lirpa_core.rules.call import Call, Const
from lirpa_core.rules.linear import Broadcast, Linear, StructuralOp, refuse_because, refuse_slots_outside
from lirpa_core.rules.mccormick import MIXTURE, Mixture, Product, mean_planes
from lirpa_core.rules.transposition import CallOp, linear_part


@dataclass(frozen=True)
class Bilinear(Rule):
    """Rule of `f(left, right) + additive`, with `f` bilinear and of non-negative structure constants.

    Non-negative structure constants means: `f(x, y) = Σ c·xᵢyⱼ` with every `c ≥ 0`, as in products,
    matrix products and convolutions. With one factor fixed the operator is linear; with both
    perturbed it is bounded by planes, each a sum of two linear operators.

    Attributes:
        left: Name of the first factor's argument.
        right: Name of the second factor's argument.
        additive: Names of arguments that are added to the product.
        fixed: `(call, slot, weight) -> LinearOp | None`: the operator in `slot` with the other factor fixed at
            `weight`, by hand-written code; None for a case that it does not cover. Default: `vmap` of the
            operator and its VJP.
        ranges: `(call, inputs) -> Interval | None`: bounds of the product alone, without the additive arguments,
            where there are better ones than those from midpoints and radii; None for a case that it does not
            cover.
        planes: Chooses the planes of a product of two perturbed factors, without the additive arguments; or says
            None, for `mean_planes`.
        mixture: The planes that an optimizer may choose from; default: `MIXTURE` where `planes` is not stated, and none
            where it is.
        trailing: Whether the additive arguments broadcast to the output with their dimensions aligned at
            the end, as in ordinary addition; or how many dimensions of the output lie behind theirs, as
            those of space behind a channel. Without it, they are evaluated through the operator.
        context: Names of further arguments that may be perturbed: the product does not depend on them, but
            `ranges` and `planes` may learn from their boxes.
        of_elements: Whether an output is the product of two elements, and `ranges` the range from their ends.
        reads_context: Of these, the names of those whose boxes `planes` reads; default: none.
        refuse: Says why a call cannot be bounded, or None; for options that the rule does not cover.
        roundings: Of one number that `ranges` or `planes` compute of two perturbed factors; default: of one product for each element
            of the smaller factor.
    """

    left: str
    right: str
    additive: tuple[str, ...] = ()
    fixed: Callable[[Call, int, Const], LinearOp | None] | None = None
    ranges: Callable[[Call, tuple[Interval, ...]], Interval | None] | None = None
    planes: Callable[[Product], Relaxation | None] | None = None
    mixture: Mixture | None = None
    trailing: bool | Callable[[Call], int] = False
    context: tuple[str, ...] = ()
    of_elements: bool = False
    reads_context: Callable[[Call], tuple[str, ...]] | None = None
    refuse: Callable[[Call], str | None] | None = None
    roundings: Callable[[Call], int] | None = None

    family = "bilinear"
    continuous = True

    def check(self, call: Call) -> None:
        """See `Rule.check`."""
        refuse_slots_outside(call, (self.left, self.right, *self.additive, *self.context))
        refuse_because(call, self.refuse)

    def is_affine(self, call: Call) -> bool:
        """See `Rule.is_affine`."""
        return self.left not in call.slots or self.right not in call.slots

    def needs_interval(self, call: Call) -> tuple[bool, ...]:
        """See `Rule.needs_interval`."""
        if self.left not in call.slots or self.right not in call.slots:
            return (False,) * len(call.shapes)
        names = (self.left, self.right, *(self.reads_context(call) if self.reads_context is not None else ()))
        read = {call.slots[name] for name in names if name in call.slots}
        return tuple(i in read for i in range(len(call.shapes)))

    def unstable_inputs(self, call: Call, inputs: tuple[Interval | None, ...]) -> tuple[Tensor | None, ...]:
        """See `Rule.unstable_inputs`: a factor that is a single point cannot be tightened.

        What only this rule reads of the context is not worth rows of its own.
        """
        if self.is_affine(call):
            return (None,) * len(call.shapes)
        factors = (call.slots[self.left], call.slots[self.right])
        return tuple(
            x.upper > x.lower if x is not None and i in factors else None for i, x in enumerate(inputs)
        )

    def accuracy(self, call: Call) -> Accuracy:
        """See `Rule.accuracy`."""
        if not self.is_affine(call):
            if self.of_elements:
                return Accuracy(4, "ends", multiplies=True)
            if self.roundings is not None:
                return Accuracy(self.roundings(call))
            return Accuracy(
                16 + min([math.prod(call.shapes[call.slots[x]]) for x in (self.left, self.right)])
            )
        operators = [op for op in self._affine(call).terms if op is not None]
        terms = sum([op.fan_in for op in operators]) + len(operators) + 1
        return Accuracy(terms, "ends" if all([op.splits_ends for op in operators]) else "box")

    def interval(self, call: Call, inputs: tuple[Interval, ...]) -> Interval:
        """See `Rule.interval`."""
        found = None if self.ranges is None else self.ranges(call, inputs)
        if found is None:
            if self.left not in call.slots or self.right not in call.slots:
                return _affine_interval(self._affine(call), inputs)
            found = self._box_product(call, inputs)
        rest = self._additive(call, inputs)
        return found if rest is None else Interval(found.lower + rest.lower, found.upper + rest.upper)

    def around(
        self, call: Call, inputs: tuple[Interval, ...], slot: int, center: Tensor
    ) -> tuple[Interval, LinearOp] | None:
        """See `Rule.around`: `f(x, z)` differs from `f(x, center)` by at most `f(|x|, |z − center|)`."""
        if self.is_affine(call) or self.of_elements or call.infinite:
            return None
        factors = (call.slots[self.left], call.slots[self.right])
        if slot not in factors:
            return None
        other = factors[0] if slot == factors[1] else factors[1]
        product, box = self._product(call, inputs), inputs[other]
        fixed, rest = product.operator(other, center).interval(box), self._additive(call, inputs)
        if rest is not None:
            fixed = Interval(fixed.lower + rest.lower, fixed.upper + rest.upper)
        return fixed, product.operator(slot, box.lower.abs().maximum(box.upper.abs()))

    def relax(self, call: Call, inputs: tuple[Interval | None, ...]) -> Relaxation:
        """See `Rule.relax`."""
        if self.left not in call.slots or self.right not in call.slots:
            return Relaxation.exactly(self._affine(call))
        product = self._product(call, inputs)
        found = None if self.planes is None else self.planes(product)
        return self._with_additive(call, mean_planes(product) if found is None else found)

    def slopes(self, call: Call, inputs: tuple[Interval | None, ...]) -> tuple[Slope, ...]:
        """See `Rule.slopes`: shares of a mixture of planes; none of planes of what may be unbounded."""
        mixture = self._mixture
        if mixture is None or self.is_affine(call) or call.infinite:
            return ()
        return mixture.slopes(self._product(call, inputs))

    def relax_with(
        self, call: Call, inputs: tuple[Interval | None, ...], slopes: Sequence[Tensor]
    ) -> Relaxation:
        """See `Rule.relax_with`."""
        mixture = self._mixture
        if mixture is None or len(slopes) == 0:
            return super().relax_with(call, inputs, slopes)
        return self._with_additive(call, mixture.planes(self._product(call, inputs), slopes))

    @property
    def _mixture(self) -> Mixture | None:
        return MIXTURE if self.mixture is None and self.planes is None else self.mixture

    def _with_additive(self, call: Call, found: Relaxation) -> Relaxation:
        """Planes of the product, with the additive arguments."""
        if not self.additive:
            return found
        terms, bias = self._additive_terms(call), self._bias(call)
        more = Affine(tuple(terms), *separated(bias, call.infinite))
        lower, upper = _plus(found.lower, more), _plus(found.upper, more)
        if found.upper.terms is found.lower.terms:  # the same slopes on both sides
            return Relaxation(lower, Affine(lower.terms, upper.bias, upper.infinite))
        return Relaxation(lower, upper)

    def _affine(self, call: Call) -> Affine:
        """The operator where at most one factor is perturbed."""
        slots = call.slots
        terms: list[LinearOp | None] = [None] * len(call.shapes)
        if self.left in slots:
            slot, weight = slots[self.left], call.arguments[self.right]
        elif self.right in slots:
            slot, weight = slots[self.right], call.arguments[self.left]
        else:
            return Affine(tuple(self._additive_terms(call)), *separated(self._bias(call), call.infinite))
        if len(terms) > 1:
            terms = self._additive_terms(call)
        if type(weight) is not Const or not weight.value.is_floating_point():
            weight = _constant(weight, call)
        op = None if self.fixed is None else self.fixed(call, slot, weight)
        terms[slot] = self._generic(call, slot, weight) if op is None else op
        bias = self._bias(call)
        return Affine(tuple(terms), *separated(bias, True)) if call.infinite else Affine(tuple(terms), bias)

    def _product(self, call: Call, inputs: tuple[Interval | None, ...]) -> Product:
        i, j = call.slots[self.left], call.slots[self.right]
        x, y = inputs[i], inputs[j]
        assert x is not None and y is not None

        def operator(slot: int, value: Tensor) -> LinearOp:
            shared = value.shape[0] == 1
            return self._operator(call, slot, Const(value[0] if shared else value, not shared))

        return Product(call, inputs, i, j, x, y, operator)

    def _box_product(self, call: Call, inputs: tuple[Interval, ...]) -> Interval:
        """Bounds of `f` alone over two boxes, from midpoints and radii."""
        product = self._product(call, inputs)
        x, y, f = product.x, product.y, product.of_left
        center = f(y.midpoint).apply(x.midpoint)
        radius = (
            f(y.radius).apply(x.midpoint.abs())
            + f(y.midpoint.abs()).apply(x.radius)
            + f(y.radius).apply(x.radius)
        )
        return Interval(center - radius, center + radius)

    def _operator(self, call: Call, slot: int, weight: Const) -> LinearOp:
        """The operator in `slot`, with the other factor fixed at `weight`."""
        if self.fixed is not None:
            op = self.fixed(call, slot, weight)
            if op is not None:
                return op
        return self._generic(call, slot, weight)

    def _generic(self, call: Call, slot: int, weight: Const) -> LinearOp:
        other = self.right if call.slots.get(self.left) == slot else self.left
        part = linear_part(call, slot, self.additive)
        absolute = Const(weight.value.abs(), weight.batched)
        return CallOp(
            dataclasses.replace(part, arguments={**part.arguments, other: weight}),
            dataclasses.replace(part, arguments={**part.arguments, other: absolute}),
        )

    def _additive_terms(self, call: Call) -> list[LinearOp | None]:
        terms: list[LinearOp | None] = [None] * len(call.shapes)
        for name in self.additive:
            if name in call.slots:
                slot = call.slots[name]
                terms[slot] = StructuralOp(call, slot, self._joint())
        return terms

    def _joint(self) -> Linear:
        names = (self.left, self.right, *self.additive)
        return Linear(names, native=Broadcast()) if self.trailing is True else Linear(names)

    def _additive(self, call: Call, inputs: tuple[Interval, ...]) -> Interval | None:
        if not self.additive:
            return None
        lower = upper = self._bias(call)
        for op, x in zip(self._additive_terms(call), inputs, strict=True):
            if op is not None:
                low, up = op.apply_split(x.lower, x.upper)
                lower, upper = (low, up) if lower is None or upper is None else (lower + low, upper + up)
        return None if lower is None or upper is None else Interval(lower, upper)

    def _bias(self, call: Call) -> Tensor | None:
        """What no slot enters, broadcast to the output: `[1 or B, *S]`."""
        if self.left not in call.slots and self.right not in call.slots:
            return call.evaluate(call.zeros())  # the product itself is constant
        addends: list[Const] = []
        for name in self.additive:
            value = call.arguments[name]
            if type(value) is Const:
                addends.append(value)
        if not addends:
            return None
        if self.trailing is True and len(addends) == 1 and not addends[0].batched:
            return addends[0].value.expand(1, *call.shape)
        if not self.trailing:
            return zero_factors(call, self.left, self.right).evaluate(call.zeros())
        rank, behind = len(call.shape), self.trailing(call) if callable(self.trailing) else 0
        values = [c.value if c.batched else c.value[None] for c in addends]
        if behind:
            values = [v.reshape(*v.shape, *[1] * behind) for v in values]
        total = align(values[0], 1, rank)
        for other in values[1:]:
            total = total + align(other, 1, rank)
        return total.expand(total.shape[0], *call.shape)


def _affine_interval(affine: Affine, inputs: tuple[Interval, ...]) -> Interval:
    first = affine.terms[0]
    bias = affine.bias if affine.infinite is None else plus(affine.bias, affine.infinite)
    if len(inputs) == 1 and first is not None:
        return first.interval(inputs[0], bias)
    lower = upper = bias
    for term, x in zip(affine.terms, inputs, strict=True):
        if term is not None:
            low, up = term.apply_split(x.lower, x.upper)
            lower, upper = (low, up) if lower is None or upper is None else (lower + low, upper + up)
    assert lower is not None and upper is not None
    return Interval(lower, upper)


def _plus(affine: Affine, more: Affine) -> Affine:
    """The sum of two affine functions in different slots."""
    terms = tuple([mine or other for mine, other in zip(affine.terms, more.terms, strict=True)])
    return Affine(terms, plus(affine.bias, more.bias), plus(affine.infinite, more.infinite))


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
    if type(value) is not Const:
        return Const(torch.as_tensor(value, dtype=call.dtype, device=call.device))
    if value.value.is_floating_point():
        return value
    return Const(value.value.to(call.dtype), value.batched)
