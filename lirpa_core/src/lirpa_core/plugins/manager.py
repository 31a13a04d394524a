"""Finding, blocking and loading plugins, each isolated from the others."""

from __future__ import annotations

import os
import warnings
from collections.abc import Collection, Sequence
from functools import cache, partial
from types import ModuleType

from lirpa_core.errors import PluginError
from lirpa_core.plugins.entries import Contribution, PluginFailure, PluginWarning
from lirpa_core.plugins.loading import Candidate, Failed, check_names, from_object, installed, load
from lirpa_core.plugins.merge import CORE
from lirpa_core.plugins.registry import Registry, portable_plugin

#: Environment variable with the names of plugins that must not be loaded, separated by commas.
DISABLE_VARIABLE = "LIRPA_DISABLE_PLUGINS"


def build_registry(
    plugins: Sequence[object] | None = None,
    *,
    entry_points: bool = True,
    disabled: Collection[str] | None = None,
) -> Registry:
    """Load plugins into a new registry.

    A plugin that cannot be loaded is recorded in `failures` and reported by one `PluginWarning`;
    the others load. Only the core's own plugin must not fail.

    Args:
        plugins: Modules or objects with hooks, in addition to the installed ones.
        entry_points: Whether to load the core and what is installed under the entry-point group `lirpa`.
        disabled: Names of plugins not to load, comma-separated if one string. None: those in the environment
            variable `LIRPA_DISABLE_PLUGINS`, where `entry_points` are read.

    Raises:
        PluginConflictError: Two plugins register the same thing or have the same name.
        PluginError: The core is disabled or broken.
    """
    given = tuple(plugins or ())
    found = installed() if entry_points else []
    if disabled is None:
        blocked = _names(os.environ.get(DISABLE_VARIABLE, "")) if entry_points else frozenset()
    else:
        blocked = _names(disabled) if isinstance(disabled, str) else frozenset(disabled)
    known = {candidate.info.source for candidate in found if candidate.info.name not in blocked}
    candidates = [*found, *(from_object(plugin) for plugin in given if not _is_one_of(plugin, known))]
    _check_blocked(blocked, candidates)
    allowed = [candidate for candidate in candidates if candidate.info.name not in blocked]
    contributions, failures = _load_all(allowed)
    for failure in failures:
        warnings.warn(failure.message, PluginWarning, stacklevel=2)
    portable = [portable_plugin(plugin) for plugin in given]
    origin = partial(build_registry, portable, entry_points=entry_points, disabled=disabled)
    hidden = [candidate.info for candidate in candidates if candidate.info.name in blocked]
    return Registry.assemble(contributions, origin, failures, hidden)


@cache
def default_registry() -> Registry:
    """The registry of everything installed, read once a process.

    `LIRPA_DISABLE_PLUGINS` names plugins that are not loaded, separated by commas.

    Raises:
        PluginConflictError: Two plugins register the same thing or have the same name.
        PluginError: The core is disabled or broken.
    """
    return build_registry().made_by(default_registry)


def _names(text: str) -> frozenset[str]:
    return frozenset(name.strip() for name in text.split(",") if name.strip())


def _is_one_of(plugin: object, sources: Collection[str]) -> bool:
    """Whether a plugin passed in is a module that an entry point names as well, so that it counts once."""
    return isinstance(plugin, ModuleType) and plugin.__name__ in sources


def _check_blocked(blocked: Collection[str], candidates: Sequence[Candidate]) -> None:
    if CORE in blocked:
        raise PluginError(f"the plugin '{CORE}' cannot be disabled; remove it from {DISABLE_VARIABLE}")
    known = sorted({candidate.info.name for candidate in candidates} - {CORE})
    unknown = sorted(set(blocked) - set(known))
    if unknown:
        warnings.warn(
            f"no plugin called {', '.join(map(repr, unknown))} is installed, so it cannot be disabled; "
            f"plugins that can be disabled: {', '.join(known) or 'none'}",
            PluginWarning,
            stacklevel=3,
        )


def _load_all(candidates: Sequence[Candidate]) -> tuple[list[Contribution], list[PluginFailure]]:
    check_names(candidate.info for candidate in candidates)
    contributions: list[Contribution] = []
    failures: list[PluginFailure] = []
    for candidate in candidates:
        outcome = load(candidate)
        if isinstance(outcome, Failed):
            if candidate.info.name == CORE:
                raise outcome.raised() from outcome.cause
            failures.append(outcome.failure)
        else:
            contributions.append(outcome)
    return contributions, failures
