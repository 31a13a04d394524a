"""One rule, one call, one box: bounds, points of the box, and the operator's values there."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NoReturn

import torch
from torch import Tensor

from lirpa_core.linear import Affine, Interval, Relaxation
from lirpa_core.rules import Call, Rule, is_narrower
from lirpa_testing.report import RuleViolation
from lirpa_testing.rules.attack import Points, attack, clamp
from lirpa_testing.rules.calls import describe, map_call, show_box
from lirpa_testing.tolerance import allowance

#: Up to so many dimensions an example, every corner of the box is visited.
ALL_CORNERS = 10
_RANDOM_CORNERS = 64
_RANDOM_POINTS = 32


@dataclass(frozen=True, eq=False)
class Case:
    """Everything that the checks share about one box; computed once, when first asked for.

    Attributes:
        rule: The rule.
        call: The call, for a batch of `B`.
        inputs: Interval of each operand, `[B, *S_i]`.
        subject: Operator and rule, for messages.
        seed: Seed of all random points.
        steps: Steps of gradient ascent.
        oracle: The function of a unary operator, for proofs, where the table of oracles does not know it.
        counts: What the checks count, by name.
    """

    rule: Rule
    call: Call
    inputs: tuple[Interval, ...]
    subject: str
    seed: int = 0
    steps: int = 6
    oracle: Any = None
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def batch(self) -> int:
        """Number of examples `B`."""
        return self.call.batch

    @property
    def has_interval(self) -> bool:
        """Whether the rule supports interval propagation."""
        return "interval" in self.rule.modes

    @property
    def has_lines(self) -> bool:
        """Whether the rule supports a mode that reads its relaxation."""
        return "backward" in self.rule.modes or "forward" in self.rule.modes

    def generator(self, salt: int) -> torch.Generator:
        """A fresh random generator, the same in every run."""
        return torch.Generator().manual_seed(self.seed * 1000 + salt)

    def with_inputs(self, inputs: Sequence[Interval], call: Call | None = None) -> Case:
        """The same rule on another box."""
        return dataclasses.replace(self, inputs=tuple(inputs), call=call or self.call)

    def only(self, which: Tensor) -> Case:
        """The examples `which`, a mask `[B]` or indices, as a batch of their own."""
        inputs = [Interval(x.lower[which], x.upper[which]) for x in self.inputs]
        batch = inputs[0].lower.shape[0]
        return self.with_inputs(inputs, map_call(self.call, lambda t: t[which], batch=batch))

    def is_mask(self, slot: int) -> bool:
        """Whether an operand is boolean: its box is of zeros and ones, and so are the points in it."""
        return bool(self.call.dtypes) and self.call.dtypes[slot] == torch.bool

    def is_whole(self, slot: int) -> bool:
        """Whether an operand is of whole numbers, as its box and the points in it then are."""
        dtype = self.call.dtypes[slot] if self.call.dtypes else torch.float64
        return not dtype.is_floating_point and not dtype.is_complex

    def snap(self, slot: int, box: Interval) -> Interval:
        """A box of an operand: of zeros and ones for a mask, of whole numbers for positions, else as it is."""
        if self.is_mask(slot):
            return Interval((box.lower > 0).to(box.lower), (box.upper > 0).to(box.lower))
        return Interval(box.lower.round(), box.upper.round()) if self.is_whole(slot) else box

    def snap_point(self, slot: int, point: Tensor) -> Tensor:
        """A point of an operand: of zeros and ones for a mask, of whole numbers for positions, else as it is."""
        return point.round() if self.is_whole(slot) else point

    def snapped(self) -> Case:
        """The same with boxes of masks."""
        return self.with_inputs([self.snap(i, x) for i, x in enumerate(self.inputs)])

    @cached_property
    def interval(self) -> Interval:
        """What the rule says in interval mode."""
        return self.rule.interval(self.call, self.inputs)

    @cached_property
    def needed(self) -> tuple[Interval | None, ...]:
        """The inputs that `relax` reads, None for the others."""
        needs = self.rule.needs_interval(self.call)
        return tuple(x if need else None for x, need in zip(self.inputs, needs, strict=True))

    @cached_property
    def relaxation(self) -> Relaxation:
        """The rule's affine bounds."""
        return self.rule.relax(self.call, self.needed)

    def with_relaxation(self, relaxation: Relaxation, *, attacked: bool = True) -> Case:
        """The same box with another relaxation, and the same points and values: those that an attack found, or the first."""
        other = dataclasses.replace(self)
        points, outputs = (self.points, self.outputs) if attacked else (self.start_points, self.start_outputs)
        kept = {"relaxation": relaxation, "points": points, "outputs": outputs}
        for name, value in kept.items():
            other.__dict__[name] = value  # where cached properties keep theirs
        return other

    def lines(self, points: Points) -> tuple[Tensor, Tensor]:
        """Lower and upper affine function at points `[n, B, *S_i]`: two of `[n, B, *S]`."""
        shape = (points[0].shape[0], self.batch, *self.call.shape)
        lower, upper = self.relaxation.lower, self.relaxation.upper
        low = evaluate_affine(lower, points, lead=2).expand(shape)
        return low, low if upper is lower else evaluate_affine(upper, points, lead=2).expand(shape)

    @cached_property
    def corners_complete(self) -> bool:
        """Whether `start_points` begins with every corner of the box."""
        return sum(x.lower[0].numel() for x in self.inputs) <= ALL_CORNERS

    @cached_property
    def corners(self) -> Points:
        """Corners of the box `[n, B, *S_i]`: all of them if there are few, else random ones."""
        sizes = [x.lower[0].numel() for x in self.inputs]
        if self.corners_complete:
            table = list(itertools.product([False, True], repeat=sum(sizes)))
            bits = torch.tensor(table).reshape(len(table), 1, sum(sizes))
        else:
            bits = torch.rand(_RANDOM_CORNERS, self.batch, sum(sizes), generator=self.generator(1)) < 0.5
            bits[0], bits[1] = False, True
        parts = bits.split(sizes, dim=-1)
        return tuple(
            torch.where(b.reshape(b.shape[0], b.shape[1], *x.lower.shape[1:]), x.upper, x.lower)
            for b, x in zip(parts, self.inputs, strict=True)
        )

    @cached_property
    def start_points(self) -> Points:
        """Corners, centre, and random points, `[n, B, *S_i]`."""
        generator = self.generator(2)
        result = []
        for slot, (corners, x) in enumerate(zip(self.corners, self.inputs, strict=True)):
            t = torch.rand(_RANDOM_POINTS, *x.lower.shape, dtype=x.lower.dtype, generator=generator)
            t = torch.where(torch.arange(_RANDOM_POINTS).reshape(-1, *[1] * x.lower.dim()) % 2 == 0, t, t**8)
            t[0] = 0.5
            inner = self.snap_point(slot, clamp(x.lower * (1 - t) + x.upper * t, x))
            result.append(torch.cat([corners, inner]))
        return tuple(result)

    @cached_property
    def points(self) -> Points:
        """All points looked at: the start points, and those that gradient ascent finds from them."""
        attacked = attack(self)
        return tuple(torch.cat([s, a]) for s, a in zip(self.start_points, attacked, strict=True))

    @cached_property
    def outputs(self) -> Tensor:
        """The operator at `points`, `[n, B, *S]`."""
        with torch.no_grad():
            return self.evaluate(self.points)

    @cached_property
    def start_outputs(self) -> Tensor:
        """The operator at `start_points`, `[n, B, *S]`."""
        with torch.no_grad():
            return self.evaluate(self.start_points)

    def evaluate(self, points: Points) -> Tensor:
        """The operator at points `[n, B, *S_i]`: `[n, B, *S]`, in the type that bounds of it are kept in."""
        points = tuple(
            x > 0.5 if self.is_mask(i) else x.round().to(self.call.dtypes[i]) if self.is_whole(i) else x
            for i, x in enumerate(points)
        )
        y = self.call.evaluate(points, lead=2)
        kept = self.inputs[0].lower.dtype
        return y.to(kept) if not y.is_floating_point() or is_narrower(y.dtype, kept) else y

    @cached_property
    def terms(self) -> int:
        """How many numbers an output may be the sum of."""
        return sum(x.lower[0].numel() for x in self.inputs) + 1

    @cached_property
    def scale(self) -> Tensor:
        """Magnitude of the numbers behind each output, `[B, *S]`; the unit of all allowances."""
        largest = [x.lower.abs().maximum(x.upper.abs()) for x in self.inputs]
        ones = [1] * len(self.call.shape)
        scale = self.start_outputs.abs().amax(0)
        for x in (x for x in largest if x.numel()):
            scale = scale + x.reshape(x.shape[0], -1).amax(1).reshape(-1, *ones)
        if self.has_lines:
            with torch.no_grad():
                lower, upper = self.relaxation.lower, self.relaxation.upper
                for affine in (lower,) if self.relaxation.exact else (lower, upper):
                    for term, size in zip(affine.terms, largest, strict=True):
                        if term is not None:
                            scale = scale + term.apply_abs(size, 1)
                    if affine.bias is not None:
                        scale = scale + affine.bias.abs()
        return scale.detach()

    @cached_property
    def allowed(self) -> Tensor:
        """Rounding allowed to each output, `[B, *S]`."""
        return allowance(self.scale, self.terms)

    def margins(self, points: Points) -> Tensor:
        """How far outputs are outside of each bound, `[bounds, n, B, *S]`."""
        y = self.evaluate(points)
        margins = []
        if self.has_interval:
            margins += [self.interval.lower - y, y - self.interval.upper]
        if self.has_lines:
            lower, upper = self.lines(points)
            margins += [lower - y, y - upper]
        return torch.stack([m.expand(y.shape) for m in margins])

    def fail(
        self,
        check: str,
        what: str,
        *,
        mode: str = "",
        amount: float | None = None,
        example: int | None = None,
        point: tuple[Points, int] | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> NoReturn:
        """Raise the violation.

        Args:
            check: Name of the promise that is broken.
            what: What is wrong.
            mode: Mode of the rule.
            amount: By how much.
            example: Index of the example in the batch, to show its box only.
            point: The points and the index of the offending one.
            details: More to show.
        """
        pick = slice(None) if example is None else example
        shown: dict[str, Any] = {"call": describe(self.call)}
        if example is not None:
            shown["example"] = f"{example} of {self.batch}"
        for i, x in enumerate(self.inputs):
            shown[f"box of x{i}"] = show_box(x, pick)
        if point is not None:
            points, index = point
            for i, at in enumerate(points):
                shown[f"point x{i}"] = at[index][pick]
        raise RuleViolation(self.subject, check, what, shown | dict(details or {}), amount, mode)

    def fail_where(
        self,
        excess: Tensor,
        check: str,
        what: str,
        *,
        mode: str = "",
        points: Points | None = None,
        values: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Raise at the largest positive entry of `excess`, if there is one.

        Args:
            excess: `[B, *S]`, or `[n, B, *S]` with `points`: violation beyond the allowance.
            check: Name of the promise.
            what: What is wrong.
            mode: Mode of the rule.
            points: Where the violations were seen.
            values: Tensors shaped like `excess`, whose entry at the place is shown.
        """
        if excess.numel() == 0 or not bool((excess > 0).any()):
            return
        worst = torch.unravel_index(excess.argmax(), excess.shape)
        index = tuple(int(i) for i in worst)
        lead = 0 if points is None else 1
        details: dict[str, Any] = {"output element": list(index[lead + 1 :])}
        for name, value in (values or {}).items():
            details[name] = value.expand(excess.shape)[index].item()
        self.fail(
            check,
            f"{what} by {excess[index].item():.3g} more than rounding allows",
            mode=mode,
            amount=excess[index].item(),
            example=index[lead],
            point=None if points is None else (points, index[0]),
            details=details,
        )


def evaluate_affine(affine: Affine, points: Sequence[Tensor], lead: int) -> Tensor:
    """An affine function at points `[*L, B, *S_i]`, up to broadcasting of leading dimensions."""
    total = affine.bias
    for term, x in zip(affine.terms, points, strict=True):
        if term is not None:
            y = term.apply(x, lead)
            total = y if total is None else total + y
    return points[0].new_zeros(()) if total is None else total
