"""Networks of float32 as they are, with bounds in float64.

A copy of a module in float64 computes another function: `0.1 * x` multiplies by the number of float64 next to a tenth, which is
1.5e-9 away from what the kernel of float32 takes it for; what is computed from weights alone is rounded to another type; and
`x.to(self.weight.dtype)` no longer rounds to a type of 16 bits. So the module itself is captured, in its own type, and the
numbers of its graph are then written in float64, which has all of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree  # the public torch.utils.pytree is not in all supported versions

from lirpa_core.capture import ModuleReader
from lirpa_core.graph import Graph, Node, NodeKind
from lirpa_core.plugins import CaptureRules, LiveModel
from lirpa_core.problem import evaluate_node
from lirpa_core.rules import Const

_WIDE: Final = {torch.float32: torch.float64, torch.complex64: torch.complex128}


@dataclass(frozen=True, eq=False)
class Widened:
    """A source for `BoundedModule`, which is then given inputs of float64.

    Attributes:
        live: A module that takes inputs of float32. Its weights are written in float64 when it is captured, and the module is
            captured anew once one of them has changed.
    """

    live: LiveModel


class WidenedReader(ModuleReader):
    """Reads a module of float32 whose bounds are to be computed in float64."""

    name = "widened module"
    summary = "a lirpa_verify.widened.Widened, a module of float32 to be bounded in float64"

    def accepts(self, source: object) -> bool:
        return isinstance(source, Widened)

    def open(self, source: Any) -> LiveModel:
        live: LiveModel = source.live
        return dataclasses.replace(live, module=_InOwnType(live.module))

    def graph(
        self,
        live: LiveModel,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        registry: CaptureRules,
        batch_dims: Sequence[int | None] | str | None,
    ) -> Graph:
        assert isinstance(live.module, _InOwnType)
        module = live.module.module
        args, kwargs = pytree.tree_map_only(Tensor, _narrowed, (args, dict(kwargs)))
        own = dataclasses.replace(live, module=module)
        return widened(super().graph(own, args, kwargs, registry, batch_dims), module)


def widened(graph: Graph, module: nn.Module) -> Graph:
    """A graph of float32 in float64, its constants as PyTorch computes them in float32.

    Args:
        graph: The graph, captured with inputs of float32.
        module: The module that it was captured of.
    """
    with torch.no_grad():
        constants: dict[str, Const] = {}
        for node in graph.nodes:
            if node.kind in (NodeKind.PARAMETER, NodeKind.BUFFER):
                owner, _, name = node.path.rpartition(".")
                constants[node.name] = Const(getattr(module.get_submodule(owner), name))
            elif node.kind is NodeKind.CONSTANT:
                constants[node.name] = Const(graph.constants[node.path])
            elif node.kind is NodeKind.OPERATOR and all(name in constants for name in node.inputs):
                constants[node.name] = evaluate_node(node, constants)
    return dataclasses.replace(
        graph,
        nodes=tuple([_constant(node) if node.name in constants else _operator(node) for node in graph.nodes]),
        constants={name: _wide(const) for name, const in constants.items()},
        # All weights are numbers of the graph now, so it holds as long as they do.
        specialized=(*graph.specialized, *graph.constants.values(), *module.parameters(), *module.buffers()),
    )


def _constant(node: Node) -> Node:
    return Node(
        node.name,
        NodeKind.CONSTANT,
        node.shape,
        _WIDE.get(node.dtype, node.dtype),
        path=node.name,
        source=node.source,
        origin=node.origin,
    )


def _operator(node: Node) -> Node:
    """The same operator or input in float64; conversions to float32 are to float64."""

    def wide(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple([wide(v) for v in value])
        return _WIDE.get(value, value) if isinstance(value, torch.dtype) else value

    arguments = tuple([dataclasses.replace(a, value=wide(a.value)) for a in node.arguments])
    return dataclasses.replace(node, dtype=_WIDE.get(node.dtype, node.dtype), arguments=arguments)


def _wide(const: Const) -> Tensor:
    value = const.value.detach()
    return value.to(_WIDE.get(value.dtype, value.dtype))


def _narrowed(x: Tensor) -> Tensor:
    return x.float() if x.dtype is torch.float64 else x


class _InOwnType(nn.Module):
    """A module of float32 that is given inputs of float64."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.training = False

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the module on the inputs in its own type."""
        args, kwargs = pytree.tree_map_only(Tensor, _narrowed, (args, kwargs))
        return self.module(*args, **kwargs)
