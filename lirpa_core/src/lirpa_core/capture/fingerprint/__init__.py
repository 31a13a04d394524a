"""What a captured graph takes for granted about a model, and whether it is still so.

`Fingerprint` compares; a `Collector` finds what a trace may have read, beginning at the model's modules: `contents` looks into
values that can change in place, `code` tells what functions read, `libraries` where the user's code ends.
"""

from lirpa_core.capture.fingerprint.fingerprint import Fingerprint

__all__ = ["Fingerprint"]
