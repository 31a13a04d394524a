"""`jacobian`: bounds of the derivative of whatever can be bounded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.utils import _pytree as pytree  # the public torch.utils.pytree is not in all supported versions

from lirpa_core.api.bounded_module import BoundedModule
from lirpa_core.api.jacobian.bounds import JacobianBounds
from lirpa_core.api.jacobian.compute import derivative_bounds
from lirpa_core.capture.captured_model import without_set
from lirpa_core.methods.base import Method


def jacobian(
    model: object,
    x: Any,
    *,
    method: str | Method = "CROWN",
    kwargs: Mapping[str, Any] | None = None,
    wrt: int = 0,
    output: int = 0,
    bound_opts: Mapping[str, Any] | None = None,
    **bounding: Any,
) -> JacobianBounds:
    """Bounds `[B, O, I]` of the derivative of a model's output with respect to an input, over the sets of the inputs.

    The derivative is that of the value that `forward` computes: what it hides from autograd, by `detach()`, `no_grad()` or a
    `torch.autograd.Function` with a gradient of its own, is differentiated too.

    Args:
        model: A `BoundedModule`, which keeps the derivative for the next call, or whatever it can be made of.
        x: The inputs, the perturbed ones as `BoundedTensor`; one input need not be a tuple.
        method: As for `compute_bounds`.
        kwargs: Keyword inputs.
        wrt: With respect to which input, counting positional ones and then keyword ones.
        output: Of which output.
        bound_opts: Options of a model that is not a `BoundedModule` yet.
        bounding: More keywords of `compute_bounds`.

    Raises:
        InputError: If there is no such input or output, or the model has no batch dimension.
        TrainingModeError: If the model takes statistics or masks from its batch.
        LirpaError: As `BoundedModule` and `compute_bounds`.

    Example:
        >>> import torch
        >>> from lirpa_core import BoundedTensor, PerturbationLpNorm
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 3))
        >>> x = BoundedTensor(torch.zeros(4, 2), PerturbationLpNorm(eps=0.1))
        >>> found = jacobian(model, x)
        >>> found.lower.shape, found.lipschitz(2).shape
        (torch.Size([4, 3, 2]), torch.Size([4]))
    """
    if not isinstance(model, BoundedModule):
        example = x if isinstance(x, (tuple, list)) else (x,)
        plain, plain_kwargs = pytree.tree_map_only(Tensor, without_set, (tuple(example), dict(kwargs or {})))
        model = BoundedModule(model, plain, bound_opts, kwargs=plain_kwargs)
    return derivative_bounds(
        BoundedModule, model, x, method=method, kwargs=kwargs, wrt=wrt, output=output, **bounding
    )
