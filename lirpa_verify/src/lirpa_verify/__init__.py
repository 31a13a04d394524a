"""Proves or refutes properties of networks: attacks, bounds, branch and bound.

result = verify(model, x, PerturbationLpNorm(eps=0.01), robust(label=y))
result.status, result.counterexample, result.margins, result.statistics

The names are imported when they are first used: every program that bounds something loads this package's plugin.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lirpa_verify._version import __version__

if TYPE_CHECKING:
    from lirpa_verify.answers import Result, Statistics, Status
    from lirpa_verify.ladder import Attack
    from lirpa_verify.properties import (
        Inequality,
        Property,
        Specification,
        monotone,
        output_in_box,
        robust,
        targeted,
    )
    from lirpa_verify.questions import verify, verify_files

#: Modules by the names that come from them.
_HOMES = {
    **dict.fromkeys(("Result", "Statistics", "Status"), "answers"),
    "Attack": "ladder",
    **dict.fromkeys(
        ("Inequality", "Property", "Specification", "monotone", "output_in_box", "robust", "targeted"),
        "properties",
    ),
    **dict.fromkeys(("verify", "verify_files"), "questions"),
}

__all__ = [
    "Attack",
    "Inequality",
    "Property",
    "Result",
    "Specification",
    "Statistics",
    "Status",
    "__version__",
    "monotone",
    "output_in_box",
    "robust",
    "targeted",
    "verify",
    "verify_files",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
