"""Where batches come from: inputs, labels, and the perturbation of a given radius."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from lirpa_core import Perturbation, PerturbationLpNorm
from lirpa_perturbations import PerturbationL0Norm
from training.data import Images


class Batch(NamedTuple):
    """What a loss takes.

    Attributes:
        x: Input, or a tuple of inputs.
        labels: Right classes `[B]`.
        perturbation: The set; None where inputs or weights carry it.
    """

    x: Any
    labels: Tensor
    perturbation: Perturbation | None


class Source(Protocol):
    """A split of a data set with a threat model."""

    def __len__(self) -> int: ...

    def batch(self, index: Tensor, eps: float, *, train: bool) -> Batch:
        """The examples at `index`, and their perturbation of radius `eps`."""


@dataclass(frozen=True, eq=False)
class ImageSource:
    """Images in an Lp ball, pixels in [0, 1].

    Attributes:
        images: The split.
        norm: The exponent p.
        device: Where batches go.
        augment: Whether training images are shifted by up to an eighth of their size and mirrored.
        largest: The largest radius; for the L0 norm, how many pixels may change.
    """

    images: Images
    norm: float = math.inf
    device: str = "cpu"
    augment: bool = False
    largest: float = 0.0

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, index: Tensor, eps: float, *, train: bool) -> Batch:
        x, labels = self.images.get(index)
        if train and self.augment:
            x = _moved(x)
        x, labels = x.to(self.device), labels.to(self.device)
        return Batch(x, labels, self._ball(eps))

    def _ball(self, eps: float) -> Perturbation:
        if self.norm > 0:
            return PerturbationLpNorm(norm=self.norm, eps=eps, x_L=0.0, x_U=1.0)
        # The number of pixels is fixed; how far they may go grows with the schedule.
        return PerturbationL0Norm(eps=round(self.largest), ratio=eps / self.largest if self.largest else 0.0)


def _moved(x: Tensor) -> Tensor:
    """Each image shifted by its own few pixels, and mirrored or not."""
    size, most = x.shape[-1], max(1, x.shape[-1] // 8)
    padded = torch.nn.functional.pad(x, (most,) * 4)
    offsets = torch.randint(0, 2 * most + 1, (len(x), 2))
    mirrored = torch.rand(len(x)) < 0.5
    found = []
    for image, (down, right), mirror in zip(padded, offsets.tolist(), mirrored.tolist(), strict=True):
        part = image[:, down : down + size, right : right + size]
        found.append(part.flip(-1) if mirror else part)
    return torch.stack(found)
