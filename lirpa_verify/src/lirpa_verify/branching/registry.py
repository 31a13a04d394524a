"""Branching heuristics by name, those of plugins included."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Any, Final

import pluggy

from lirpa_verify.branching.boxes import InputBranching
from lirpa_verify.branching.sensitivity import Longest, Sensitivity, Smart
from lirpa_verify.errors import BranchingError

#: The entry-point group of packages with heuristics.
GROUP: Final = "lirpa.branching"

#: What the hook's markers and pluggy call the project.
_PROJECT: Final = "lirpa"

hookspec = pluggy.HookspecMarker(_PROJECT)

#: Marks a function of a plugin as an implementation of the hook of the same name.
hookimpl = pluggy.HookimplMarker(_PROJECT)


class BranchingRegistry:
    """Collects heuristics under names, while the hook runs."""

    def __init__(self) -> None:
        self._inputs: dict[str, Callable[..., InputBranching]] = {}

    def input_splitting(self, name: str, make: Callable[..., InputBranching]) -> None:
        """Register a heuristic that splits boxes of inputs.

        Args:
            name: What users call it.
            make: Makes one; without arguments, with its default settings.

        Raises:
            BranchingError: If the name is taken.
        """
        if name in self._inputs:
            raise BranchingError(f"two heuristics that split inputs are called {name!r}; rename one")
        self._inputs[name] = make

    def inputs(self) -> Mapping[str, Callable[..., InputBranching]]:
        """What was registered to split inputs."""
        return MappingProxyType(self._inputs)


class _Hooks:
    @hookspec
    def lirpa_register_branching(self, registry: BranchingRegistry) -> None:
        """Register branching heuristics under names.

        Args:
            registry: Collects what this plugin registers.
        """


class _Own:
    """The heuristics of this package, through the same hook."""

    @hookimpl
    def lirpa_register_branching(self, registry: BranchingRegistry) -> None:
        registry.input_splitting("longest", Longest)
        registry.input_splitting("sensitivity", Sensitivity)
        registry.input_splitting("smart", Smart)


def collect(*plugins: Any) -> BranchingRegistry:
    """The heuristics of this package and of some plugins.

    Args:
        plugins: Modules or objects with the hook `lirpa_register_branching`.

    Raises:
        BranchingError: If a plugin fails, or two claim the same name.
    """
    registry = BranchingRegistry()
    for plugin in (_Own(), *plugins):
        manager = pluggy.PluginManager(_PROJECT)
        manager.add_hookspecs(_Hooks)
        manager.register(plugin)
        manager.hook.lirpa_register_branching(registry=registry)
    return registry


@cache
def installed() -> BranchingRegistry:
    """The heuristics of this package and of everything installed under `lirpa.branching`.

    Raises:
        BranchingError: If a plugin cannot be loaded, or two claim the same name.
    """
    plugins = []
    for point in sorted(entry_points(group=GROUP), key=lambda p: p.name):
        try:
            plugins.append(point.load())
        except (ImportError, AttributeError) as error:
            raise BranchingError(
                f"the branching heuristics of '{point.name}' ({point.value}): {error}"
            ) from error
    return collect(*plugins)


def input_branching(name: str) -> InputBranching:
    """A heuristic that splits inputs, by its name.

    Raises:
        BranchingError: Listing the names there are.
    """
    known = installed().inputs()
    if name not in known:
        raise BranchingError(
            f"no heuristic that splits inputs is called {name!r}; there are: {', '.join(sorted(known))}"
        )
    return known[name]()
