"""What a captured graph takes for granted about a model, besides the code of its modules."""

from __future__ import annotations

from collections.abc import Hashable
from itertools import chain

from torch import nn


def structure_of(model: nn.Module) -> Hashable:
    """The model's modules, their modes, and which names share one tensor.

    A graph captured while this was equal still is the model's; otherwise a module has been exchanged or
    has changed its mode, or tensors have been tied or untied, and the model has to be captured anew.
    """
    modules = tuple((id(m), type(m), m.training) for m in model.modules())
    names: dict[int, list[str]] = {}
    tensors = (model.named_parameters(remove_duplicate=False), model.named_buffers(remove_duplicate=False))
    for name, tensor in chain(*tensors):
        names.setdefault(id(tensor), []).append(name)
    return modules, tuple(tuple(shared) for shared in names.values() if len(shared) > 1)
