"""Source lines and module paths from the metadata that `torch.export` leaves on its nodes."""

from __future__ import annotations

import re
import traceback
from pathlib import Path
from typing import Any

import torch

from lirpa_core.graph import SourceLocation

_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+), in \S+\n\s*(?P<code>[^\n]*)')
_TORCH = f"{Path(torch.__file__).parent}/"
_LIRPA = f"{Path(__file__).parents[1]}/"


def source_of(meta: dict[str, Any]) -> SourceLocation:
    """Where a node comes from: the user's innermost frame, else torch's own.

    Args:
        meta: The `meta` of an exported `torch.fx.Node`.
    """
    frames = list(_FRAME.finditer(meta.get("stack_trace") or ""))
    own = [f for f in frames if not f["file"].startswith((_TORCH, _LIRPA))]
    chosen = (own or [f for f in frames if f["file"].startswith(_TORCH)])[-1:]
    stack = meta.get("nn_module_stack") or {}
    path, kind = next(reversed(stack.values()), ("", ""))
    return SourceLocation(
        file=chosen[0]["file"] if chosen else None,
        line=int(chosen[0]["line"]) if chosen else None,
        code=chosen[0]["code"].strip() if chosen else None,
        module_path=str(path),
        module_type=getattr(kind, "__name__", str(kind).rpartition(".")[2]),
    )


def raised_at(error: BaseException) -> str | None:
    """The user's innermost frame on an error's traceback, as `file:line code`."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if not f.filename.startswith((_TORCH, _LIRPA)) and f.line]
    return f"{own[-1].filename}:{own[-1].lineno} `{own[-1].line}`" if own else None


def user_frame(message: str) -> str | None:
    """The user's innermost frame quoted in an error message of `torch.export`, as `file:line code`."""
    frames = [f for f in _FRAME.finditer(message) if not f["file"].startswith((_TORCH, _LIRPA))]
    if not frames:
        return None
    frame = frames[-1]
    return f"{frame['file']}:{frame['line']} `{frame['code'].strip()}`"
