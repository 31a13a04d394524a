"""Which examples are provably classified right, whatever the perturbation does."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from lirpa_core import BoundedModule, Perturbation
from lirpa_core.api.functional import find_method
from lirpa_core.devices import full_precision
from lirpa_training.bounding import Bounding
from lirpa_training.inputs import perturb
from lirpa_training.margins import check_labels, margin_rows


class Certificates(NamedTuple):
    """What is known about each example of a batch.

    Attributes:
        correct: Whether it is classified right without a perturbation, `[B]`.
        verified: Whether it provably is under every member of its perturbation set, `[B]`.
        margins: Lower bounds of its margins over the other classes, `[B, K - 1]`.
    """

    correct: Tensor
    verified: Tensor
    margins: Tensor


def certify(
    model: BoundedModule,
    x: Any,
    labels: Tensor,
    perturbation: Perturbation | None = None,
    *,
    method: str = "CROWN-IBP",
) -> Certificates:
    """Certify a batch, in evaluation mode, without gradients, and on CUDA without TF32.

    Args:
        model: The bounded classifier; it must be in evaluation mode for the result to mean anything.
        x: Its input, or a tuple of its positional inputs.
        labels: Right classes `[B]`.
        perturbation: As for `CertifiedLoss.forward`.
        method: How margins are bounded; each is also bounded by intervals, and the better bound counts.

    Raises:
        LirpaError: As `BoundedModule.compute_bounds`; `InputError` for labels out of range.
    """
    inputs = perturb(x, perturbation)
    with torch.no_grad(), full_precision():
        bounds = Bounding(model.problem(inputs), find_method(method))
        check_labels(labels, bounds.problem.batch, bounds.classes)
        rows = margin_rows(labels, bounds.classes, dtype=bounds.problem.dtype_of(bounds.target))
        margins = bounds.lower(rows)
        if bounds.method.name != "IBP":
            margins = margins.maximum(bounds.lower(rows, by_intervals=True))
        bounds.refuse_non_finite(margins)
        scores = model(*inputs)
    return Certificates(scores.argmax(1) == labels, (margins > 0).all(1), margins)
