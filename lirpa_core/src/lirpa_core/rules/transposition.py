"""Generic evaluation and transposition of the part of an operator that is linear in one operand."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lirpa_core.devices import ran_out_of_memory
from lirpa_core.errors import UnsupportedOperandError
from lirpa_core.graph import Shape
from lirpa_core.linear.operators import LinearOp
from lirpa_core.rules.call import Call, Const, Slot


def linear_part(call: Call, slot: int, zeroed: Collection[str]) -> Call:
    """The call as a function of one operand alone, without its constant term.

    Args:
        call: The whole call.
        slot: The operand that stays free; it becomes slot 0 of the result.
        zeroed: Argument names in which the operator is jointly affine: every other tensor there,
            perturbed or constant, is replaced by zero and every number by 0.

    Returns:
        A call with one slot.
    """

    def replace(value: Any, zero: bool) -> Any:
        if isinstance(value, Slot):
            if value.index == slot:
                return Slot(0)
            shape = call.shapes[value.index]
            return Const(torch.zeros(shape, dtype=call.slot_dtype(value.index), device=device))
        if isinstance(value, Const) and zero:
            shape = value.value.shape[1:] if value.batched else value.value.shape
            return Const(value.value.new_zeros(shape))
        if isinstance(value, tuple):
            return tuple(replace(item, zero) for item in value)
        if zero and isinstance(value, (int, float)) and not isinstance(value, bool):
            return 0
        return value

    device = call.device
    arguments = {name: replace(value, name in zeroed) for name, value in call.arguments.items()}
    return dataclasses.replace(
        call,
        arguments=arguments,
        operands=(call.operands[slot],),
        shapes=(call.shapes[slot],),
        dtypes=(call.slot_dtype(slot),),
    )


@dataclass(frozen=True, eq=False)
class CallOp(LinearOp):
    """A call that is linear in its only slot as an operator, by `vmap` of the operator and its VJP.

    Attributes:
        call: As `linear_part` gives it.
        absolute: The same call with coefficients that are the absolute values of its own.
    """

    call: Call
    absolute: Call

    @property
    def in_shape(self) -> Shape:
        return self.call.shapes[0]

    @property
    def out_shape(self) -> Shape:
        return self.call.shape

    @property
    def key(self) -> Any:
        return self.call.node.target

    def apply(self, x: Tensor, lead: int = 1) -> Tensor:
        return self.call.evaluate([x], lead)

    def apply_abs(self, x: Tensor, lead: int = 1) -> Tensor:
        return self.absolute.evaluate([x], lead)

    def transpose(self, A: Tensor) -> Tensor:
        return transpose(self.call, A)


def transpose(call: Call, A: Tensor) -> Tensor:
    """Backpropagate coefficients through a call that is linear in its only slot, by `vmap` of its VJP.

    Args:
        call: As `linear_part` gives it.
        A: `[R, B, *S_out]`.

    Returns:
        `[R, B, *S_in]`.

    Raises:
        UnsupportedOperandError: Where a custom operator has no derivative.
    """
    if _is_custom(call.node.target):
        return _transpose_custom(call, A)
    zero = A.new_zeros(call.shapes[0])
    constants = [c.value for c in call.constants]

    def backpropagated(a: Tensor, *values: Tensor) -> Tensor:
        pullback: Callable[[Tensor], tuple[Tensor]] = torch.func.vjp(
            lambda x: call.function((x,), values), zero
        )[1]
        return pullback(a)[0]

    if not call.has_batched_constants:
        in_dims = (0,) + (None,) * len(constants)
        flat = torch.vmap(backpropagated, in_dims=in_dims)(A.flatten(0, 1), *constants)
        return flat.reshape(*A.shape[:2], *call.shapes[0])
    batch = max([A.shape[1], *(c.value.shape[0] for c in call.constants if c.batched)])
    A = A.expand(-1, batch, *A.shape[2:])
    values = [c.value.expand(batch, *c.value.shape[1:]) if c.batched else c.value for c in call.constants]
    inner = torch.vmap(backpropagated, in_dims=(0, *(0 if c.batched else None for c in call.constants)))
    outer: Callable[..., Tensor] = torch.vmap(inner, in_dims=(0,) + (None,) * len(values))
    return outer(A, *values)


def _is_custom(target: Any) -> bool:
    """Whether it is an operator of somebody's library, whose derivative `torch.func` cannot transform."""
    return isinstance(target, torch._ops.OpOverload) and target.namespace not in ("aten", "prims")


def _transpose_custom(call: Call, A: Tensor) -> Tensor:
    """`transpose` by autograd, which is all that `torch.library.register_autograd` promises."""
    batch = max([A.shape[1], *(c.value.shape[0] for c in call.constants if c.batched)])
    A = A.expand(-1, batch, *A.shape[2:])
    x = A.new_zeros(*A.shape[:2], *call.shapes[0]).requires_grad_()  # [R, B, *S_in]
    with torch.enable_grad():
        y = call.evaluate([x], 2)  # [R, B, *S_out]
    try:
        (back,) = torch.autograd.grad(y, x, A, create_graph=torch.is_grad_enabled())
    except RuntimeError as error:
        if ran_out_of_memory(error):
            raise
        raise UnsupportedOperandError(
            f"{call}: linear bounds go backward through the derivative of {call.node.target}, and it has none: "
            f"{error}. Give it one by torch.library.register_autograd, or give its rule `operator` or `native`."
        ) from error
    return back
