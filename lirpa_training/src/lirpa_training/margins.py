"""Margins between the right class and the others: specification rows, and the check of labels."""

from __future__ import annotations

import torch
from torch import Tensor

from lirpa_core.errors import InputError, SpecificationError


def check_labels(labels: Tensor, batch: int, classes: int) -> None:
    """Refuse labels that do not name a class of each example. Waits for the device.

    Args:
        labels: Right classes, whole numbers `[B]`.
        batch: Number of examples `B`.
        classes: Number of classes `K`.

    Raises:
        InputError: Naming the first label that is out of range, or the shape or dtype.
    """
    if not isinstance(labels, Tensor) or labels.is_floating_point() or labels.is_complex():
        given = labels.dtype if isinstance(labels, Tensor) else type(labels).__name__
        raise InputError(f"labels must be whole numbers, a tensor of int64 [B]; got {given}.")
    if tuple(labels.shape) != (batch,):
        raise InputError(f"labels have shape {list(labels.shape)}; expected [{batch}], one an example.")
    outside = (labels < 0) | (labels >= classes)
    if bool(outside.any()):
        at = int(outside.nonzero()[0, 0])
        raise InputError(
            f"labels[{at}] is {int(labels[at])}, but the model has {classes} outputs, so labels go from 0 to "
            f"{classes - 1} ({int(outside.sum())} labels are out of range). Do the labels count from one, or does "
            "the model have too few outputs?"
        )


def margin_rows(labels: Tensor, classes: int, *, dtype: torch.dtype = torch.float32) -> Tensor:
    """Specification matrix of the margins: the right class's output minus each of the others.

    Args:
        labels: Right classes `[B]`.
        classes: Number of classes `K`, at least two.
        dtype: Element type of the result.

    Returns:
        `[B, K - 1, K]`, the others in ascending order; to give to `compute_bounds` as `C`.

    >>> margin_rows(torch.tensor([1]), 3).tolist()
    [[[-1.0, 1.0, 0.0], [0.0, 1.0, -1.0]]]
    """
    if classes < 2:
        raise SpecificationError(f"margins need at least two classes, not {classes}.")
    identity = torch.eye(classes, dtype=dtype, device=labels.device)
    return identity[labels].unsqueeze(1) - identity[other_classes(labels, classes)]


def other_classes(labels: Tensor, classes: int) -> Tensor:
    """The classes that are not the right one, ascending, `[B, K - 1]`."""
    others = torch.arange(classes - 1, device=labels.device).unsqueeze(0)
    return others + (others >= labels.unsqueeze(1))
