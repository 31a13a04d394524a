"""A network as verification needs it: a batched module, and the original to replay counterexamples on."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import torch
from torch import Tensor, nn

from lirpa_core import BoundedParameter
from lirpa_verify.errors import NetworkError

Shape: TypeAlias = tuple[int, ...]

#: From one example, a tensor `[*S]` for each input, to the flattened outputs `[K]`.
Original: TypeAlias = Callable[[Sequence[Tensor]], Tensor]

#: Layers that compute another function in training mode.
_OTHER_IN_TRAINING: Final = (nn.modules.batchnorm._NormBase, nn.modules.dropout._DropoutNd)


@dataclass(frozen=True, eq=False)
class Network:
    """A network with one number of examples in front of every input and output.

    Attributes:
        module: Takes a tensor `[B, *S]` for each input; gives `[B, K]`.
        shapes: The shape `S` of one example of each input.
        dtype: The type that the network computes in.
        original: What counterexamples are replayed on, in that type.
        outputs: Number of outputs, `K`.
        name: What messages call it.
        straight: Whether it runs the same operators whatever its inputs are (see `LiveModel`).
    """

    module: Flat
    shapes: tuple[Shape, ...]
    dtype: torch.dtype
    original: Original
    outputs: int
    name: str
    straight: bool = False

    @property
    def inputs(self) -> int:
        """Number of inputs, all tensors together."""
        return sum(math.prod(s) for s in self.shapes)

    def computing_in(self, dtype: torch.dtype) -> nn.Module:
        """A copy of the module that computes in a type, in evaluation mode, without gradients of weights."""
        return in_evaluation(copy.deepcopy(self.module).to(dtype)).requires_grad_(requires_grad=False)


def in_evaluation(module: nn.Module) -> nn.Module:
    """A module with every part marked as in evaluation mode; exported programs refuse `eval()`."""
    for part in module.modules():
        part.training = False
    return module


class Flat(nn.Module):
    """A module whose outputs are flattened and joined: `[B, K]`."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *inputs: Tensor) -> Tensor:
        """Run the module; its result may be a tensor, or a list or tuple of tensors."""
        found = self.module(*inputs)
        parts = found if isinstance(found, list | tuple) else [found]
        if len(parts) == 1:
            first: Tensor = parts[0]
            return first if first.dim() == 2 else first.flatten(1)
        return torch.cat([p.flatten(1) for p in parts], 1)


def refuse_non_finite(module: nn.Module, name: str) -> None:
    """Refuse weights that are NaN or infinite.

    Raises:
        NetworkError: Naming the tensor.
    """
    for key, value in (*module.named_parameters(), *module.named_buffers()):
        if value.is_floating_point() and not bool(value.isfinite().all()):
            count = int((~value.isfinite()).sum())
            raise NetworkError(
                f"{name}: {count} of the {value.numel()} values of '{key}' are NaN or infinite, so nothing "
                f"can be said about the network; check how it was saved"
            )


def from_module(model: nn.Module, inputs: Sequence[Tensor]) -> Network:
    """An ordinary module as a network.

    Args:
        model: Takes a batch for each input, in evaluation mode.
        inputs: An example batch of each input, `[B, *S]`.

    Raises:
        NetworkError: For a module of which any part is in training mode, inputs of another type than float32 or float64,
            weights that are not finite, or sets of weights.
    """
    name = type(model).__name__
    _refuse_training_mode(model, name)
    _refuse_other_types(inputs, name)
    _refuse_sets_of_weights(model, name)
    refuse_non_finite(model, name)
    flat = Flat(model)
    flat.training = False

    def original(example: Sequence[Tensor]) -> Tensor:
        with torch.no_grad():
            outputs: Tensor = flat(*(x.unsqueeze(0) for x in example))
        return outputs[0]

    first = original([x[0] for x in inputs])
    return Network(
        flat, tuple(tuple(x.shape[1:]) for x in inputs), inputs[0].dtype, original, first.numel(), name
    )


def _refuse_training_mode(model: nn.Module, name: str) -> None:
    parts = [
        path for path, part in model.named_modules() if part.training and isinstance(part, _OTHER_IN_TRAINING)
    ]
    if model.training or parts:
        which = name if model.training else f"{name}: {', '.join(map(repr, parts))}"
        raise NetworkError(f"{which} is in training mode; call model.eval() first")


def _refuse_other_types(inputs: Sequence[Tensor], name: str) -> None:
    """Of a network of 16 bits its rounding is a part; proofs are about real arithmetic."""
    types = {x.dtype for x in inputs if x.is_floating_point()} or {x.dtype for x in inputs}
    if len(types) != 1 or not types <= {torch.float32, torch.float64}:
        raise NetworkError(
            f"{name}: its inputs are of type {', '.join(sorted(map(str, types)))}; expected all torch.float32, or all torch.float64. "
            "Convert the model and its inputs with .float() or .double() first: what is proved is then about that model."
        )


def _refuse_sets_of_weights(model: nn.Module, name: str) -> None:
    moving = [path for path, value in model.named_parameters() if isinstance(value, BoundedParameter)]
    if moving:
        raise NetworkError(
            f"{name}: parameter '{moving[0]}' is perturbed, and only sets of inputs are verified; give the weight as a plain "
            "parameter, or bound the network by BoundedModule.compute_bounds"
        )
