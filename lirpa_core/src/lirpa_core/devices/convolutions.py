"""Whether PyTorch computes a convolution as sums of products, which is what bounds charge for."""

from __future__ import annotations

import platform

import torch

#: Processors on which oneDNN, asked for a direct convolution as PyTorch asks it, computes one.
_DIRECT = ("x86_64", "AMD64")


def sums_products(device: torch.device) -> bool:
    """Whether convolutions on a device are sums of products, as far as is known.

    They are on x86 processors by oneDNN. cuDNN transforms tiles of the image (Winograd) or all of it, and so does NNPACK,
    which PyTorch takes on a CPU where oneDNN is switched off and there are many images; of others nothing is known.
    """
    if device.type != "cpu" or platform.machine() not in _DIRECT:
        return False
    backend = torch.backends.mkldnn
    return backend.is_available() and bool(backend.enabled)
