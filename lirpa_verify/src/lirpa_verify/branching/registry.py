"""Branching heuristics by name, those of plugins included."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Any, Final

import pluggy

from lirpa_verify.branching.babsr import FSB, BaBSR
from lirpa_verify.branching.boxes import InputBranching
from lirpa_verify.branching.gain import Gain, Widest
from lirpa_verify.branching.neurons import NeuronBranching
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
        self._neurons: dict[str, Callable[..., NeuronBranching]] = {}

    def input_splitting(self, name: str, make: Callable[..., InputBranching]) -> None:
        """Register a heuristic that splits boxes of inputs.

        Args:
            name: What users call it.
            make: Makes one; without arguments, with its default settings.

        Raises:
            BranchingError: If the name is taken.
        """
        self._refuse_taken(name)
        self._inputs[name] = make

    def neuron_splitting(self, name: str, make: Callable[..., NeuronBranching]) -> None:
        """Register a heuristic that splits neurons.

        Args:
            name: What users call it.
            make: Makes one; without arguments, with its default settings.

        Raises:
            BranchingError: If the name is taken.
        """
        self._refuse_taken(name)
        self._neurons[name] = make

    def _refuse_taken(self, name: str) -> None:
        if name in self._inputs or name in self._neurons:
            raise BranchingError(f"two branching heuristics are called {name!r}; rename one")

    def inputs(self) -> Mapping[str, Callable[..., InputBranching]]:
        """What was registered to split inputs."""
        return MappingProxyType(self._inputs)

    def neurons(self) -> Mapping[str, Callable[..., NeuronBranching]]:
        """What was registered to split neurons."""
        return MappingProxyType(self._neurons)


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
        registry.neuron_splitting("babsr", BaBSR)
        registry.neuron_splitting("fsb", FSB)
        registry.neuron_splitting("gain", Gain)
        registry.neuron_splitting("widest", Widest)


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


@dataclass(frozen=True)
class Heuristics:
    """Heuristics that were chosen by name; None where none was, so that the one that fits is taken."""

    inputs: InputBranching | None = None
    neurons: NeuronBranching | None = None


def heuristics(name: str) -> Heuristics:
    """The heuristic of a name, for whatever it splits.

    Raises:
        BranchingError: Listing the names there are.
    """
    known = installed()
    if name in known.inputs():
        return Heuristics(inputs=known.inputs()[name]())
    if name in known.neurons():
        return Heuristics(neurons=known.neurons()[name]())
    raise BranchingError(
        f"no branching heuristic is called {name!r}; there are: {', '.join(sorted(known.inputs()))} for boxes of "
        f"inputs, and {', '.join(sorted(known.neurons()))} for neurons"
    )
