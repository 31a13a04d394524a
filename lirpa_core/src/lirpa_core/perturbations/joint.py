"""One set, and so one budget, for several tensors together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from uuid import uuid4

import torch
from torch import Tensor

from lirpa_core.errors import PerturbationError
from lirpa_core.linear.coefficients import Coefficients, DenseCoefficients
from lirpa_core.linear.interval import Interval
from lirpa_core.linear.joined import split_joined
from lirpa_core.perturbations.base import Perturbation


@dataclass(frozen=True, eq=False, repr=False)
class PerturbationJoint(Perturbation):
    """A set for several tensors, inputs or weights, that are joined into one.

    Give one object to all tensors that share the set:

        joint = PerturbationJoint(PerturbationLpNorm(norm=2, eps=0.5))
        premise, hypothesis = BoundedTensor(p, joint), BoundedTensor(h, joint)

    Now the *joined* change of both is at most 0.5 in the L2 norm. The tensors are joined in the order in
    which the model takes its inputs, weights last, in the order of `named_parameters`. Bounds are as exact
    as those of `base`.

    Without this class, tensors do not share: where two carry the same other perturbation, each has the
    whole budget for itself. A box has no budget to share, so joining changes nothing for the L-infinity
    norm.

    Where inputs and weights share a set, the worst weights are sought for each example on its own, as
    they are for perturbed weights in general.

    Attributes:
        base: The set of the joined tensor. Its own tensors are laid out for that one, examples first.
        dim: The dimension of one example along which the tensors are joined, so 0 for the words of
            embedded sentences `[T, D]`, -1 for images side by side; their other dimensions must agree.
            None: all tensors are flattened, whatever their shapes, and every element counts as one.
        key: What the tensors that belong together have in common. Copies and conversions keep it.

    Raises:
        PerturbationError: `base` is no perturbation, or itself joint.
    """

    base: Perturbation
    dim: int | None = None
    key: str = field(default_factory=lambda: uuid4().hex)

    def __post_init__(self) -> None:
        if not isinstance(self.base, Perturbation) or self.base.joint_key is not None:
            raise PerturbationError(
                f"base must be a Perturbation for the joined tensor, such as PerturbationLpNorm(norm=2, "
                f"eps=0.1), not {self.base!r}"
            )
        if self.dim is not None and type(self.dim) is not int:
            raise PerturbationError(f"dim must be a dimension of one example or None, not {self.dim!r}")

    @property
    def joint_key(self) -> str:
        return self.key

    @property
    def is_box(self) -> bool:
        return self.base.is_box

    # ------------------------------------------------------------------ layout

    def join(self, *xs: Tensor) -> Tensor:
        """The tensor that `base` is about.

        Args:
            xs: `[B, *S_i]` each; a batch of one is shared.

        Returns:
            `[B, n]` with all elements, or the tensors concatenated along `dim`.

        Raises:
            PerturbationError: If the shapes do not fit along `dim`, or the numbers of examples differ.
        """
        parts = xs if self.dim is not None else [x.reshape(x.shape[0], -1) for x in xs]
        batch = max(x.shape[0] for x in xs)
        try:
            parts = [x.expand(batch, *x.shape[1:]) for x in parts]
            return torch.cat(parts, self._dim_of(parts[0], lead=1))
        except (RuntimeError, IndexError) as error:
            shapes = ", ".join(str(list(x.shape)) for x in xs)
            raise PerturbationError(
                f"tensors of shapes {shapes} (examples first) cannot be joined along dim = {self.dim}"
            ) from error

    def split(self, joined: Tensor, *xs: Tensor) -> tuple[Tensor, ...]:
        """Undo `join`: `[*L, B, ...]` to one tensor `[*L, B, *S_i]` for each of `xs`."""
        if self.dim is None:
            return split_joined(joined, [tuple(x.shape[1:]) for x in xs])
        lead = joined.dim() - (xs[0].dim() - 1)
        dim = self._dim_of(joined, lead)
        parts: tuple[Tensor, ...] = joined.split([x.shape[dim - lead + 1] for x in xs], dim)
        return parts

    def _dim_of(self, x: Tensor, lead: int) -> int:
        """Where `dim` is in a tensor with leading dimensions before the example's own."""
        if self.dim is None:
            return lead
        rank = x.dim() - lead
        if not -rank <= self.dim < rank:
            raise IndexError
        return lead + self.dim % rank

    def _coefficients(self, maps: Sequence[Coefficients]) -> DenseCoefficients:
        dense = [A.to_dense() for A in maps]  # [R, B or 1, *S_i]
        batch = max(A.shape[1] for A in dense)
        spread = [A.expand(-1, batch, *A.shape[2:]) for A in dense]
        parts = spread if self.dim is not None else [A.reshape(*A.shape[:2], -1) for A in spread]
        return DenseCoefficients(torch.cat(parts, self._dim_of(parts[0], lead=2)))

    # ------------------------------------------------------------------ several tensors

    def validate_joint(self, xs: Sequence[Tensor]) -> None:
        if len({x.dtype for x in xs}) > 1 or len({x.device for x in xs}) > 1:
            raise PerturbationError("tensors that share a joint set must have one dtype and one device")
        self.base.validate(self.join(*xs))

    def hull_joint(self, xs: Sequence[Tensor]) -> tuple[Interval, ...]:
        hull = self.base.hull(self.join(*xs))
        ends = zip(self.split(hull.lower, *xs), self.split(hull.upper, *xs), strict=True)
        return tuple(_shared(low, up, x) for (low, up), x in zip(ends, xs, strict=True))

    def concretize_joint(self, xs: Sequence[Tensor], maps: Sequence[Coefficients]) -> Tensor:
        return self.base.concretize(self.join(*xs), self._coefficients(maps))

    def deviation_joint(self, xs: Sequence[Tensor], maps: Sequence[Coefficients]) -> Tensor | None:
        return self.base.deviation(self.join(*xs), self._coefficients(maps))

    # ------------------------------------------------------------------ one tensor: a group of one

    def validate(self, x: Tensor) -> None:
        self.validate_joint((x,))

    def hull(self, x: Tensor) -> Interval:
        return self.hull_joint((x,))[0]

    def concretize(self, x: Tensor, A: Coefficients) -> Tensor:
        return self.concretize_joint((x,), (A,))

    def deviation(self, x: Tensor, A: Coefficients) -> Tensor | None:
        return self.deviation_joint((x,), (A,))

    def sample(self, x: Tensor, n: int, generator: torch.Generator | None = None) -> Tensor:
        return self.split(self.base.sample(self.join(x), n, generator), x)[0]

    def contains(self, x: Tensor, z: Tensor) -> Tensor:
        return self.base.contains(self.join(x), self._candidates(z))

    def project(self, x: Tensor, z: Tensor) -> Tensor:
        return self.split(self.base.project(self.join(x), self._candidates(z)), x)[0]

    def _candidates(self, z: Tensor) -> Tensor:
        return z if self.dim is not None else z.reshape(*z.shape[:2], -1)

    def aligned(self, batch_dim: int | None, ndim: int) -> PerturbationJoint:
        rank = ndim + (batch_dim is None)
        return replace(self, base=self.base.aligned(0, 2 if self.dim is None else rank))

    def map_tensors(self, function: Callable[[Tensor], Tensor]) -> PerturbationJoint:
        return replace(self, base=self.base.map_tensors(function))

    def __repr__(self) -> str:
        dim = "" if self.dim is None else f", dim={self.dim}"
        return f"PerturbationJoint({self.base!r}{dim})"


def _shared(lower: Tensor, upper: Tensor, x: Tensor) -> Interval:
    """A hull with the batch of `x`: what all examples share, such as a weight, gets their common hull."""
    if x.shape[0] == lower.shape[0]:
        return Interval(lower, upper)
    return Interval(lower.amin(0, keepdim=True), upper.amax(0, keepdim=True))
