"""From a model to the graph of one example, by `torch.export`.

A reader of other sources may be a subclass of `ModuleReader`, which captures whatever module its `open` returns.
"""

from lirpa_core.capture.readers import ModuleReader

__all__ = ["ModuleReader"]
