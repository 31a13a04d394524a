"""The proof that a captured graph is the model: it must reproduce the model's own outputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree  # the public torch.utils.pytree is not in all supported versions

from lirpa_core.capture.derivatives import run
from lirpa_core.capture.source import raised_at
from lirpa_core.errors import InputError, ReplayError
from lirpa_core.graph import Graph, NodeKind
from lirpa_core.problem.batching import (
    from_batch_first,
    output_batch_dim,
    second_batch,
    to_batch_first,
)
from lirpa_core.problem.evaluation import evaluate, parameter_leaves
from lirpa_core.rules.call import Const

#: Relative agreement asked of the replay: batched kernels may sum in another order.
_TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}

#: Where large numbers cancel on the way, a model may be so many times as far from exact arithmetic as its graph.
_NOISE = 16

#: The same for narrower types, in units of their distance from one to the next number.
_UNITS = 4


def replayed(graph: Graph, model: nn.Module, inputs: Sequence[Any], *, fixed_batch: bool = False) -> Graph:
    """Check the graph on the example and on a batch of another size.

    Args:
        graph: As exported, the structure and the batch dimensions of its output not known yet.
        model: The live model.
        inputs: The example, flattened.
        fixed_batch: The model cannot take another batch size: replay the example alone, and take the
            leading dimension of an output for its batch dimension.

    Returns:
        The graph with its output structure and batch dimensions filled in.

    Raises:
        ReplayError: If the model refuses another batch size, mixes examples, or disagrees.
    """
    leaves = parameter_leaves(graph, model)
    batched = any(dim is not None for dim in graph.input_batch_dims)
    batches = [tuple(inputs)]
    if batched and fixed_batch:
        dims = (0 if name is not None and graph[name].shape[:1] == (1,) else None for name in graph.outputs)
        graph = dataclasses.replace(graph, output_batch_dims=tuple(dims))
    elif batched:
        batches.append(second_batch(inputs, graph.input_batch_dims))
    for i, batch in enumerate(batches):
        expected, spec = _run_model(graph, model, batch, another=i > 0)
        graph = dataclasses.replace(graph, output_spec=spec)
        if batched and not fixed_batch:
            graph = _with_batch_dims(graph, expected, _size(graph, batch))
        _compare(graph, leaves, batch, expected)
    return graph


def input_leaves(graph: Graph, inputs: Sequence[Any]) -> dict[str, Const]:
    """Input nodes' values in batch-first layout."""
    found: dict[str, Const] = {}
    for name, x, dim in zip(graph.inputs, inputs, graph.input_batch_dims, strict=True):
        if isinstance(x, Tensor) and name in graph.by_name:
            found[name] = Const(x) if dim is None else Const(to_batch_first(x, dim), batched=True)
    return found


def _size(graph: Graph, inputs: Sequence[Any]) -> int:
    sizes = [x.shape[dim] for x, dim in zip(inputs, graph.input_batch_dims, strict=True) if dim is not None]
    return int(max(sizes))


def _run_model(
    graph: Graph, model: nn.Module, batch: Sequence[Any], *, another: bool
) -> tuple[list[Any], pytree.TreeSpec]:
    args, kwargs = pytree.tree_unflatten(list(batch), graph.input_spec)
    try:
        return pytree.tree_flatten(run(model, args, kwargs))
    except Exception as error:
        if not another:
            raise fails_by_itself(error, batch) from error
        raise other_batch_size(_size(graph, batch), error) from error


def fails_by_itself(error: Exception, inputs: Sequence[Any]) -> InputError:
    """The model's own error on its example inputs, with what was given and where it failed."""
    given = ", ".join(f"{describe(x)} and {x.dtype}" if isinstance(x, Tensor) else repr(x) for x in inputs)
    where = raised_at(error)
    text = str(error).strip().splitlines()
    return InputError(
        f"the model itself fails on the example input ({given}){f' at {where}' if where else ''}: "
        f"{type(error).__name__}: {text[0].rstrip('.') if text else ''}. Give an example that model(...) accepts."
    )


def describe(x: Any) -> str:
    """A tensor's shape, or a type's name."""
    return f"tensor of shape {list(x.shape)}" if isinstance(x, Tensor) else type(x).__name__


def other_batch_size(size: int, error: Exception) -> ReplayError:
    """The error of a model that runs on the example but not on another batch size."""
    where = raised_at(error)
    return ReplayError(
        f"the model runs on the example but not on a batch of {size}{f' (at {where})' if where else ''}: {error}. A "
        "bounded model must take any batch size. If its input is one example without a batch dimension, say so "
        "with BoundedModule(..., batch_dims=None); if some inputs are shared by all examples, name the batch "
        "dimension of each input with batch_dims=(0, None, ...)."
    )


def _with_batch_dims(graph: Graph, expected: Sequence[Any], n: int) -> Graph:
    dims: list[int | None] = []
    for i, (name, value) in enumerate(zip(graph.outputs, expected, strict=True)):
        if name is None:
            dims.append(None)
            continue
        try:
            found = output_batch_dim(graph[name].shape, value.shape, n)
        except ValueError as error:
            raise ReplayError(
                f"output {i} of the model does not keep its examples apart: {error}. Every output must have one "
                "dimension that grows with the batch; check for code that hard-codes or mixes the batch dimension."
            ) from error
        dims.append(found if n > 1 else graph.output_batch_dims[i])
    return dataclasses.replace(graph, output_batch_dims=tuple(dims))


def _compare(
    graph: Graph, leaves: Mapping[str, Const], batch: Sequence[Any], expected: Sequence[Any]
) -> None:
    with torch.no_grad():
        values = evaluate(graph.nodes, {**leaves, **input_leaves(graph, batch)})
    for i, (name, want) in enumerate(zip(graph.outputs, expected, strict=True)):
        if name is None:
            continue
        got = values[name]
        dim = graph.output_batch_dims[i]
        n = got.value.shape[0] if got.batched else 1
        if got.batched and dim is None and n == 1:
            result = got.value[0]
        elif got.batched and dim is None:
            raise ReplayError(_mixing(i, graph, "it does not grow with the batch"))
        else:
            result = from_batch_first(got.value, dim) if got.batched else got.value
        tolerance = _tolerance(graph, want.dtype)
        finite = want[torch.isfinite(want)] if want.is_floating_point() else want
        scale = float(finite.abs().max()) if finite.numel() and want.is_floating_point() else 0.0
        if result.shape != want.shape or not (
            torch.allclose(
                result.to(want.dtype), want, rtol=tolerance, atol=tolerance * scale, equal_nan=True
            )
            or _is_noise(graph, {**leaves, **input_leaves(graph, batch)}, name, dim, result, want)
        ):
            raise ReplayError(_mixing(i, graph, _difference(result, want)))


def _is_noise(
    graph: Graph, leaves: Mapping[str, Const], name: str, dim: int | None, result: Tensor, want: Tensor
) -> bool:
    """Whether the rounding of the graph's own evaluation is as large as its distance from the model."""
    if not want.is_floating_point():
        return False
    wide = {
        n: Const(c.value.double() if c.value.is_floating_point() else c.value, c.batched)
        for n, c in leaves.items()
    }
    try:
        with torch.no_grad():
            got = evaluate(graph.nodes, wide)[name]
    except RuntimeError:  # a graph that converts to a type of its own
        return False
    exact = from_batch_first(got.value, dim) if got.batched else got.value
    if exact.shape != want.shape:
        return False
    noise = float((result.double() - exact).abs().max())
    return float((want.double() - exact).abs().max()) <= _NOISE * noise


def _tolerance(graph: Graph, dtype: torch.dtype) -> float:
    """Relative agreement asked of an output: where a type with few digits is on the way, sums round differently."""
    if not dtype.is_floating_point:
        return 0.0
    inner = [n.dtype for n in graph.nodes if n.kind is NodeKind.OPERATOR and n.dtype.is_floating_point]
    few = [torch.finfo(d).eps for d in (*inner, dtype) if d not in _TOLERANCE]
    known = max([_TOLERANCE[d] for d in (*inner, dtype) if d in _TOLERANCE], default=0.0)
    return max([known, *[_UNITS * eps for eps in few]])


def _difference(result: Tensor, want: Tensor) -> str:
    if result.shape != want.shape:
        return f"shape {list(result.shape)} instead of {list(want.shape)}"
    return f"off by up to {float((result.double() - want.double()).abs().max()):.3g}"


def _mixing(i: int, graph: Graph, what: str) -> str:
    name = graph.outputs[i]
    assert name is not None
    return (
        f"the captured graph does not reproduce output {i} of the model ({what}); the output is {graph[name]}. "
        "Either the examples of a batch influence one another (a mean over the batch, say), or forward() reads "
        "state, random numbers or Python values that changed since capture. lirpa bounds every example by itself."
    )
