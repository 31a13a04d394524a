"""Which package is known to bring a rule for an operator, and the error for one that has none."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Final

from lirpa_core.graph import Node, Shape, iter_refs
from lirpa_core.plugins.registry import Registry

#: Patterns of ATen operator names, without namespace and overload, by the distribution that has their
#: rules. The first pattern that matches counts.
PROVIDERS: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    (
        "lirpa-ops-vision",
        (
            "convolution*",
            "_convolution*",
            "conv[123]d",
            "conv_transpose[123]d",
            "max_pool[123]d*",
            "avg_pool[123]d",
            "adaptive_avg_pool[123]d",
            "_adaptive_avg_pool[23]d",
            "adaptive_max_pool[123]d",
            "batch_norm",
            "native_batch_norm",
            "_native_batch_norm_legit*",
            "_batch_norm_*",
            "cudnn_batch_norm",
            "group_norm",
            "native_group_norm",
            "instance_norm",
            "upsample_*",
            "_upsample_*",
            "pixel_shuffle",
            "pixel_unshuffle",
        ),
    ),
    (
        "lirpa-ops-nlp",
        (
            "softmax",
            "_softmax",
            "_safe_softmax",
            "log_softmax",
            "_log_softmax",
            "layer_norm",
            "native_layer_norm",
            "rms_norm",
            "scaled_dot_product_attention",
            "_scaled_dot_product_*",
            "_native_multi_head_attention",
            "embedding",
            "embedding_bag",
            "_embedding_bag*",
            "lstm",
            "lstm_cell",
            "gru",
            "gru_cell",
            "rnn_tanh",
            "rnn_relu",
            "rnn_tanh_cell",
            "rnn_relu_cell",
            "mkldnn_rnn_layer",
            "_thnn_fused_*_cell",
        ),
    ),
)


def provider_of(op: object) -> str | None:
    """The distribution known to have a rule for an operator, or None.

    Args:
        op: An operator, or its name such as `"aten.convolution.default"` or `"aten::convolution"`.
    """
    namespace, _, rest = str(op).replace("::", ".").partition(".")
    name = rest.partition(".")[0]
    if namespace != "aten":
        return None
    for distribution, patterns in PROVIDERS:
        if any(fnmatchcase(name, pattern) for pattern in patterns):
            return distribution
    return None


def unsupported_message(node: Node, registry: Registry, shapes: Sequence[Shape] = ()) -> str:
    """What to tell a user whose model has an operator without a rule.

    Args:
        node: The operator's node.
        registry: The registry that was asked.
        shapes: Shapes of the nodes that this one reads, in the order of `node.inputs`.
    """
    lines = [
        f"no rule for operator {node.target}",
        f"  at: {node.source}",
        f"  argument shapes: {_shapes(node, shapes)}",
        f"  provider: {advice(node.target, registry)}",
        "  to register a rule of your own for one model:",
        f"    registry = lirpa_core.plugins.default_registry().with_rules({{{str(node.target)!r}: rule}})",
        "    BoundedModule(model, example, registry=registry)",
    ]
    return "\n".join(lines)


def advice(op: object, registry: Registry) -> str:
    """Which package has a rule for an operator that has none, and what to do about it."""
    distribution = provider_of(op)
    if distribution is None:
        return "none known"
    for failure in registry.failures:
        if failure.distribution == distribution:
            return f"{distribution}, which is installed but broken: {failure.message}"
    for info in registry.disabled:
        if info.distribution == distribution:
            return f"{distribution}, which is installed but disabled (plugin '{info.name}')"
    for info in registry.plugins:
        if info.distribution == distribution:
            return (
                f"{distribution}, whose version {info.version} is installed but has no rule for it; "
                f"a newer one may: pip install --upgrade {distribution}"
            )
    return f"{distribution}: pip install {distribution}"


def _shapes(node: Node, shapes: Sequence[Shape]) -> str:
    names = [argument.name for argument in node.arguments for _ in iter_refs(argument.value)]
    if not shapes:
        return "unknown"
    if len(names) != len(shapes):
        return ", ".join(str(list(shape)) for shape in shapes)
    return ", ".join(f"{name} {list(shape)}" for name, shape in zip(names, shapes, strict=True))
