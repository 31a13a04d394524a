"""How hard the kit tries: three named profiles, and how one of them is chosen."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from lirpa_core.errors import OptionError

#: Environment variable with the name of the profile that is used where none is given.
PROFILE_VARIABLE: Final = "LIRPA_PROFILE"


@dataclass(frozen=True)
class Profile:
    """How much is tried.

    Attributes:
        name: Its name.
        examples: Boxes that a rule is tried on, all kinds of boxes together. `check_rule` tries as many on
            one call, conformance on all calls of one operator together.
        batch: How many of them are drawn, and bounded, at once.
        attack_steps: Steps of gradient ascent on each violation.
        forms: Linear forms whose minimum over a perturbation is checked.
        prove: Whether the lines of unary rules are proved.
        compiled: Whether bounds that `torch.compile` computes are compared with those without it.
        pairs: Whether models and patterns are bounded by every method at every radius; else by every method, and at every
            radius, but by each method at one radius.
    """

    name: str
    examples: int
    batch: int = 16
    attack_steps: int = 6
    forms: int = 36
    prove: bool = True
    compiled: bool = False
    pairs: bool = False

    def __post_init__(self) -> None:
        for what in ("examples", "batch", "forms"):
            if getattr(self, what) < 1:
                raise OptionError(f"{what} of a profile must be at least 1, got {getattr(self, what)}")
        if self.attack_steps < 0:
            raise OptionError(f"attack_steps of a profile must not be negative, got {self.attack_steps}")


#: The profiles by name: while one writes a rule, on every change, and before a release.
PROFILES: Final[Mapping[str, Profile]] = MappingProxyType(
    {
        profile.name: profile
        for profile in (
            Profile("fast", examples=24, batch=8, attack_steps=3, forms=12, prove=False),
            Profile("ci", examples=48, forms=12),
            Profile(
                "thorough",
                examples=10_000,
                batch=128,
                attack_steps=12,
                forms=10_000,
                prove=True,
                compiled=True,
                pairs=True,
            ),
        )
    }
)

#: Used where neither an argument nor the environment names another.
DEFAULT_PROFILE: Final = "ci"


def profile_of(profile: Profile | str | None = None) -> Profile:
    """The profile that is meant.

    Args:
        profile: A profile, or the name of one; None for the one that `LIRPA_PROFILE` names, else `ci`.

    Raises:
        OptionError: There is no profile of that name.

    >>> profile_of("thorough").examples
    10000
    """
    if isinstance(profile, Profile):
        return profile
    name = profile or os.environ.get(PROFILE_VARIABLE) or DEFAULT_PROFILE
    found = PROFILES.get(name)
    if found is None:
        origin = "" if profile else f" (from the environment variable {PROFILE_VARIABLE})"
        raise OptionError(f"there is no profile '{name}'{origin}; there are: {', '.join(PROFILES)}")
    return found
