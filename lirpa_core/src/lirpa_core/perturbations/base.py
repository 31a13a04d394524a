"""What a threat model is: a set around each example over which a linear form can be minimised."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lirpa_core.errors import PerturbationError
from lirpa_core.linear.coefficients import Coefficients
from lirpa_core.linear.finite import all_finite
from lirpa_core.linear.interval import Interval


class Perturbation(ABC):
    """A set of values that a tensor may take, one set an example.

    Every tensor that a method takes or returns has the examples first: the nominal value `x` is
    `[B, *S]` whatever the layout of the user's tensor was. Binding calls `aligned` once, and from
    then on only passes such tensors; a perturbed weight comes as `[1, *S]`.

    A perturbation is immutable, and its methods are pure functions of tensors. `hull` and
    `concretize` are differentiable in `x`, in the perturbation's own tensors and in the coefficients.
    """

    @abstractmethod
    def validate(self, x: Tensor) -> None:
        """Refuse a value that this perturbation does not fit, before anything is computed.

        Args:
            x: Nominal value, `[B, *S]`.

        Raises:
            PerturbationError: Naming the argument that is wrong.
        """

    @property
    @abstractmethod
    def is_box(self) -> bool:
        """Whether the set is its own hull, so that interval propagation loses nothing by `hull`."""

    @property
    def surrounds_nominal(self) -> bool:
        """Whether the nominal value belongs to the set whatever it is, so that nobody has to ask `contains`."""
        return False

    @abstractmethod
    def hull(self, x: Tensor) -> Interval:
        """The smallest box around the set, `[B, *S]`."""

    @abstractmethod
    def concretize(self, x: Tensor, A: Coefficients) -> Tensor:
        """Minimum of the linear forms `A` over the set.

        Args:
            x: Nominal value, `[B, *S]`; a leading one is shared by all examples of `A`.
            A: `R` forms over `S` for each of `B` examples; a batch of one is shared by all examples.

        Returns:
            `[R, B]`: `min { Σ A·z : z in the set }`, the nominal part `Σ A·x` included. Never above
            the true minimum, up to rounding.
        """

    def deviation(self, x: Tensor, A: Coefficients) -> Tensor | None:
        """The largest `Σ A·|z − x|` over the set, for coefficients that are not negative.

        What a product with a factor from the set may differ from that with the nominal value. It is worth stating
        where it is less than in the box around the set.

        Args:
            x: Nominal value, `[B, *S]`; a leading one is shared by all examples of `A`.
            A: `R` forms, `[R, B, *S]`, none of whose coefficients is negative.

        Returns:
            `[R, B]`, never below the true one, up to rounding. None, the default: what the box says.
        """
        return None

    @abstractmethod
    def sample(self, x: Tensor, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Random members of the set, extreme ones among them, without gradient: `[n, B, *S]`."""

    @abstractmethod
    def contains(self, x: Tensor, z: Tensor) -> Tensor:
        """Which candidates belong to the set, with an allowance for rounding.

        Args:
            x: Nominal value, `[B, *S]`.
            z: Candidates, `[n, B, *S]`.

        Returns:
            Boolean, `[n, B]`.
        """

    @abstractmethod
    def project(self, x: Tensor, z: Tensor) -> Tensor:
        """Move candidates `[n, B, *S]` into the set; those inside stay where they are.

        Attacks depend on it: where the set is convex this is the nearest point in Euclidean distance.
        """

    @property
    def joint_key(self) -> str | None:
        """What tensors that share *one* set have in common; None where each tensor has a set of its own.

        For tensors of one group, methods call those functions that end in `_joint`, on the perturbation of the
        first of them, with all of the group's tensors at once.
        """
        return None

    def validate_joint(self, xs: Sequence[Tensor]) -> None:
        """`validate` for the tensors of a group, `[B or 1, *S_i]` each."""
        for x in xs:
            self.validate(x)

    def hull_joint(self, xs: Sequence[Tensor]) -> tuple[Interval, ...]:
        """The box around all values that each tensor of a group may take."""
        return tuple(self.hull(x) for x in xs)

    def concretize_joint(self, xs: Sequence[Tensor], maps: Sequence[Coefficients]) -> Tensor:
        """Minimum of `Σ_i Σ A_i·z_i` over the joint set of a group, `[R, B]`.

        This default lets each tensor use the whole set: sound, and exact where they do not share a budget.
        """
        value = self.concretize(xs[0], maps[0])
        for x, A in zip(xs[1:], maps[1:], strict=True):
            value = value + self.concretize(x, A)
        return value

    def deviation_joint(self, xs: Sequence[Tensor], maps: Sequence[Coefficients]) -> Tensor | None:
        """`deviation` of `Σ_i Σ A_i·|z_i − x_i|` over the joint set of a group; None, the default: what the boxes say."""
        return None

    def aligned(self, batch_dim: int | None, ndim: int) -> Perturbation:
        """The same set with its own tensors laid out examples first.

        Args:
            batch_dim: Dimension of the user's tensor that runs over examples; None where all examples
                share the tensor, such as a weight, which then gets a leading dimension of one.
            ndim: Rank of the user's tensor.
        """
        return self

    def map_tensors(self, function: Callable[[Tensor], Tensor]) -> Perturbation:
        """The same perturbation with `function` applied to each tensor that it holds."""
        return self


def examples_first(value: Tensor, batch_dim: int | None, ndim: int) -> Tensor:
    """Lay out a tensor, broadcastable to the user's one, with examples first.

    Args:
        value: At most `ndim` dimensions, broadcast from the right as usual.
        batch_dim: Dimension that runs over examples, or None.
        ndim: Rank of the user's tensor.

    Returns:
        `ndim` dimensions with the examples moved to the front, or `1 + ndim` without a batch.
    """
    if value.dim() > ndim:
        return value  # `validate` refuses it with the name of the argument
    value = value.reshape(*[1] * (ndim - value.dim()), *value.shape)
    return value.unsqueeze(0) if batch_dim is None else value.movedim(batch_dim, 0)


def require_real_finite(x: Tensor, what: str = "x") -> None:
    """Refuse integer, complex and non-finite values.

    Raises:
        PerturbationError: Naming `what`.
    """
    if not x.is_floating_point():
        raise PerturbationError(
            f"{what} has dtype {x.dtype}, but only floating point tensors can be perturbed"
        )
    if not all_finite(x):
        finite = torch.isfinite(x.detach())
        bad = x.detach()[~finite][0].item()
        raise PerturbationError(
            f"{what} must be finite, but holds {bad} ({int((~finite).sum())} such elements)"
        )
