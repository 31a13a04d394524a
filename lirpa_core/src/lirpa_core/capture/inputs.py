"""What a capture takes as inputs: which dimension runs over examples, and what is refused by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch._C._functorch import is_batchedtensor  # no public function tells
from torch.nn.utils.rnn import PackedSequence

from lirpa_core.devices import is_sharded, unreadable
from lirpa_core.errors import InputError
from lirpa_core.problem.batching import default_batch_dims
from lirpa_core.problem.binding import sharded_message

#: `batch_dims="auto"`: inputs whose leading size is that of the first float tensor are per example.
AUTO = "auto"


def batch_dims_of(given: Sequence[int | None] | str | None, inputs: list[Any]) -> tuple[int | None, ...]:
    """Per input, the dimension that runs over examples, or None.

    Args:
        given: As `BoundedModule` takes it.
        inputs: The example, flattened.

    Raises:
        InputError: For what is no dimension of an input.
    """
    if given is None:
        return (None,) * len(inputs)
    if isinstance(given, str):
        if given != AUTO:
            raise InputError(f"batch_dims={given!r}: expected 'auto', None, or one entry an input.")
        return default_batch_dims(inputs)
    dims = tuple(given)
    if len(dims) != len(inputs):
        raise InputError(f"batch_dims has {len(dims)} entries, the model takes {len(inputs)} inputs.")
    for i, (dim, x) in enumerate(zip(dims, inputs, strict=True)):
        if dim is not None and (not isinstance(x, Tensor) or not -x.dim() <= dim < x.dim()):
            raise InputError(f"batch_dims[{i}]={dim} is not a dimension of input {i} ({_shape(x)}).")
    return tuple(d + x.dim() if d is not None and d < 0 else d for d, x in zip(dims, inputs, strict=True))


def refuse_containers(inputs: Sequence[Any]) -> None:
    """Refuse by name what would fall apart, or cannot be detached, before inputs are looked at one by one."""
    for i, x in enumerate(inputs):
        if isinstance(x, PackedSequence):
            raise InputError(
                f"input {i} is a packed sequence, whose examples share steps. Give the padded sequences, and let the "
                "model pick each example's last step with a mask or torch.gather."
            )
        if isinstance(x, Tensor) and not x.is_meta and (what := unreadable(x)) is not None:
            raise InputError(f"input {i} is {what}.")  # a model on the device meta can be captured


def refuse_mapped(inputs: Sequence[Any]) -> None:
    """Refuse tensors inside of `torch.func.vmap`, whose elements nobody can look at.

    Raises:
        InputError: One is such a tensor.
    """
    if any([isinstance(x, Tensor) and is_batchedtensor(x) for x in inputs]):
        raise InputError(
            "bounds cannot be computed inside of torch.func.vmap: their checks look at values. The first dimension "
            "of the inputs runs over examples already; give all of them at once."
        )


def refuse_sharded(module: nn.Module) -> None:
    """Refuse a model of whose parameters this process holds only parts.

    Raises:
        InputError: Naming the first of them.
    """
    for path, parameter in module.named_parameters():
        if is_sharded(parameter):
            raise InputError(sharded_message(path))


def refuse_other_types(inputs: list[Any]) -> None:
    """Refuse tensors whose elements bounds cannot be computed of.

    Raises:
        InputError: For complex and for narrow types.
    """
    for i, x in enumerate(inputs):
        if not isinstance(x, Tensor):
            continue
        if x.is_complex() or (x.is_floating_point() and x.dtype not in (torch.float32, torch.float64)):
            raise InputError(
                f"input {i} has dtype {x.dtype}; bounds are computed in float32 or float64. Convert the model and "
                "its inputs with .float() or .double() first."
            )


def _shape(x: Any) -> str:
    return f"tensor of shape {list(x.shape)}" if isinstance(x, Tensor) else type(x).__name__


__all__ = ["AUTO", "batch_dims_of", "refuse_containers", "refuse_mapped", "refuse_other_types"]
