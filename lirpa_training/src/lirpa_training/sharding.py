"""Parameters that PyTorch's FSDP2 (`torch.distributed.fsdp.fully_shard`) has sharded, in a loss that reads them outside of their layers."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from torch import nn

from lirpa_core.errors import InputError


@runtime_checkable
class Sharded(Protocol):
    """What `fully_shard` makes of a module, as far as it is needed here; importing PyTorch's own class takes seconds."""

    def unshard(self, async_op: bool = False) -> Any:
        """Gather the module's own parameters."""

    def set_reshard_after_forward(self, reshard_after_forward: bool, recurse: bool = True) -> None:
        """Whether they are let go at the end of the module's `forward`."""


def hold_parameters(criterion: nn.Module) -> None:
    """Gather the parameters of all sharded layers of a loss, and keep them until its gradient has been computed.

    FSDP gathers the parameters of a layer when the layer is called, and lets them go at its end. Bounds read weights without a
    call of the layer, and so would gradients. Gradients and the optimiser's state stay sharded.

    Args:
        criterion: The loss, inside of its `forward`.

    Raises:
        InputError: Layers are sharded, but the loss is not: nobody would reduce the gradients over the processes then.
    """
    layers = [m for m in criterion.modules() if m is not criterion and isinstance(m, Sharded)]
    if not layers:
        return
    if not isinstance(criterion, Sharded):
        raise InputError(
            f"layers of the model are sharded by fully_shard ({type(layers[0]).__name__} is one), but the loss is not, and "
            "gradients of bounds, which do not come from calls of these layers, would stay apart. Call fully_shard(criterion) "
            "after that."
        )
    for layer in layers:
        layer.set_reshard_after_forward(False)
        layer.unshard()


__all__ = ["hold_parameters"]
