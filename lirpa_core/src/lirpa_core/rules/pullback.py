"""Products with a transposed Jacobian, without the seconds that importing PyTorch's compiler takes.

The function that `torch.func.vjp` returns imports `torch._dynamo` when it is first called, which takes as long as
importing PyTorch; `torch.autograd.grad` imports sympy where it is given the tensor to multiply with. Both go backward from
a number as well, whose own derivative is that tensor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lirpa_core.devices import is_traced


def pulled_back(f: Callable[[Tensor], Tensor], x: Tensor, a: Tensor) -> Tensor:
    """The product of a tensor with the Jacobian of a function at a point.

    Where gradients are enabled, the result can be differentiated with respect to all that `f`, `x` and `a` depend on.

    Args:
        f: The function.
        x: The point.
        a: The tensor, in the shape of `f(x)`.

    Returns:
        `Σ_i a_i · ∂f_i/∂x`, in the shape of `x`.
    """
    if is_traced() or torch._C._functorch.maybe_current_level() is not None:  # there is no public way to ask
        return _by_transform(f, x, a)
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        leaf = x.view_as(x) if again and x.requires_grad else x.detach().requires_grad_()
        total: Tensor = _Weighted.apply(f(leaf), a)  # type: ignore[no-untyped-call]
    if not total.requires_grad:  # in inference mode, inside of an operator's own kernel, or of a constant
        return _by_transform(f, x, a)
    (found,) = torch.autograd.grad(total, leaf, create_graph=again, materialize_grads=True)
    return found


def _by_transform(f: Callable[[Tensor], Tensor], x: Tensor, a: Tensor) -> Tensor:
    product: Callable[[Tensor], tuple[Tensor]] = torch.func.vjp(f, x)[1]
    return product(a)[0]


class _Weighted(torch.autograd.Function):
    """A number, and a tensor as its derivative with respect to another: that of `(y * a).sum()`, which is not computed."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, a: Tensor) -> Tensor:
        ctx.save_for_backward(a)
        return y.new_zeros(())

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[Tensor, None]:
        (a,) = ctx.saved_tensors
        return a, None
