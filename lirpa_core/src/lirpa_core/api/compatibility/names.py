"""Functions and classes that auto_LiRPA's users import, besides those that are lirpa's own."""

from __future__ import annotations

from typing import NoReturn

import torch
from torch import Tensor

from lirpa_core.api.compatibility.calls import CUSTOM_OPERATORS
from lirpa_core.errors import OptionError, SpecificationError


def get_spec_matrix(X: Tensor, y: Tensor, num_classes: int) -> Tensor:
    """Specification matrix of the margins: the right class's output minus each of the others.

    Args:
        X: Inputs, whose dtype and device the matrix has.
        y: Right classes `[B]`.
        num_classes: Number of classes `K`, at least two.

    Returns:
        `[B, K - 1, K]`, the others in ascending order; to give to `compute_bounds` as `C`.

    Raises:
        SpecificationError: If a label is no class.

    >>> get_spec_matrix(torch.zeros(1, 4), torch.tensor([1]), 3).tolist()
    [[[-1.0, 1.0, 0.0], [0.0, 1.0, -1.0]]]
    """
    if num_classes < 2 or y.dim() != 1 or y.is_floating_point() or bool(((y < 0) | (y >= num_classes)).any()):
        raise SpecificationError(
            f"get_spec_matrix needs labels [B] from 0 to num_classes - 1, and two classes at least; got {y.dtype} of "
            f"shape {list(y.shape)} and num_classes={num_classes}."
        )
    identity = torch.eye(num_classes, dtype=X.dtype, device=X.device)
    labels = y.to(X.device)
    others = torch.arange(num_classes - 1, device=X.device).unsqueeze(0)
    return identity[labels].unsqueeze(1) - identity[others + (others >= labels.unsqueeze(1))]


def register_custom_op(op_name: str, bound_op: type) -> NoReturn:
    """Not there: says how an operator gets a rule.

    Args:
        op_name: The operator.
        bound_op: Its class.

    Raises:
        OptionError: Always.
    """
    raise OptionError(
        f"register_custom_op({op_name!r}, {getattr(bound_op, '__name__', bound_op)}): {CUSTOM_OPERATORS}"
    )


class JacobianOP:
    """The derivative of an output with respect to an input, inside of a `forward`."""

    @staticmethod
    def apply(output: Tensor, input: Tensor) -> Tensor:  # noqa: A002  the reference's name
        """`[B, O, I]`, output and input flattened.

        Args:
            output: `[B, ...]`, computed from the input.
            input: `[B, ...]`.
        """
        flat = output.flatten(1)
        ones = torch.ones_like(flat[:, 0])
        rows = [
            torch.autograd.grad(flat[:, i], input, ones, create_graph=True)[0].flatten(1)
            for i in range(flat.shape[1])
        ]
        return torch.stack(rows, dim=1)


class GradNorm(torch.nn.Module):
    """The norm of a Jacobian or gradient, of each example.

    Args:
        norm: The exponent, 1 or 2, or infinity.
    """

    def __init__(self, norm: float = 2) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, grad: Tensor) -> Tensor:
        """`[B, 1]` for a gradient `[B, ...]`.

        Args:
            grad: The gradient.
        """
        flat = grad.flatten(1)
        if self.norm == 1:
            return flat.abs().sum(1, keepdim=True)
        if self.norm == 2:
            return flat.square().sum(1, keepdim=True).sqrt()
        if self.norm == float("inf"):
            return flat.abs().amax(1, keepdim=True)
        raise OptionError(f"GradNorm(norm={self.norm!r}): expected 1, 2 or infinity.")
