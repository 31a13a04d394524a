"""Options of schedules, as keywords or in the known form `"start=2,length=10"`."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Mapping
from typing import Any, TypeVar

from lirpa_core.errors import OptionError

T = TypeVar("T")


def parse(kind: type[T], text: str | None, keywords: Mapping[str, Any]) -> T:
    """Options of a dataclass from a string and keywords; keywords win.

    >>> @dataclasses.dataclass(frozen=True)
    ... class Ramp:
    ...     start: float = 1
    ...     length: float = 10
    >>> parse(Ramp, "start=2,length=20", {"length": 5})
    Ramp(start=2.0, length=5)

    Raises:
        OptionError: For an unknown name, or a value that is not a number.
    """
    given: dict[str, Any] = {}
    for part in filter(None, (text or "").replace(" ", "").split(",")):
        name, _, value = part.partition("=")
        try:
            given[name] = float(value)
        except ValueError:
            raise OptionError(
                f"schedule option {part!r}: expected name=number, such as 'start=2,length=10'."
            ) from None
    given.update(keywords)
    known = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    for name in given:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise OptionError(f"unknown schedule option {name!r}.{hint} The options are: {', '.join(known)}.")
    return kind(**given)


def require(condition: bool, name: str, value: object, expected: str) -> None:
    """Refuse an option.

    Raises:
        OptionError: Naming it, unless the condition holds.
    """
    if not condition:
        raise OptionError(f"schedule option {name}={value!r}: expected {expected}.")


def require_ramp(start: float, length: float) -> None:
    """Refuse a ramp that ends before it starts, or starts before the first epoch.

    Raises:
        OptionError: Naming the option.
    """
    require(math.isfinite(start) and start >= 1, "start", start, "the number of an epoch, from 1")
    if not (math.isfinite(length) and length >= 0):
        raise OptionError(
            f"schedule option length={length!r}: the ramp would end at epoch {start + length:g}, before it starts "
            f"at epoch {start:g}; give a length in epochs that is not negative."
        )
