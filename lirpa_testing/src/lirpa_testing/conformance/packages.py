"""Which plugins a name means: a plugin's, a distribution's, or that of a module."""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from importlib.util import find_spec
from types import ModuleType

from lirpa_core.errors import OptionError, PluginError
from lirpa_core.plugins import Registry, default_registry
from lirpa_testing.conformance.suite import Suite


def suite_of(*names: str, registry: Registry | None = None) -> Suite:
    """Everything to try for some plugins.

    Args:
        *names: What `select` takes; none for every plugin.
        registry: What is installed; by default the default registry.

    Raises:
        OptionError: Nothing has that name, or what has it registers nothing.
        PluginError: A plugin cannot be loaded, or cannot declare its cases.
    """
    return Suite.of(*select(registry or default_registry(), names))


def select(registry: Registry, names: Sequence[str] = ()) -> tuple[Registry, tuple[str, ...]]:
    """The plugins that names mean.

    Args:
        registry: What is installed.
        names: Names of plugins, of distributions, or of modules that may be imported: a package that brings an
            installed plugin, or a module with hooks that is not installed as a plugin. None: every plugin.

    Returns:
        The registry, extended by modules that are not installed as plugins, and the names of plugins.

    Raises:
        OptionError: Nothing has that name, or what has it registers nothing.
        PluginError: The plugin is installed but cannot be loaded.
    """
    found: dict[str, None] = {}
    for name in names:
        registry, plugins = _select_one(registry, name)
        found.update(dict.fromkeys(plugins))
    return registry, tuple(found) if names else tuple(info.name for info in registry.plugins)


def _select_one(registry: Registry, name: str) -> tuple[Registry, list[str]]:
    for failure in registry.failures:
        if _same(name, failure.name, failure.distribution):
            raise PluginError(failure.message)
    for info in registry.disabled:
        if _same(name, info.name, info.distribution):
            raise OptionError(f"plugin {info} is disabled; take it out of LIRPA_DISABLE_PLUGINS to check it")
    plugins = [
        info.name
        for info in registry.plugins
        if _same(name, info.name, info.distribution) or info.source.partition(":")[0].startswith(f"{name}.")
    ]
    plugins = plugins or [info.name for info in registry.plugins if info.source.partition(":")[0] == name]
    if plugins:
        return registry, plugins
    return _from_module(registry, name)


def _from_module(registry: Registry, name: str) -> tuple[Registry, list[str]]:
    known = ", ".join(info.name for info in registry.plugins)
    try:
        exists = find_spec(name) is not None
    except (ImportError, ValueError):
        exists = False
    if not exists:
        raise OptionError(
            f"there is no plugin, distribution or module '{name}'; installed plugins are: {known}. Is the "
            "package installed in this environment?"
        )
    for candidate in (name, f"{name}.plugin"):
        module = _import(candidate)
        if module is not None and any(attribute.startswith("lirpa_register_") for attribute in dir(module)):
            return registry.extended(module, name=name), [name]
    raise OptionError(
        f"module '{name}' registers nothing with lirpa: neither it nor '{name}.plugin' has a hook such as "
        f"lirpa_register_operators, and no entry point of the group 'lirpa' names it. Installed plugins are: {known}"
    )


def _import(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and name.startswith(error.name):
            return None
        raise PluginError(f"module '{name}' does not import: {error}") from error
    except Exception as error:  # a package is foreign code, it may raise anything
        raise PluginError(f"module '{name}' does not import: {type(error).__name__}: {error}") from error


def _same(name: str, plugin: str, distribution: str | None) -> bool:
    return name == plugin or (distribution is not None and _canonical(name) == _canonical(distribution))


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
