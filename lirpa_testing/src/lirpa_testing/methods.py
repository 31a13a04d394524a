"""Which methods tests and conformance go through: all that there are, from one place."""

from __future__ import annotations

from typing import Any

from lirpa_core.methods.methods import METHODS


def method_names(*, affine: bool = False) -> tuple[str, ...]:
    """Names of all methods, α-CROWN included.

    Args:
        affine: Whether to leave out those that bound the output by numbers alone, such as IBP.

    >>> "CROWN-Optimized" in method_names()
    True
    """
    return tuple(m.name for m in METHODS if not affine or m.final != "interval")


def few_steps(steps: int = 2) -> dict[str, Any]:
    """Options of a `BoundedModule` with which methods that optimize take few steps, so that tests stay short.

    The bounds of every step have to hold, so few steps test soundness as well as many.

    Args:
        steps: How many steps the optimizer takes.

    >>> few_steps()
    {'optimize_bound_args': {'iteration': 2}}
    """
    return {"optimize_bound_args": {"iteration": steps}}
