"""Sets of inputs: a perturbation around each input, or the box of a property file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial

import numpy as np
import torch
from torch import Tensor

from lirpa_core import BoundedTensor, Perturbation, PerturbationLpNorm
from lirpa_core.errors import InputError
from lirpa_verify.errors import PropertyError
from lirpa_verify.network import Shape
from lirpa_verify.properties.box import Box


@dataclass(frozen=True, eq=False)
class Region:
    """A set of inputs, one example.

    Attributes:
        nominal: A value of each input, `[1, *S]`, float64.
        perturbations: The set around each; None for an input that is fixed.
        box: The exact box, where the set comes from one.
    """

    nominal: tuple[Tensor, ...]
    perturbations: tuple[Perturbation | None, ...]
    box: Box | None = None
    _known: dict[torch.dtype, Region] = field(default_factory=dict, repr=False)

    @classmethod
    def of_box(cls, box: Box, shapes: Sequence[Shape]) -> Region:
        """The set of a property file, laid out as the network's inputs.

        Raises:
            PropertyError: If the network has another number of inputs, or the box is empty.
        """
        size = sum(math.prod(s) for s in shapes)
        if size != len(box.lower):
            raise PropertyError(
                f"the property is about {len(box.lower)} inputs, but the network has {size} (of shape "
                f"{', '.join(str(list(s)) for s in shapes)}); use the network that it was written for"
            )
        if box.is_empty:
            raise PropertyError("the set of inputs is empty: a lower limit is above its upper limit")
        lower, upper = (_split(torch.from_numpy(v), shapes) for v in box.floats())
        nominal = tuple((low + high) / 2 for low, high in zip(lower, upper, strict=True))
        perturbations = tuple(
            PerturbationLpNorm(x_L=low, x_U=high) for low, high in zip(lower, upper, strict=True)
        )
        return cls(nominal, perturbations, box)

    @classmethod
    def around(cls, inputs: Sequence[Tensor], perturbation: Perturbation | None) -> Region:
        """The set of a perturbation around inputs, or that of inputs which carry one.

        Args:
            inputs: `[1, *S]` each; `BoundedTensor`s carry their own set.
            perturbation: The set around every input that carries none; None: those are fixed.

        Raises:
            InputError: If nothing is perturbed, or there is more than one example.
        """
        nominal: list[Tensor] = []
        found: list[Perturbation | None] = []
        for x in inputs:
            if x.shape[:1] != (1,):
                raise InputError(
                    f"verify: an input has shape {list(x.shape)}; expected one example, [1, …] (certify takes many)"
                )
            own = x.ptb if isinstance(x, BoundedTensor) and x.has_set else perturbation
            plain = x.plain() if isinstance(x, BoundedTensor) else x
            nominal.append(plain.detach().double())
            found.append(None if own is None else own.map_tensors(lambda t: t.detach().double()))
        if all(p is None for p in found):
            raise InputError("verify: no input is perturbed; give a perturbation, or a BoundedTensor")
        for value, set_ in zip(nominal, found, strict=True):
            if set_ is not None:
                set_.validate(value)
        return cls(tuple(nominal), tuple(found))

    def single_box(self) -> tuple[Tensor, Tensor] | None:
        """Limits `[1, N]` where there is one input, in a box; else None."""
        if len(self.nominal) != 1 or self.perturbations[0] is None or not self.perturbations[0].is_box:
            return None
        hull = self.perturbations[0].hull(self.nominal[0])
        return hull.lower.reshape(1, -1), hull.upper.reshape(1, -1)

    def bounded(self) -> tuple[Tensor, ...]:
        """The inputs as the core takes them."""
        return tuple(
            x if p is None else BoundedTensor(x, p)
            for x, p in zip(self.nominal, self.perturbations, strict=True)
        )

    def to(self, dtype: torch.dtype) -> Region:
        """The set in another type, for attacks; of an exact box the numbers of that type inside, where any are."""
        if dtype not in self._known:
            self._known[dtype] = self._converted(dtype)
        return self._known[dtype]

    def _converted(self, dtype: torch.dtype) -> Region:
        if self.box is None:
            moved = tuple(
                None if p is None else p.map_tensors(partial(_converted, dtype=dtype))
                for p in self.perturbations
            )
            return Region(tuple(x.to(dtype) for x in self.nominal), moved)
        shapes = [tuple(x.shape[1:]) for x in self.nominal]
        lower, upper = (_split(v, shapes) for v in limits_in(self.box, dtype))
        nominal = tuple((low / 2 + high / 2).clamp(low, high) for low, high in zip(lower, upper, strict=True))
        sets = tuple(PerturbationLpNorm(x_L=low, x_U=high) for low, high in zip(lower, upper, strict=True))
        return Region(nominal, sets, self.box)

    def contains(self, inputs: Sequence[Tensor]) -> bool:
        """Whether a point, a tensor `[*S]` for each input, is what some member of the set rounds to.

        A member is a point of real numbers; what a network of float32 is given is its nearest float32. For an
        exact box this test is exact; other sets test it as they do, with an allowance for rounding.
        """
        if self.box is not None:
            flat = torch.cat([x.reshape(-1) for x in inputs])
            dtype = flat.dtype
            low, high = (_nearest(v, dtype) for v in (self.box.lower, self.box.upper))
            return bool(((flat >= low) & (flat <= high)).all())
        for x, nominal, set_ in zip(inputs, self.nominal, self.perturbations, strict=True):
            z = x.unsqueeze(0)
            if set_ is None:
                if not torch.equal(z, nominal.to(x.dtype)):
                    return False
            else:
                own = set_.map_tensors(partial(_converted, dtype=x.dtype))
                if not bool(own.contains(nominal.to(x.dtype), z.unsqueeze(0)).all()):
                    return False
        return True


def _converted(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def limits_in(box: Box, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The numbers of a type that are inside the box: two of `[n]`; the nearest ones where there is none."""
    low, high = _nearest(box.lower, dtype), _nearest(box.upper, dtype)
    below = torch.tensor([Fraction(v) < e for v, e in zip(low.tolist(), box.lower, strict=True)])
    above = torch.tensor([Fraction(v) > e for v, e in zip(high.tolist(), box.upper, strict=True)])
    inf = torch.tensor(math.inf, dtype=dtype)
    inner_low = torch.where(below, torch.nextafter(low, inf), low)
    inner_high = torch.where(above, torch.nextafter(high, -inf), high)
    none = inner_low > inner_high
    return torch.where(none, low, inner_low), torch.where(none, high, inner_high)


def _nearest(values: Sequence[Fraction], dtype: torch.dtype) -> Tensor:
    double = np.array([float(v) for v in values])
    if dtype == torch.float64:
        return torch.from_numpy(double)
    return torch.from_numpy(double).to(dtype)


def _split(flat: Tensor, shapes: Sequence[Shape]) -> list[Tensor]:
    sizes = [math.prod(s) for s in shapes]
    return [part.reshape(1, *s) for part, s in zip(flat.split(sizes), shapes, strict=True)]
