"""A classifier with its loss, as one module to bound."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class CrossEntropyWrapper(nn.Module):
    """A classifier followed by the cross entropy of its scores, which can be bounded like any module.

    The loss is `log Σ_i exp(z_i - z_y)`, as in `torch.nn.functional.cross_entropy`. Bounds of it are bounds of
    the worst loss; a bound of this one number needs one row of coefficients, whatever the number of classes
    (loss fusion, Xu et al. 2020, section 3.3). `CertifiedLoss(..., fusion=True)` does the same with the
    logarithm taken exactly, and is the one to train with.

    Args:
        model: From inputs to class scores `[B, K]`.

    Example:
        >>> from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
        >>> x, y = torch.rand(5, 4), torch.tensor([0, 1, 2, 1, 0])
        >>> network = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
        >>> loss = CrossEntropyWrapper(network)
        >>> bounded = BoundedModule(loss, (x, y))
        >>> x = BoundedTensor(x, PerturbationLpNorm(eps=0.1))
        >>> lb, ub = bounded.compute_bounds(x=(x, y), method="CROWN-IBP")
        >>> ub.shape, bool((loss(x, y) <= ub).all())
        (torch.Size([5, 1]), True)
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        """The cross entropy of each example, `[B, 1]`.

        Args:
            x: Input of the model.
            labels: Right classes `[B]`.
        """
        return _loss(self.model(x), labels)


class CrossEntropyWrapperMultiInput(nn.Module):
    """`CrossEntropyWrapper` for a classifier of several inputs; the labels come first.

    Args:
        model: From inputs to class scores `[B, K]`.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, labels: Tensor, *x: Tensor) -> Tensor:
        """The cross entropy of each example, `[B, 1]`.

        Args:
            labels: Right classes `[B]`.
            *x: Inputs of the model.
        """
        return _loss(self.model(*x), labels)


def _loss(scores: Tensor, labels: Tensor) -> Tensor:
    margins = scores - scores.gather(1, labels.unsqueeze(1))
    return torch.exp(margins).sum(1, keepdim=True).log()
