"""Which methods tests and conformance go through: all that there are, from one place."""

from __future__ import annotations

from typing import Any

from lirpa_core.plugins import Registry, default_registry


def method_names(
    *, affine: bool = False, optimized: bool = True, registry: Registry | None = None
) -> tuple[str, ...]:
    """Names of all methods, α-CROWN included.

    Args:
        affine: Whether to name only those that can return linear bounds (`return_A`).
        optimized: Whether to name those that search for slopes. What is said of all other methods holds for these only
            up to where the search ends: equal bounds of equal functions, finite differences of bounds.
        registry: Where the methods are registered; by default the default registry.

    >>> "CROWN-Optimized" in method_names()
    True
    """
    return tuple(
        entry.method.name
        for entry in (registry or default_registry()).methods
        if (entry.method.gives_linear_bounds or not affine)
        and (optimized or not entry.method.optimises_slopes)
    )


def few_steps(steps: int = 2) -> dict[str, Any]:
    """Options of a `BoundedModule` with which methods that optimize take few steps, so that tests stay short.

    The bounds of every step have to hold, so few steps test soundness as well as many.

    Args:
        steps: How many steps the optimizer takes.

    >>> few_steps()
    {'optimize_bound_args': {'iteration': 2}}
    """
    return {"optimize_bound_args": {"iteration": steps}}
