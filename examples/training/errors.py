"""What ends a program with a message and no traceback."""

from __future__ import annotations


class TrainingError(RuntimeError):
    """Something that the user can put right; the message says how."""
