"""Where the user's code ends: packages whose functions, classes and objects do not change what a model computes."""

from __future__ import annotations

import os
import sys
from pathlib import PurePath

#: PyTorch, what it computes with, and what pytest puts into every `assert`.
_FOREIGN = frozenset({"torch", "numpy", "builtins", "sympy", "mpmath", "flint", "_pytest", "pytest"})

#: Modules of the standard library whose objects change while nothing that a model computes does: caches, locks, registries.
_BUSY = frozenset({"logging", "threading", "typing", "warnings"})

#: Where the standard library is.
_STANDARD = PurePath(os.__file__).parent

#: Folders of installed packages.
_INSTALLED = frozenset({"site-packages", "dist-packages"})


def is_library(module: str | None) -> bool:
    """Whether code of this module is none of the user's: PyTorch, NumPy, or the standard library.

    What such code reads is not looked for: it does not decide what a model computes, and it reaches everything.
    """
    return _root(module) in _FOREIGN or _is_standard(module)


def is_opaque(module: str | None) -> bool:
    """Whether objects of this module's classes are compared by identity alone.

    Those of the rest of the standard library may hold what the user put there: a namespace, a cached property, a dictionary.
    """
    root = _root(module)
    return root in _FOREIGN or root in _BUSY


def _is_standard(module: str | None) -> bool:
    """Whether it is a module of the standard library, and not one of the user's with such a name: `test`, `code`, `statistics`."""
    found = sys.modules.get(module or "")
    if found is None or _root(module) not in sys.stdlib_module_names:
        return False
    file = getattr(found, "__file__", None)
    return file is None or (PurePath(file).is_relative_to(_STANDARD) and not is_installed(module))


def is_installed(module: str | None) -> bool:
    """Whether a module was installed by a package manager: a framework of models, say, which its user does not change."""
    file = getattr(sys.modules.get(module or ""), "__file__", None) or ""
    return not _INSTALLED.isdisjoint(PurePath(file).parts)


def _root(module: str | None) -> str:
    return (module or "").partition(".")[0]


__all__ = ["is_installed", "is_library", "is_opaque"]
