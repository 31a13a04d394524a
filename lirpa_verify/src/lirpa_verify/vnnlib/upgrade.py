"""VNN-LIB 1.0 rewritten as 2.0, so that one parser reads both.

The package `vnnlib` reads version 2.0 only, in which inputs and outputs are tensors and numbers have
no exponents. What version 1.0 says with `X_3` is `X[3]` there; nothing else has to change.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

from lirpa_verify.errors import PropertyError

_COMMENT: Final = re.compile(r";[^\n]*")
_VERSION: Final = re.compile(r"\(\s*vnnlib-version\b")
_DECLARATION: Final = re.compile(
    r"\(\s*declare-(?:const\s+(?P<const>[^\s()]+)|fun\s+(?P<fun>[^\s()]+)\s*\(\s*\))\s+(?P<type>[^\s()]+)\s*\)"
)
_VARIABLE: Final = re.compile(r"(?<![\w.])([XY])_(\d+)(?![\w.])")
_NUMBER: Final = re.compile(r"(?<![\w.\[<])[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.\]])")


def as_version_2(text: str) -> str:
    """A VNN-LIB text of either version in the form that the parser reads, line for line.

    Raises:
        PropertyError: If a declaration of version 1.0 is not that of an input `X_i` or output `Y_i`.

    >>> print(
    ...     as_version_2("(declare-const X_0 Real)(declare-const Y_0 Real)(assert (<= X_0 1e-2))").split(
    ...         ")) "
    ...     )[-1]
    ... )
    (assert (<= X[0] 0.01))
    """
    text = _COMMENT.sub("", text)
    if _VERSION.search(text):
        return _NUMBER.sub(_without_exponent, text)
    text = _NUMBER.sub(_as_float, text)
    sizes = {"X": 0, "Y": 0}
    for match in _DECLARATION.finditer(text):
        name = match["const"] or match["fun"]
        variable = _VARIABLE.fullmatch(name)
        if variable is None or match["type"] != "Real":
            raise PropertyError(
                f"VNN-LIB 1.0: cannot use the declaration {match[0]!r}: expected inputs X_0, X_1, … and "
                f"outputs Y_0, Y_1, … of type Real"
            )
        sizes[variable[1]] = max(sizes[variable[1]], int(variable[2]) + 1)
    for letter, what in (("X", "input"), ("Y", "output")):
        if not sizes[letter]:
            raise PropertyError(f"the file declares no {what} {letter}_0; is it a VNN-LIB property?")
    header = (
        f"(vnnlib-version <2.0>) (declare-network N (declare-input X float32 [{sizes['X']}]) "
        f"(declare-output Y float32 [{sizes['Y']}])) "
    )
    return header + _VARIABLE.sub(r"\1[\2]", _DECLARATION.sub("", text))


def _as_float(match: re.Match[str]) -> str:
    """A number with a decimal point, which makes it one of the type that variables have."""
    text = _without_exponent(match)
    return text if "." in text else f"{text}.0"


def _without_exponent(match: re.Match[str]) -> str:
    return format(Decimal(match[0]), "f")
