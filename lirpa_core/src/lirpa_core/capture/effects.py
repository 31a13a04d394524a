"""Expressions that may be left out: what is evaluated on one way through a test, and skipped on another.

`a and b` evaluates `b` only where `a` is true. A graph has one way alone, so both are the same model only where `b` changes
nothing but its own value: it binds no name, writes into nothing, and calls nothing that might.
"""

from __future__ import annotations

import ast
import builtins
import math
from types import FrameType
from typing import Any, Final

import torch
from torch import Tensor

#: Functions and methods of tensors that only read; a name that lists, sets or modules write by (`add`, `sort`) has no place here.
_READING: Final = frozenset(
    {
        "isnan", "isinf", "isfinite", "isposinf", "isneginf", "isreal", "isclose", "allclose", "equal", "is_floating_point",
        "is_complex", "is_tensor", "any", "all", "item", "tolist", "bool", "float", "double", "long", "detach", "numel", "size",
        "dim", "max", "min", "amax", "amin", "sum", "mean", "prod", "std", "var", "abs", "square", "sqrt", "exp", "log", "norm",
        "det", "logdet", "diff", "sign", "eq", "ne", "lt", "le", "gt", "ge", "logical_and", "logical_or", "logical_not",
        "logical_xor", "count_nonzero", "zeros_like", "ones_like", "tensor", "as_tensor", "eigvalsh", "vector_norm", "matrix_norm",
    }
)  # fmt: skip

#: Python's own functions that only read.
_OF_PYTHON: Final = frozenset(
    {
        "abs",
        "all",
        "any",
        "bool",
        "float",
        "int",
        "isinstance",
        "len",
        "max",
        "min",
        "round",
        "str",
        "sum",
        "type",
    }
)

#: In the place of a name that stands for nothing.
_MISSING: Final = object()


def only_reads(node: ast.AST, frame: FrameType) -> bool:
    """Whether evaluating an expression changes nothing, as far as its text and the names of the frame tell.

    Args:
        node: The expression.
        frame: The frame that evaluates it.
    """
    return all(
        _reads(part, frame) if isinstance(part, ast.Call) else not isinstance(part, _WRITING)
        for part in ast.walk(node)
    )


_WRITING: Final = (ast.NamedExpr, ast.Await, ast.Yield, ast.YieldFrom)


def _reads(call: ast.Call, frame: FrameType) -> bool:
    if any(keyword.arg in (None, "out") for keyword in call.keywords):
        return False
    function = call.func
    if isinstance(function, ast.Name):
        return function.id in _OF_PYTHON and meaning(function, frame) is getattr(builtins, function.id)
    if not isinstance(function, ast.Attribute) or function.attr not in _READING:
        return False
    if isinstance(function.value, ast.Name):
        owner = meaning(function.value, frame)
        return owner is torch or owner is math or isinstance(owner, Tensor)
    return True


def meaning(node: ast.AST, frame: FrameType) -> Any:
    """What `a` or `a.b.c` stands for in a frame; a value of its own, which is no class and no tensor, where nothing is found."""
    if isinstance(node, ast.Name):
        for names in (frame.f_locals, frame.f_globals, vars(builtins)):
            if node.id in names:
                return names[node.id]
        return _MISSING
    if isinstance(node, ast.Attribute):
        owner = meaning(node.value, frame)
        return _MISSING if owner is _MISSING else getattr(owner, node.attr, _MISSING)
    return _MISSING
