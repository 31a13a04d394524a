"""What tells the contents of files apart."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

_DIGITS: Final = 16
_BLOCK: Final = 2**20


def digest_of(path: Path) -> str:
    """The first digits of a file's SHA-256.

    Raises:
        OSError: If the file cannot be read.
    """
    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            found.update(block)
    return found.hexdigest()[:_DIGITS]


__all__ = ["digest_of"]
