"""`BoundDataParallel`: a bounded model behind the name and the calls that users of auto_LiRPA know."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from lirpa_core.api.bounded_module import BoundedModule
from lirpa_core.errors import CompatibilityWarning, InputError


class BoundDataParallel(nn.Module):
    """A thin wrapper around a `BoundedModule`, on one device.

    `model(method_opt="compute_bounds", x=(x,), ...)` and `model(x)` do what they do on the `BoundedModule` itself, which
    is `module`, as in `torch.nn.DataParallel`. Nothing is replicated. Work is spread over devices by PyTorch's own data
    parallelism, because a certified loss is an `nn.Module` whose `forward` computes bounds:

        criterion = DistributedDataParallel(lirpa_training.CertifiedLoss(model, method="CROWN-IBP", fusion=True))
        loss = criterion(x, y, PerturbationLpNorm(eps=0.1))
        loss.backward()

    `Processes` shares bounds without gradients.

    Args:
        module: The bounded model.
        device_ids: One device at most is used, the first; it warns where there are more.
        output_device: Of no effect.

    Raises:
        InputError: If `module` is not a `BoundedModule`.
    """

    def __init__(
        self,
        module: BoundedModule,
        device_ids: Sequence[int | torch.device] | None = None,
        output_device: int | torch.device | None = None,
        dim: int = 0,
    ) -> None:
        super().__init__()
        if not isinstance(module, BoundedModule):
            raise InputError(
                f"BoundDataParallel wraps a BoundedModule, not a {type(module).__name__}: "
                "BoundDataParallel(BoundedModule(model, example))."
            )
        self.module = module
        if device_ids:
            module.to(device_ids[0])
        if device_ids is not None and len(device_ids) > 1:
            warnings.warn(
                f"BoundDataParallel computes on one device, {device_ids[0]}, and not on {len(device_ids)}. Wrap "
                "lirpa_training.CertifiedLoss(model, ...) in torch.nn.parallel.DistributedDataParallel and start the "
                "program with torchrun to use all of them.",
                CompatibilityWarning,
                stacklevel=2,
            )

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """See `BoundedModule.forward`."""
        return self.module(*args, **kwargs)

    def compute_bounds(self, *args: Any, **kwargs: Any) -> Any:
        """See `BoundedModule.compute_bounds`."""
        return self.module.compute_bounds(*args, **kwargs)
