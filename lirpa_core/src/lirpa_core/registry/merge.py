"""Who wins where several plugins claim the same thing. The order of the plugins never matters."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import NamedTuple, TypeVar

from lirpa_core.errors import PluginConflictError
from lirpa_core.registry.entries import Claim, Contribution, PluginInfo
from lirpa_core.registry.resolve import key_label

K = TypeVar("K", bound=Hashable)
E = TypeVar("E")

#: Name of the core's own plugin, which cannot be disabled.
CORE = "core"


class _Bid(NamedTuple):
    plugin: PluginInfo
    override: bool


def merge(
    contributions: Iterable[Contribution],
    claims_of: Callable[[Contribution], tuple[Claim[K, E], ...]],
    what: str,
) -> dict[K, E]:
    """The entry that holds for each key, sorted by the key's label.

    Within a layer the only claim with `override` wins, else the only claim; anything else is a
    conflict. A higher layer replaces those below.

    Args:
        contributions: Of all plugins, in any order.
        claims_of: Selects the kind of claims to merge.
        what: What is claimed, for the message, such as "a rule for operator".

    Raises:
        PluginConflictError: Naming the plugins, the key and how to resolve it.
    """
    layers: dict[int, dict[K, list[tuple[PluginInfo, Claim[K, E]]]]] = {}
    for contribution in contributions:
        layer = layers.setdefault(contribution.layer, {})
        for claim in claims_of(contribution):
            layer.setdefault(claim.key, []).append((contribution.plugin, claim))
    merged: dict[K, E] = {}
    conflicts: dict[str, list[_Bid]] = {}
    for number in sorted(layers):
        for key, rivals in layers[number].items():
            overriding = [claim for _, claim in rivals if claim.override]
            candidates = overriding or [claim for _, claim in rivals]
            if len(candidates) == 1:
                merged[key] = candidates[0].entry
            else:
                bids = [_Bid(plugin, claim.override) for plugin, claim in rivals]
                conflicts[key_label(key)] = [bid for bid in bids if bid.override or not overriding]
    if conflicts:
        raise PluginConflictError(_conflict_message(conflicts, what))
    return dict(sorted(merged.items(), key=lambda item: key_label(item[0])))


def _conflict_message(conflicts: dict[str, list[_Bid]], what: str) -> str:
    label, *others = sorted(conflicts)
    bids = sorted(conflicts[label], key=lambda bid: (bid.plugin.name != CORE, bid.plugin.name))
    plugins = _join([str(bid.plugin) for bid in bids])
    disable = bids[-1].plugin.name
    more = f" (and {len(others)} more in conflict: {', '.join(others[:5])}{', …' * (len(others) > 5)})"
    every = "both" if len(bids) == 2 else "all"
    if bids[0].override:
        claim, remedy = f"{every} pass override=True for", "drop override=True in all but one"
    else:
        claim, remedy = f"{every} register", "pass override=True in the one that is to win"
    return (
        f"plugins {plugins} {claim} {what} {label}{more if others else ''}: {remedy}, "
        f"or disable one, for example LIRPA_DISABLE_PLUGINS={disable}"
    )


def _join(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + f" and {names[-1]}"
