"""Losses between adversarial and certified training: PGD, SABR, MTL-IBP and CC-IBP.

Interval bounds of the whole set regularise so much that accuracy suffers; adversarial training
certifies nothing. Expressive losses (De Palma et al. 2024) reach from one to the other with a number.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import torch.nn.functional as F
from torch import Tensor

from lirpa_core import BoundedTensor, PerturbationLpNorm
from lirpa_core.errors import OptionError
from lirpa_training.attack import PGD
from lirpa_training.bounding import Bounding
from lirpa_training.cross_entropy import from_margins
from lirpa_training.margins import margin_rows
from lirpa_training.step import Step


class Objective(Protocol):
    """What is trained: from a step to the loss of each example."""

    def __call__(self, step: Step) -> tuple[Tensor, Bounding | None]:
        """The loss of each example `[B]`, and the bounds that it used, for the report of what went wrong."""


@dataclass(frozen=True)
class Certified:
    """The bound of the loss over the whole set: IBP or CROWN-IBP training."""

    def __call__(self, step: Step) -> tuple[Tensor, Bounding | None]:
        bounds = step.bounding()
        return step.certified(bounds), bounds


@dataclass(frozen=True)
class Adversarial:
    """The loss at adversarial examples (Madry et al. 2018). It certifies nothing.

    Attributes:
        attack: How they are found.
    """

    attack: PGD = field(default_factory=PGD)

    def __call__(self, step: Step) -> tuple[Tensor, Bounding | None]:
        return _cross_entropy(step, step.attack(self.attack)), None


@dataclass(frozen=True)
class SABR:
    """The bound over a small box around an adversarial example.

    From Müller et al. 2023, "Certified training: small boxes are all you need", section 3.

    Attributes:
        ratio: Width of the small box relative to the whole, λ in the paper: above 0, at most 1.
        attack: How the example is found; it keeps so far inside that the small box stays in the set.

    Raises:
        OptionError: For a ratio out of range; when used, for a perturbation that is not a box.
    """

    ratio: float = 0.4
    attack: PGD = field(default_factory=PGD)

    def __post_init__(self) -> None:
        _fraction("SABR", "ratio", self.ratio, above_zero=True)

    def __call__(self, step: Step) -> tuple[Tensor, Bounding | None]:
        place, x = step.perturbed
        if not step.threat.is_box:
            raise OptionError(
                f"SABR needs a perturbation that is a box, such as an L-infinity ball; got {x.ptb!r}."
            )
        hull = step.threat.hull(x.plain())
        radius = self.ratio * hull.width / 2
        low, high = hull.lower + radius, hull.upper - radius

        def inside(z: Tensor) -> Tensor:
            return z.maximum(low).minimum(high)

        centre = step.attack(self.attack, inside)
        centre = inside(centre)  # the nominal value may lie nearer to the edge than the small box allows
        box = PerturbationLpNorm(x_L=centre - radius, x_U=centre + radius)
        inputs = (*step.inputs[:place], BoundedTensor(centre, box), *step.inputs[place + 1 :])
        bounds = step.bounding(inputs)
        return step.certified(bounds), bounds


@dataclass(frozen=True)
class MTLIBP:
    """A weighted mean of the adversarial and the certified loss: MTL-IBP.

    From De Palma et al. 2024, "Expressive losses for verified robustness via convex combinations".

    Attributes:
        alpha: Weight of the certified loss, from 0 to 1.
        attack: How the adversarial examples are found.

    Raises:
        OptionError: For a weight out of range.
    """

    alpha: float = 0.1
    attack: PGD = field(default_factory=PGD)

    def __post_init__(self) -> None:
        _fraction("MTLIBP", "alpha", self.alpha)

    def __call__(self, step: Step) -> tuple[Tensor, Bounding | None]:
        adversarial = _cross_entropy(step, step.attack(self.attack))
        bounds = step.bounding()
        return (1 - self.alpha) * adversarial + self.alpha * step.certified(bounds), bounds


@dataclass(frozen=True)
class CCIBP:
    """The loss of weighted means of adversarial margins and their bounds: CC-IBP.

    From De Palma et al. 2024, "Expressive losses for verified robustness via convex combinations".

    Attributes:
        alpha: Weight of the bounds, from 0 to 1.
        attack: How the adversarial examples are found.

    Raises:
        OptionError: For a weight out of range; when used, with loss fusion, which bounds no margins.
    """

    alpha: float = 0.1
    attack: PGD = field(default_factory=PGD)

    def __post_init__(self) -> None:
        _fraction("CCIBP", "alpha", self.alpha)

    def __call__(self, step: Step) -> tuple[Tensor, Bounding | None]:
        if step.bound.fusion:
            raise OptionError(
                "CCIBP combines margins, and fusion=True bounds none of them; use MTLIBP or SABR."
            )
        scores = step.scores(step.attack(self.attack))
        rows = margin_rows(step.labels, scores.shape[1], dtype=scores.dtype)
        adversarial = (rows @ scores.unsqueeze(2)).squeeze(2)
        bounds = step.bounding()
        margins = (1 - self.alpha) * adversarial + self.alpha * step.lower_margins(bounds)
        return from_margins(margins), bounds


def _cross_entropy(step: Step, z: Tensor) -> Tensor:
    return F.cross_entropy(step.scores(z), step.labels, reduction="none")


def _fraction(owner: str, name: str, value: float, *, above_zero: bool = False) -> None:
    if not 0 <= value <= 1 or (above_zero and value == 0):
        raise OptionError(f"{owner}: {name}={value!r} must be {'above 0' if above_zero else 'from 0'} to 1.")
