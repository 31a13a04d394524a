"""Names of methods that auto_LiRPA has."""

from __future__ import annotations

from collections.abc import Mapping

from lirpa_core.api.compatibility.wording import warn_of

_SAME_AS_FORWARD = "forward bounds carry all inputs, whatever their number; method='{}' is used"

#: By name in small letters: the method to use, and why.
_NAMES: Mapping[str, tuple[str, str]] = {
    "dynamic-forward": ("forward", _SAME_AS_FORWARD.format("forward")),
    "dynamic-forward+backward": ("CROWN-forward", _SAME_AS_FORWARD.format("CROWN-forward")),
    "dynamic-forward+crown": ("CROWN-forward", _SAME_AS_FORWARD.format("CROWN-forward")),
    "forward-optimized": ("CROWN-Optimized", "slopes are optimised backward, by 'CROWN-Optimized'"),
    "dynamic-forward-optimized": ("CROWN-Optimized", "slopes are optimised backward, by 'CROWN-Optimized'"),
}


def known_name(method: object) -> object:
    """The name of a method under which the registry knows it; unknown ones as they are.

    >>> known_name("backward")
    'backward'
    """
    found = _NAMES.get(method.strip().lower()) if isinstance(method, str) else None
    if found is None:
        return method
    warn_of("methods", {str(method): found[1]})
    return found[0]
