"""Who wins where several plugins register the same thing. The order of the plugins never matters."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import NamedTuple, TypeVar

from lirpa_core.errors import PluginConflictError
from lirpa_core.plugins.entries import Contribution, PluginInfo, Registration
from lirpa_core.plugins.operator_names import key_label

K = TypeVar("K", bound=Hashable)
E = TypeVar("E")

#: Name of the core's own plugin, which cannot be disabled.
CORE = "core"


class _Rival(NamedTuple):
    plugin: PluginInfo
    override: bool


def merge(
    contributions: Iterable[Contribution],
    registrations_of: Callable[[Contribution], tuple[Registration[K, E], ...]],
    what: str,
) -> dict[K, E]:
    """The entry that holds for each key, sorted by the key's label.

    Within a layer the only registration with `override` wins, else the only one; anything else is a
    conflict. A higher layer replaces those below.

    Args:
        contributions: Of all plugins, in any order.
        registrations_of: Selects the kind of registrations to merge.
        what: What is registered, for the message, such as "a rule for operator".

    Raises:
        PluginConflictError: Naming the plugins, the key and how to resolve it.
    """
    layers: dict[int, dict[K, list[tuple[PluginInfo, Registration[K, E]]]]] = {}
    for contribution in contributions:
        layer = layers.setdefault(contribution.layer, {})
        for found in registrations_of(contribution):
            layer.setdefault(found.key, []).append((contribution.plugin, found))
    merged: dict[K, E] = {}
    conflicts: dict[str, list[_Rival]] = {}
    for number in sorted(layers):
        for key, rivals in layers[number].items():
            overriding = [found for _, found in rivals if found.override]
            candidates = overriding or [found for _, found in rivals]
            if len(candidates) == 1:
                merged[key] = candidates[0].entry
            else:
                every = [_Rival(plugin, found.override) for plugin, found in rivals]
                conflicts[key_label(key)] = [rival for rival in every if rival.override or not overriding]
    if conflicts:
        raise PluginConflictError(_conflict_message(conflicts, what))
    return dict(sorted(merged.items(), key=lambda item: key_label(item[0])))


def _conflict_message(conflicts: dict[str, list[_Rival]], what: str) -> str:
    label, *others = sorted(conflicts)
    rivals = sorted(conflicts[label], key=lambda rival: (rival.plugin.name != CORE, rival.plugin.name))
    plugins = _join([str(rival.plugin) for rival in rivals])
    disable = rivals[-1].plugin.name
    more = f" (and {len(others)} more in conflict: {', '.join(others[:5])}{', …' * (len(others) > 5)})"
    every = "both" if len(rivals) == 2 else "all"
    if rivals[0].override:
        what_they_do, remedy = f"{every} pass override=True for", "drop override=True in all but one"
    else:
        what_they_do, remedy = f"{every} register", "pass override=True in the one that is to win"
    return (
        f"plugins {plugins} {what_they_do} {what} {label}{more if others else ''}: {remedy}, "
        f"or disable one, for example LIRPA_DISABLE_PLUGINS={disable}"
    )


def _join(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + f" and {names[-1]}"
