"""Chains of PyTorch's own layers, read layer by layer: what `torch.export` gives, without the seconds that importing it takes.

`torch.export` imports PyTorch's compiler, which takes longer than PyTorch itself. An `nn.Sequential` of layers that are in the
table has no code that anybody wrote: it has no branches, and which operator each layer calls is known. The model is run beside these
operators and has to do the very same, with the same numbers: a program may have given PyTorch's classes and functions other code, which
shows in what runs also where the example's numbers do not show it. Whatever is met that the table does not hold is left to `torch.export`.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Graph, Node

from lirpa_core.capture.hooks import HOOKS_OF_ALL
from lirpa_core.capture.layers import OperatorCall, called_by
from lirpa_core.capture.observed import Compared, Observed, same_numbers
from lirpa_core.capture.recording import Recorded, as_program
from lirpa_core.plugins.reader import CaptureRules
from lirpa_core.rules.leaf_modules import LeafModule


def chained(
    model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], registry: CaptureRules
) -> Recorded | None:
    """The program of a chain of layers.

    Args:
        model: Any model.
        args: Positional inputs of one example.
        kwargs: Keyword inputs.
        registry: Which classes and functions are kept in one piece.

    Returns:
        The program; None where the model is not such a chain.
    """
    if kwargs or len(args) != 1 or type(args[0]) is not Tensor or args[0].is_meta:
        return None
    layers = list(_layers("", model))
    if not _ordinary(model, layers) or _kept_whole(layers, registry):
        return None
    calls = [None if type(layer) is nn.Identity else called_by(layer) for _, layer in layers]
    if any(
        call is None and type(layer) is not nn.Identity
        for call, (_, layer) in zip(calls, layers, strict=True)
    ):
        return None
    return _program(model, args[0], [(*both, call) for both, call in zip(layers, calls, strict=True) if call])


def _layers(path: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """What a nest of chains runs, in order, with paths."""
    if type(module) is not nn.Sequential:
        yield path, module
        return
    # `named_children` leaves out what occurs again.
    for name, inner in zip(module._modules, module, strict=True):
        yield from _layers(f"{path}.{name}" if path else name, inner)


def _ordinary(model: nn.Module, layers: list[tuple[str, nn.Module]]) -> bool:
    """Whether modules do what their classes say, each once, on tensors of their own."""
    if any(HOOKS_OF_ALL):
        return False
    chains = [module for module in model.modules() if type(module) is nn.Sequential]
    # A layer that occurs twice, or that has others in it.
    if len(list(model.modules())) != len(chains) + len(layers):
        return False
    if any(type(chain).forward.__module__ != nn.Sequential.__module__ for chain in chains):
        return False
    for module in model.modules():
        # No public names exist for a module's hooks.
        if module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module):
            return False
    tensors = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    if len({id(tensor) for _, tensor in tensors}) != len(tensors):
        return False
    return all(type(t) in (nn.Parameter, Tensor) and not t.is_meta for _, t in tensors)


def _kept_whole(layers: list[tuple[str, nn.Module]], registry: CaptureRules) -> bool:
    """Whether a registry has a rule for a layer, or for a function of PyTorch that one may call."""
    of_torch = (
        isinstance(key, FunctionType) and key.__module__.partition(".")[0] == "torch"
        for key in registry.leaf_modules
    )
    return any(of_torch) or any(registry.rule_for(LeafModule.of(layer)) is not None for _, layer in layers)


def _program(
    model: nn.Module, x: Tensor, layers: list[tuple[str, nn.Module, OperatorCall]]
) -> Recorded | None:
    """The graph, with the names that `torch.export` gives; None where the model does something else."""
    graph = Graph()
    given: list[tuple[str, Node, str | None]] = []
    made: dict[str | None, Node] = {}
    (name,) = list(inspect.signature(model.forward).parameters)[:1]
    leaves: list[tuple[str, str, str | None, Tensor]] = [
        *(("PARAMETER", f"p_{_flat(path)}", path, p) for path, p in model.named_parameters()),
        *(("BUFFER", f"b_{_flat(path)}", path, b) for path, b in model.named_buffers()),
        ("USER_INPUT", name, None, x),
    ]
    for kind, called, path, tensor in leaves:
        node = graph.placeholder(called)
        node.name = called  # which users know, also where it is a builtin's
        node.meta["val"] = tensor.detach()
        made[path] = node
        given.append((kind, node, path))
    last, observed = made[None], Observed()
    for path, layer, call in layers:
        before = f"{path}." if path else ""
        arguments = (last, *(made[before + t] if t else None for t in call.tensors), *call.rest)
        node = graph.create_node("call_function", call.target, arguments, name=call.target._schema.name[6:])
        node.meta["nn_module_stack"] = {path: (path, type(layer))}
        values = _copies(arguments)
        with torch.no_grad(), observed:
            node.meta["val"] = call.target(*values)
        last = node
    if not _does(model, x, observed, last.meta["val"]):
        return None
    graph.output((last,))
    return as_program(graph, given, [last])


def _flat(path: str) -> str:
    return path.replace(".", "_")


def _copies(arguments: tuple[Any, ...]) -> list[Any]:
    """Arguments by value; what the operator may write into is a copy."""
    first, *rest = arguments
    return [first.meta["val"].clone(), *(a.meta["val"] if isinstance(a, Node) else a for a in rest)]


def _does(model: nn.Module, x: Tensor, observed: Observed, value: Any) -> bool:
    """Whether a model runs the operators that have been run, and gives the same."""
    copy, compared = x.detach().clone(), Compared(observed.runs)
    with torch.no_grad(), compared:
        result = model(copy)
    return compared.is_same and type(result) is Tensor and same_numbers(value, result)


__all__ = ["chained"]
