"""Refusal of modules whose training mode makes the output random or mixes examples, beyond what can be fixed.

Batch norm with running statistics and dropout can be fixed for a batch; see `batch_state`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import nn
from torch.nn.modules.batchnorm import _NormBase  # the only common base of batch and instance norms
from torch.nn.modules.dropout import _DropoutNd  # the only common base of the dropouts

from lirpa_core.capture.batch_state import fixable
from lirpa_core.errors import TrainingModeError
from lirpa_core.graph import Node


def refuse_training_mode(model: nn.Module) -> None:
    """Check every module's mode before capture.

    Raises:
        TrainingModeError: Naming all modules in training mode whose dropout or batch statistics cannot be
            fixed for a batch.
    """
    wrong = [
        f"'{name or type(model).__name__}' ({type(module).__name__}: {reason})"
        for name, module in model.named_modules()
        if module.training and not fixable(module) and (reason := _reason(module))
    ]
    if wrong:
        raise TrainingModeError(
            f"in training mode: {', '.join(wrong)}. Bounds need a deterministic function of one example, and only "
            "batch norms with running statistics and nn.Dropout are fixed for a batch: call model.eval() first (or "
            ".eval() on these modules alone, to keep training the others)."
        )


def refuse_derivatives_of_statistics(standardising: Sequence[str]) -> None:
    """Refuse a model that differentiates through layers that standardise by the statistics of its batch.

    Its derivative goes through the statistics as well, and with fixed ones it is another function.

    Args:
        standardising: Paths of these layers.

    Raises:
        TrainingModeError: Naming them.
    """
    if standardising:
        raise TrainingModeError(
            f"forward() takes derivatives, and {', '.join(map(repr, standardising))} take statistics from the batch: with these "
            "fixed the derivative is another one than the model's. Call .eval() on these layers first."
        )


def _reason(module: nn.Module) -> str | None:
    if isinstance(module, _DropoutNd) and module.p > 0:
        return "dropout"
    if isinstance(module, nn.SyncBatchNorm):
        return "statistics of several processes; use nn.BatchNorm"
    if isinstance(module, _NormBase) and not isinstance(module, nn.modules.instancenorm._InstanceNorm):
        return "batch statistics"
    if isinstance(module, (nn.RNNBase, nn.MultiheadAttention)) and module.dropout > 0:
        return "dropout"
    return None


# Operators that draw in evaluation mode too: `bernoulli` may be a dropout of the user's own.
_ALWAYS_RANDOM = ("aten.rand", "aten.normal")
_INSTEAD = {
    False: "Call model.eval(), or pass training=False there.",
    True: "No bound holds for what is drawn anew at every call: draw the noise outside, and give it to the model as an input or a "
    "buffer; perturbed, that input bounds all noise of its set.",
}


def refuse_random_nodes(nodes: Iterable[Node]) -> None:
    """Check the captured operators for what functional calls left in training mode.

    Raises:
        TrainingModeError: Naming node, module and source line.
    """
    for node in nodes:
        name = str(node.target)
        values = {a.name: a.value for a in node.arguments}
        random = name.startswith(("aten.bernoulli", "aten.rand", "aten.normal", "aten.native_dropout"))
        dropout = "dropout" in name and values.get("train", False) and values.get("p", 1) > 0
        attention = values.get("dropout_p", 0) != 0
        statistics = "batch_norm" in name and (values.get("training") or values.get("train"))
        if random or dropout or attention:
            raise TrainingModeError(
                f"{node} draws random numbers. {_INSTEAD[name.startswith(_ALWAYS_RANDOM)]}"
            )
        if statistics:
            raise TrainingModeError(
                f"{node} uses batch statistics, which mix the examples of a batch. Call model.eval(), or pass "
                "training=False there."
            )
