"""Models whose `forward` differentiates: how they are noticed, run, and traced to plain operators."""

from lirpa_core.capture.derivatives.activations import DifferentiableActivations
from lirpa_core.capture.derivatives.noticing import Noticed, noticed
from lirpa_core.capture.derivatives.running import run
from lirpa_core.capture.derivatives.tracing import traced

__all__ = ["DifferentiableActivations", "Noticed", "noticed", "run", "traced"]
