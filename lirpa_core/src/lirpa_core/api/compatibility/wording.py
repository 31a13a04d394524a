"""How names that are taken, refused or unknown are reported."""

from __future__ import annotations

import difflib
import inspect
import warnings
from collections.abc import Iterable, Mapping

from lirpa_core.errors import CompatibilityWarning, OptionError


def warn_of(what: str, taken: Mapping[str, str]) -> None:
    """One warning for all names that were taken without an effect, or with another one.

    Args:
        what: What the names are.
        taken: Sentences by name.
    """
    if taken:
        listed = " ".join(f"{name}: {sentence}." for name, sentence in taken.items())
        warnings.warn(
            f"{what} of auto_LiRPA that mean something else here. {listed}",
            CompatibilityWarning,
            stacklevel=_outside(),
        )


def unknown(what: str, name: str, known: Iterable[str]) -> OptionError:
    """The error about a name that nobody knows, with the nearest known one."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return OptionError(f"unknown {what} {name!r}.{hint} There are: {', '.join(names)}.")


def _outside() -> int:
    """The level of the first caller outside of this package, for a warning raised by the caller of this function."""
    frame, level = inspect.currentframe(), 0
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] in (
        "lirpa_core",
        "torch",
    ):
        frame, level = frame.f_back, level + 1
    return max(1, level)
