"""The methods by name: how intermediate nodes are bounded, and how the output is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from lirpa_core.errors import OptionError

Engine: TypeAlias = Literal["interval", "forward", "backward", "optimized"]


@dataclass(frozen=True)
class Method:
    """One way to bound a graph.

    Attributes:
        name: Canonical name.
        intermediate: Engine for the nodes whose intervals relaxations need.
        final: Engine for the output.
        aliases: Other names, those of the literature and of the reference system.
        summary: One line for tables.
    """

    name: str
    intermediate: Engine
    final: Engine
    aliases: tuple[str, ...]
    summary: str


METHODS: tuple[Method, ...] = (
    Method("IBP", "interval", "interval", (), "interval arithmetic; cheapest, loosest"),
    Method("forward", "forward", "forward", (), "affine functions of the input, carried forwards"),
    Method("CROWN-IBP", "interval", "backward", ("IBP+backward",), "intermediate IBP, final backward pass"),
    Method(
        "CROWN-forward", "forward", "backward", ("forward+backward",), "intermediate forward, final backward"
    ),
    Method("CROWN", "backward", "backward", ("backward",), "backward passes everywhere"),
    Method(
        "CROWN-Optimized",
        "backward",
        "optimized",
        ("alpha-CROWN",),
        "CROWN, then slopes by gradient; tightest",
    ),
)

_BY_NAME: Mapping[str, Method] = {
    name.lower(): method for method in METHODS for name in (method.name, *method.aliases)
}


def find_method(name: str) -> Method:
    """Look a method up by any of its names, in any case.

    >>> find_method("backward").name
    'CROWN'

    Raises:
        OptionError: Listing the methods there are.
    """
    method = _BY_NAME.get(name.strip().lower()) if isinstance(name, str) else None
    if method is None:
        listed = ", ".join(repr("' = '".join((m.name, *m.aliases))).replace('"', "'") for m in METHODS)
        raise OptionError(f"unknown method {name!r}. The methods are {listed}.")
    return method
