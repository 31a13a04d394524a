"""Where the user's code ends: packages whose functions, classes and objects do not change what a model computes."""

from __future__ import annotations

import sys
from pathlib import PurePath

#: PyTorch, what it computes with, and what pytest puts into every `assert`.
_FOREIGN = frozenset({"torch", "numpy", "builtins", "sympy", "mpmath", "flint", "_pytest", "pytest"})

#: Modules of the standard library whose objects change while nothing that a model computes does: caches, locks, registries.
_BUSY = frozenset({"logging", "threading", "typing", "warnings"})

#: Folders of installed packages.
_INSTALLED = frozenset({"site-packages", "dist-packages"})


def is_library(module: str | None) -> bool:
    """Whether code of this module is none of the user's: PyTorch, NumPy, or the standard library.

    What such code reads is not looked for: it does not decide what a model computes, and it reaches everything.
    """
    root = _root(module)
    return root in _FOREIGN or root in sys.stdlib_module_names


def is_opaque(module: str | None) -> bool:
    """Whether objects of this module's classes are compared by identity alone.

    Those of the rest of the standard library may hold what the user put there: a namespace, a cached property, a dictionary.
    """
    root = _root(module)
    return root in _FOREIGN or root in _BUSY


def is_installed(module: str | None) -> bool:
    """Whether a module was installed by a package manager: a framework of models, say, which its user does not change."""
    file = getattr(sys.modules.get(module or ""), "__file__", None) or ""
    return not _INSTALLED.isdisjoint(PurePath(file).parts)


def _root(module: str | None) -> str:
    return (module or "").partition(".")[0]


__all__ = ["is_installed", "is_library", "is_opaque"]
