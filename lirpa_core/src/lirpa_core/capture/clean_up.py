"""Clean-up of a freshly exported node list: no-ops and repetitions out, getitem folded, equal factors squared."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lirpa_core.capture.repetitions import identity
from lirpa_core.graph import Argument, Node, NodeKind, Ref, paths_of
from lirpa_core.rules.leaf_modules import LeafModule
from lirpa_core.rules.precision import is_narrower

aten = torch.ops.aten


def _always(values: Mapping[str, Any]) -> bool:
    return True


def _in_eval(values: Mapping[str, Any]) -> bool:
    return not values.get("train", False) or values.get("p", 1) == 0


#: Operators that return their first argument unchanged, with the condition under which they do.
NO_OPS: Mapping[Any, Callable[[Mapping[str, Any]], bool]] = {
    aten.clone.default: _always,
    aten.detach.default: _always,
    aten.detach_.default: _always,
    aten.alias.default: _always,
    aten.contiguous.default: _always,
    aten.lift_fresh_copy.default: _always,
    aten.dropout.default: _in_eval,
    aten.feature_dropout.default: _in_eval,
    aten.alpha_dropout.default: _in_eval,
    aten.feature_alpha_dropout.default: _in_eval,
}


def does_nothing(target: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether a call of an operator returns its first argument, so that `clean` takes it out."""
    if target not in NO_OPS:
        return False
    names = [argument.name for argument in target._schema.arguments]  # no public name for it
    return NO_OPS[target]({**dict(zip(names, args, strict=False)), **kwargs})


def _number(name: str, number: float) -> Callable[[Mapping[str, Any]], bool]:
    """Whether an argument is this number, written in the code."""

    def is_it(values: Mapping[str, Any]) -> bool:
        return isinstance(values.get(name), int | float) and values[name] == number

    return is_it


#: Products with one and sums with zero, which round nothing and would be charged as if they did.
IDENTITIES: Mapping[Any, Callable[[Mapping[str, Any]], bool]] = {
    aten.mul.Tensor: _number("other", 1),
    aten.mul.Scalar: _number("other", 1),
    aten.div.Tensor: _number("other", 1),
    aten.div.Scalar: _number("other", 1),
    aten.add.Tensor: _number("other", 0),
    aten.add.Scalar: _number("other", 0),
    aten.sub.Tensor: _number("other", 0),
    aten.sub.Scalar: _number("other", 0),
    aten.pow.Tensor_Scalar: _number("exponent", 1),
}

#: Conversions, which do nothing where element type and device stay.
CONVERSIONS = frozenset(
    {
        aten._to_copy.default,
        aten.to.dtype,
        aten.to.device,
        aten.to.dtype_layout,
        aten.to.other,
        aten.type_as.default,
    }
)


def clean(
    nodes: Sequence[Node],
    outputs: Sequence[str | None],
    fusions: Mapping[Any, Callable[[Node, Mapping[str, Node]], Node | None]] | None = None,
    *,
    merge: bool = True,
    constants: Mapping[str, Tensor] | None = None,
) -> tuple[tuple[Node, ...], tuple[str | None, ...], dict[str, str]]:
    """Fold and drop what carries no mathematics; keep the order.

    Args:
        nodes: Nodes in topological order, multi-output operators still with `getitem` behind them.
        outputs: Names of the graph's outputs.
        fusions: By operator, what may make another operator of a node and of what it reads.
        merge: Whether nodes that compute the same become one.
        constants: Tensors that capture lifted out of the code, by path.

    Returns:
        The nodes that the outputs need (leaves always stay), the outputs' names after renaming, and the node that each module of
        the model ends in.
    """
    by_name: dict[str, Node] = {}
    alias: dict[str, str] = {}
    known: dict[Any, str] = {}
    for raw in nodes:
        node = _rename(raw, alias)
        source = _same_as(node, by_name)
        if source is not None:
            alias[node.name] = source
            continue
        node = _reshape(_square(_fold_getitem(node, by_name)))
        key = identity(node, constants or {}) if merge else None
        if key is not None and key in known:
            alias[node.name] = known[key]
            continue
        if key is not None:
            known[key] = node.name
        # A fused rule is about real numbers: in a narrow type each operator rounds by itself.
        fuse = None if is_narrower(node.dtype, torch.float32) else (fusions or {}).get(node.target)
        by_name[node.name] = (fuse(node, by_name) or node) if fuse is not None else node
    renamed = tuple(None if o is None else alias.get(o, o) for o in outputs)
    alive = _alive(by_name, renamed)
    return alive, renamed, _ends(nodes, alias, {node.name for node in alive})


def _ends(nodes: Sequence[Node], alias: Mapping[str, str], alive: Collection[str]) -> dict[str, str]:
    """The node that a module of the model ends in, by the module's path."""
    last: dict[str, str] = {}
    for node in nodes:
        name = alias.get(node.name, node.name)
        if node.kind is NodeKind.OPERATOR and name in alive:
            last.update(dict.fromkeys(paths_of(node), name))
    return last


def _rename(node: Node, alias: Mapping[str, str]) -> Node:
    def walk(value: Any) -> Any:
        if isinstance(value, Ref):
            return Ref(alias.get(value.name, value.name))
        if isinstance(value, tuple):
            return tuple(walk(v) for v in value)
        return value

    arguments = tuple(dataclasses.replace(a, value=walk(a.value)) for a in node.arguments)
    return dataclasses.replace(node, arguments=arguments)


def _same_as(node: Node, by_name: Mapping[str, Node]) -> str | None:
    """Name of the node that `node` merely repeats."""
    if node.kind is not NodeKind.OPERATOR or not node.inputs:
        return None
    source = by_name.get(node.inputs[0])
    if source is None or source.dtype != node.dtype or source.shape != node.shape:
        return None
    condition = NO_OPS.get(node.target) or IDENTITIES.get(node.target)
    if condition is not None and condition({a.name: a.value for a in node.arguments}):
        return source.name
    return source.name if node.target in CONVERSIONS else None


def _fold_getitem(node: Node, by_name: Mapping[str, Node]) -> Node:
    """`getitem(split(x), 1)` becomes output 1 of `split(x)`, a node of its own."""
    if node.target is not operator.getitem:
        return node
    source, index = (a.value for a in node.arguments)
    producer = by_name[source.name]
    only = isinstance(producer.target, LeafModule) and producer.target.single
    return dataclasses.replace(
        node,
        target=producer.target,
        arguments=producer.arguments,
        output=None if only else index,
        source=producer.source,
    )


def _square(node: Node) -> Node:
    """`x * x` becomes `x²`, which has exact bounds where a product of unrelated factors has not."""
    if node.target is aten.mul.Tensor and len(node.inputs) == 2 and node.inputs[0] == node.inputs[1]:
        arguments = (Argument("self", Ref(node.inputs[0])), Argument("exponent", 2))
        return dataclasses.replace(node, target=aten.pow.Tensor_Scalar, arguments=arguments)
    return node


def _reshape(node: Node) -> Node:
    """`view` becomes `reshape`: without the `clone` before it, its operand may have any strides."""
    if node.target not in (aten.view.default, aten._unsafe_view.default):
        return node
    source, size = (a.value for a in node.arguments)
    arguments = (Argument("self", source), Argument("shape", size))
    return dataclasses.replace(node, target=aten.reshape.default, arguments=arguments)


def _alive(by_name: Mapping[str, Node], outputs: Sequence[str | None]) -> tuple[Node, ...]:
    needed = {o for o in outputs if o is not None}
    for node in reversed(list(by_name.values())):
        if node.name in needed:
            needed.update(node.inputs)
    return tuple(n for n in by_name.values() if n.name in needed or n.kind is NodeKind.INPUT)
