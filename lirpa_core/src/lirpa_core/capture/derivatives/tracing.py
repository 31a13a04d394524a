"""Traces a model that differentiates to plain operators, before `torch.export` sees it.

`torch.export` looks at a model above its derivatives, and has no operators for them. `make_fx` looks below: what it records
are the operators that compute the derivatives. It runs on tensors without values, so that a number or a branch that depends
on values is refused here as it is in an export. The parameters are inputs of the trace.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils import _pytree as pytree  # the public torch.utils.pytree is not in all supported versions
from torch.utils._python_dispatch import TorchDispatchMode  # there is no public way to see operators

from lirpa_core.capture.derivatives.activations import DifferentiableActivations
from lirpa_core.capture.derivatives.noticing import Noticed
from lirpa_core.capture.derivatives.pooling import refuse_other_operands
from lirpa_core.capture.derivatives.running import requiring_grad
from lirpa_core.capture.quiet import quiet
from lirpa_core.capture.refusals import refusal
from lirpa_core.devices import agreeing_switches
from lirpa_core.errors import LirpaError


class _WithZeros(TorchDispatchMode):
    """While this is open, tangents that are zero are zeros: PyTorch's own kind cannot be combined with tensors without values."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is torch.ops.aten._efficientzerotensor.default:
            func = torch.ops.aten.zeros.default
        return func(*args, **(kwargs or {}))


@contextmanager
def traced(
    model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], noticed: Noticed
) -> Iterator[None]:
    """While this is open, the model's `forward` runs the operators that it was traced to.

    Args:
        model: The model; it is as before afterwards.
        args: Positional inputs of one example.
        kwargs: Keyword inputs of one example.
        noticed: How the model computes its value.

    Raises:
        CaptureError: If the model cannot be traced; a `DataDependentBranchError` where it asks for a value.
    """
    program, spec = _trace(model, args, kwargs, noticed)
    forward, own = model.forward, vars(model).get("forward")

    @functools.wraps(forward)
    def run(*args: Any, **kwargs: Any) -> Any:
        inputs = pytree.tree_leaves((_state(model), args, kwargs))
        with torch.fx.traceback.preserve_node_meta():
            return pytree.tree_unflatten(torch.fx.Interpreter(program).run(*inputs), spec)

    model.forward = run
    try:
        yield
    finally:
        if own is None:
            del model.forward
        else:
            model.forward = own


def _trace(
    model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], noticed: Noticed
) -> tuple[torch.fx.GraphModule, pytree.TreeSpec]:
    """The operators of a model as a function of its state and inputs, flattened, and the structure of its output."""
    from torch.fx.experimental.proxy_tensor import make_fx  # imported where it is used, as torch.export is

    inputs = (args, dict(kwargs))
    if noticed.recorded:
        inputs = pytree.tree_map_only(Tensor, requiring_grad, inputs)
    leaves, spec = pytree.tree_flatten((_state(model), *inputs))
    found: list[pytree.TreeSpec] = []

    def function(*leaves: Any) -> Any:
        state, args, kwargs = pytree.tree_unflatten(list(leaves), spec)
        with DifferentiableActivations(), _WithZeros():  # type: ignore[no-untyped-call]
            output, structure = pytree.tree_flatten(torch.func.functional_call(model, state, args, kwargs))
        found.append(structure)
        return output

    grad = torch.enable_grad() if noticed.recorded else torch.no_grad()
    # The fused kernels of attention have derivatives of their own, which nothing is known of.
    with (
        grad,
        _attributes_kept(model),
        _levels_closed(),
        sdpa_kernel(SDPBackend.MATH),
        quiet(),
        agreeing_switches(),
    ):
        tracer = make_fx(function, tracing_mode="fake", _allow_non_fake_inputs=True, record_stack_traces=True)
        try:
            program = tracer(*leaves)
        except LirpaError:
            raise
        except Exception as error:  # noqa: BLE001  torch raises whatever its tracers raise
            raise refusal(error) from None
    program.graph.eliminate_dead_code()
    program.recompile()
    refuse_other_operands(program.graph)
    return program, found[-1]


def _state(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers as they are now."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


@contextmanager
def _attributes_kept(model: nn.Module) -> Iterator[None]:
    """Undo what a model assigns to attributes, which are tensors without values while it is traced."""
    before = [(table, dict(table)) for module in model.modules() for table in (vars(module), module._buffers)]
    try:
        yield
    finally:
        for table, held in before:
            if any(table.get(name) is not value for name, value in held.items()) or len(table) != len(held):
                table.clear()
                table.update(held)


@contextmanager
def _levels_closed() -> Iterator[None]:
    """Leave the levels of forward differentiation that a model entered and, because it is refused, did not exit."""
    before = forward_ad._current_level  # there is no public way to ask
    try:
        yield
    finally:
        while forward_ad._current_level > before:
            forward_ad.exit_dual_level()
