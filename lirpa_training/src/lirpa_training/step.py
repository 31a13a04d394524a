"""One step of training: a batch, what its clean pass fixed, and the losses that can be asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from lirpa_core import BoundedModule, BoundedTensor, Perturbation
from lirpa_core.api.functional import BatchState, find_method
from lirpa_core.errors import InputError, OptionError
from lirpa_training.attack import PGD
from lirpa_training.bounding import Bounding
from lirpa_training.cross_entropy import fused_cross_entropy, lower_margins, unfused_cross_entropy

#: Whether the gradient flows through the batch's mean and variance, or takes them for constants.
Statistics: TypeAlias = Literal["differentiable", "constant"]


@dataclass(frozen=True)
class BoundLoss:
    """How the certified part of a loss is bounded.

    Attributes:
        method: Any method of `BoundedModule.compute_bounds`.
        fusion: Whether one row stands for all margins.
        beta: Weight of the method's bounds against interval bounds, from 0 to 1 (CROWN-IBP's β).
        checkpoint: Whether inner values are computed again for the gradient instead of stored.

    Raises:
        OptionError: For an unknown method or a `beta` outside [0, 1].
    """

    method: str = "CROWN-IBP"
    fusion: bool = False
    beta: float = 1.0
    checkpoint: bool = False

    def __post_init__(self) -> None:
        find_method(self.method)
        if not 0 <= self.beta <= 1:
            raise OptionError(f"beta={self.beta!r}: expected a number from 0 (intervals only) to 1.")


@dataclass(frozen=True, eq=False)
class Step:
    """A batch on its way to a loss.

    Attributes:
        model: The bounded model.
        inputs: Its inputs; the perturbed one is a `BoundedTensor` (none, where weights are perturbed).
        labels: Right classes `[B]`.
        state: Statistics and masks of the clean pass.
        bound: How to bound.
    """

    model: BoundedModule
    inputs: tuple[Any, ...]
    labels: Tensor
    state: BatchState
    bound: BoundLoss

    def bounding(self, inputs: Sequence[Any] | None = None) -> Bounding:
        """The bounds over the perturbation sets of `inputs`, by default the step's own."""
        given = self.inputs if inputs is None else tuple(inputs)
        # Below β = 0 nothing of the method is used, and intervals for inner nodes are all that is needed.
        method = find_method("IBP" if self.bound.beta == 0 else self.bound.method)
        problem = self.model.problem(given, batch_state=self.state, rounding="nearest")
        return Bounding(problem, method, self.bound.checkpoint)

    def certified(self, bounds: Bounding) -> Tensor:
        """Upper bound of each example's cross entropy, `[B]`."""
        loss = fused_cross_entropy if self.bound.fusion else unfused_cross_entropy
        return loss(bounds, self.labels, self.bound.beta)

    def lower_margins(self, bounds: Bounding) -> Tensor:
        """Lower bounds of the margins, `[B, K - 1]`."""
        return lower_margins(bounds, self.labels, self.bound.beta)

    @property
    def perturbed(self) -> tuple[int, BoundedTensor]:
        """Place and value of the one perturbed input.

        Raises:
            InputError: If there is none, or more than one, which attacks cannot handle.
        """
        found = [(i, x) for i, x in enumerate(self.inputs) if isinstance(x, BoundedTensor) and x.has_set]
        if len(found) != 1:
            raise InputError(
                f"losses with an attack need exactly one perturbed input; {len(found)} are. Use a loss of bounds "
                "alone for perturbed weights or several perturbed inputs."
            )
        return found[0]

    @property
    def threat(self) -> Perturbation:
        """The perturbation of that input, its tensors laid out examples first."""
        _, x = self.perturbed
        return x.ptb.aligned(0, x.dim())

    def scores(self, z: Tensor) -> Tensor:
        """Class scores `[B, K]` with `z` in the place of the perturbed input, under the step's statistics."""
        place, _ = self.perturbed
        with self.model.holding(self.state):
            found: Tensor = self.model(*self.inputs[:place], z, *self.inputs[place + 1 :])
        return found

    def attack(self, pgd: PGD, inside: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Adversarial examples for the step's function, `[B, *S]`."""
        _, x = self.perturbed

        def loss(z: Tensor) -> Tensor:
            return F.cross_entropy(self.scores(z), self.labels, reduction="none")

        with torch.enable_grad():
            return pgd(loss, x.plain(), self.threat, inside=inside)
