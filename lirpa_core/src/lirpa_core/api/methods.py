"""From what a user gives as `method=` to a method."""

from __future__ import annotations

from lirpa_core.api.compatibility.methods import known_name
from lirpa_core.errors import OptionError
from lirpa_core.methods.base import Method
from lirpa_core.methods.hybrid import Hybrid
from lirpa_core.methods.slope_search import SlopeSearch
from lirpa_core.plugins import Registry


def method_for(
    registry: Registry,
    method: str | Method | None,
    search: SlopeSearch,
    *,
    IBP: bool = False,
    forward: bool = False,
    time_budget: float | None = None,
) -> Method:
    """The method of a computation, with its settings.

    Args:
        registry: Where names are looked up.
        method: A name, or an object, which has settings of its own.
        search: How a method that is named searches for slopes.
        IBP: See `requested_method`.
        forward: Likewise.
        time_budget: Seconds that the method may take.

    Raises:
        OptionError: As `requested_method`; or the method takes no such budget.
    """
    if isinstance(method, str) and not (IBP or forward):
        chosen = registry.find_method(known_name(method))
    else:
        chosen = requested_method(registry, method, IBP=IBP, forward=forward)
    if chosen.optimises_slopes and not isinstance(method, Method):
        chosen = chosen.with_slope_search(search)
    return chosen if time_budget is None else chosen.with_time_budget(time_budget)


def requested_method(
    registry: Registry, method: str | Method | None, *, IBP: bool = False, forward: bool = False
) -> Method:
    """The method that a name or an object and the two flags of auto_LiRPA mean together.

    There, `IBP=True` and `forward=True` choose how inner nodes are bounded, and `method=None` means
    that the output is bounded the same way.

    >>> from lirpa_core.plugins import default_registry
    >>> str(requested_method(default_registry(), None, IBP=True))
    'IBP'
    >>> str(requested_method(default_registry(), "backward", IBP=True))
    'CROWN-IBP'

    Raises:
        OptionError: For an unknown method, both flags, or no method at all.
    """
    if not (IBP or forward):
        if method is None:
            raise OptionError("method=None: name a method, such as method='CROWN'.")
        return method if isinstance(method, Method) else registry.find_method(known_name(method))
    if IBP and forward:
        raise OptionError("IBP=True and forward=True: inner nodes are bounded one way; choose one of them.")
    inner = "IBP" if IBP else "forward"
    if method is None:
        return registry.find_method(inner)
    found = method if isinstance(method, Method) else registry.find_method(known_name(method))
    if found.name in (inner, f"CROWN-{inner}"):
        return found
    if found.optimises_slopes:
        return Hybrid(f"{found.name} on {inner}", registry.find_method(inner), found)
    if found.name != "CROWN":
        raise OptionError(f"{inner}=True does not go with method={str(method)!r}; give the method alone.")
    return registry.find_method(f"{inner}+backward")
