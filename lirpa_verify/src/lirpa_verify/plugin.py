"""What this package registers with the core: readers of networks. Otherwise it only uses the core's functions."""

from __future__ import annotations

from lirpa_core.plugins import OperatorRegistry, PerturbationRegistry, ReaderRegistry, hookimpl
from lirpa_verify.reader import OnnxReader
from lirpa_verify.widened import WidenedReader

#: The version of the plugin interface that this module was written for.
LIRPA_API_VERSION = 1


@hookimpl
def lirpa_register_readers(registry: ReaderRegistry) -> None:
    """Register the reader of ONNX files, and that of modules of float32 which are bounded in float64."""
    registry.register(OnnxReader())
    registry.register(WidenedReader())


@hookimpl
def lirpa_register_operators(registry: OperatorRegistry) -> None:
    """Register nothing: verification uses the rules there are."""


@hookimpl
def lirpa_register_perturbations(registry: PerturbationRegistry) -> None:
    """Register nothing: verification takes any threat model there is."""
