"""Checks that only raise: `if torch.isnan(x).any(): raise ...`, `assert torch.isfinite(x).all()`, those of `torch.distributions`.

A model that branches on the value of a tensor that inputs reach has no one graph. A branch that does nothing but raise is another
matter: whatever the model returns, it returns on the other way. So bounds of the other way are bounds of every value that the model
returns, for the inputs that pass the check. That they are bounds under this assumption is said in the result.

What a branch does is read from the source of the program: of the statement that asks, and of all that called it, since a `try`
around them may catch what is raised. Python itself catches some exceptions, with nothing in the source that says so: a loop ends at
`StopIteration`, `getattr` with a default takes an `AttributeError` for an answer. A check that raises these is no check. Nor is one
whose test does more than ask: `a and b` leaves `b` out where `a` is false, which has to make no difference (see `effects`).
"""

from __future__ import annotations

import ast
import builtins
import linecache
import os
from collections.abc import Iterator, Sequence
from functools import cache
from types import FrameType

import torch

from lirpa_core.capture.effects import meaning, only_reads

# Compared as text with the file names of code; they end in a separator, as `torchvision` and its like are not PyTorch.
_TORCH = os.path.join(os.path.dirname(torch.__file__), "")  # noqa: PTH118, PTH120
_OF_DISTRIBUTIONS = os.path.join(_TORCH, "distributions", "")  # noqa: PTH118
_LIRPA = os.path.join(os.path.dirname(os.path.dirname(__file__)), "")  # noqa: PTH118, PTH120

#: What Python itself catches: loops and `next`, sequences without `__iter__`, and look-ups of attributes with a default.
_CAUGHT_BY_PYTHON = (StopIteration, StopAsyncIteration, GeneratorExit, IndexError, AttributeError)

#: Methods out of which Python lets nothing, or not all, that is raised.
_SILENT = frozenset({"__del__", "__len__", "__length_hint__"})


def passing_answer(frame: FrameType, last: str) -> tuple[bool, str] | None:
    """What a check has to be answered to pass, and where it is; None where the statement that asks may do more than raise.

    Args:
        frame: The frame that asks for the truth of a tensor.
        last: Name of the file whose frames call the model; what calls these is not looked at.
    """
    path = _path(frame)
    answer = None if path is None else _answer(path, frame)
    if answer is None or not _gets_out(frame, last):
        return None
    return answer, _place(frame)


def checked_at(frame: FrameType, last: str) -> str | None:
    """Where a function is called that only raises, such as `torch._assert`; None where that may be caught.

    Args:
        frame: A frame of PyTorch's below the call.
        last: See `passing_answer`.
    """
    if not _gets_out(frame, last):
        return None
    caller: FrameType | None = frame
    while caller is not None and caller.f_code.co_filename.startswith(_TORCH):
        caller = caller.f_back
    return None if caller is None else _place(caller)


def _gets_out(frame: FrameType | None, last: str) -> bool:
    """Whether what is raised below a frame reaches whoever called the model; PyTorch's modules and transforms catch nothing."""
    while frame is not None and frame.f_code.co_filename != last:
        name = frame.f_code.co_filename
        if not name.startswith((_TORCH, _LIRPA)) or name.startswith(_OF_DISTRIBUTIONS):
            path = _path(frame)
            if path is None or frame.f_code.co_name in _SILENT or any(map(_may_catch, path)):
                return False
        frame = frame.f_back
    return frame is not None


def _place(frame: FrameType) -> str:
    line = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
    return f"{frame.f_code.co_filename}:{frame.f_lineno} `{line}`"


def _path(frame: FrameType) -> tuple[ast.AST, ...] | None:
    """From the function that a frame runs to the expression that it evaluates; None where the source does not tell."""
    positions = list(frame.f_code.co_positions())
    at = frame.f_lasti // 2
    if not 0 <= at < len(positions) or None in positions[at]:
        return None
    line, end_line, column, end_column = positions[at]
    tree = _tree("".join(linecache.getlines(frame.f_code.co_filename)))
    if tree is None:
        return None
    here = (line, column, end_line, end_column)
    path = _find(tree, here)  # type: ignore[arg-type]  # none of them is None
    if path is None:
        return None
    starts = [i for i, node in enumerate(path) if isinstance(node, (ast.FunctionDef, ast.Lambda))]
    return path[starts[-1] :] if starts else None


@cache
def _tree(text: str) -> ast.Module | None:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError):
        return None


def _find(node: ast.AST, here: tuple[int, int, int, int]) -> tuple[ast.AST, ...] | None:
    """The way down to the outermost expression or test that is exactly there."""
    if hasattr(node, "lineno"):
        span = (node.lineno, node.col_offset, node.end_lineno, node.end_col_offset)  # type: ignore[attr-defined]
        if span == here and isinstance(node, (ast.expr, ast.Assert, ast.If)):
            return (node,)
        if not (span[:2] <= here[:2] and here[2:] <= span[2:]):
            decorated = getattr(node, "decorator_list", ())
            if not decorated:
                return None
    for child in ast.iter_child_nodes(node):
        below = _find(child, here)
        if below is not None:
            return (node, *below)
    return None


def _answer(path: Sequence[ast.AST], frame: FrameType) -> bool | None:
    """What the truth that is asked for has to be, for the statement around it not to raise."""
    where = max((i for i, node in enumerate(path) if isinstance(node, ast.stmt)), default=0)
    statement, asks = path[where], path[-1]
    if isinstance(statement, ast.Assert):
        wanted = True
    elif isinstance(statement, ast.If) and _only_raises(statement.body, frame):
        wanted = False
    elif isinstance(statement, ast.If) and _only_raises(statement.orelse, frame):
        wanted = True
    else:
        return None
    if asks is statement:  # Python 3.11 does not say which part of the test asks
        answers = set(_answers(statement.test, wanted, frame))
        return answers.pop() if len(answers) == 1 else None
    between = path[where + 1 : -1]
    if path[where + 1] is not statement.test:
        return None
    for node, below in zip(between, path[where + 2 :], strict=True):
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            wanted = not wanted
        elif isinstance(node, ast.BoolOp):
            if not _may_stop(node, node.values.index(below), wanted, frame):  # type: ignore[arg-type]  # it is one of them
                return None
        elif not _is_truth(node):
            return None
    return next(iter(_answers(asks, wanted, frame))) if _asks(asks) else None


def _may_stop(test: ast.BoolOp, at: int, wanted: bool, frame: FrameType) -> bool:
    """Whether `and` or `or` may leave out what comes after one of its parts, where that part alone tells the outcome."""
    tells = isinstance(test.op, ast.Or) is wanted
    return not tells or all([only_reads(value, frame) for value in test.values[at + 1 :]])


def _answers(test: ast.AST, wanted: bool, frame: FrameType) -> Iterator[bool | None]:
    """What the parts of a test that are asked have to be: one way for all is enough, as every `and` and `or` is one way then."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        yield from _answers(test.operand, not wanted, frame)
    elif isinstance(test, ast.BoolOp):
        if not _may_stop(test, 0, wanted, frame):
            yield None
        for value in test.values:
            yield from _answers(value, wanted, frame)
    elif (
        isinstance(test, ast.Compare)
        and not wanted
        and not all([only_reads(c, frame) for c in test.comparators[1:]])
    ):
        yield None
    else:
        yield None if isinstance(test, ast.IfExp) else wanted


def _asks(node: ast.AST) -> bool:
    """Whether the truth that is asked for while an expression is evaluated is that of its value."""
    if isinstance(node, ast.Call):
        return _is_truth(node) or not _is_builtin(node)
    if isinstance(node, ast.Compare):
        return len(node.ops) == 1 and not isinstance(node.ops[0], (ast.In, ast.NotIn))
    return not isinstance(node, (ast.BoolOp, ast.IfExp))


def _is_truth(node: ast.AST) -> bool:
    """Whether a call is `bool(x)`, `float(x)`, `int(x)` or `x.item()`, which are as true as `x` is."""
    if not isinstance(node, ast.Call):
        return False
    if isinstance(node.func, ast.Name):
        return node.func.id in ("bool", "float", "int") and len(node.args) == 1
    return isinstance(node.func, ast.Attribute) and node.func.attr == "item"


def _is_builtin(node: ast.Call) -> bool:
    """Whether a call may be to a function of Python's own that asks for the truth of what it is given, as `any` and `max` do."""
    return isinstance(node.func, ast.Name) and hasattr(builtins, node.func.id)


def _only_raises(block: Sequence[ast.stmt], frame: FrameType) -> bool:
    """Whether a block computes a message at most, and raises what Python does not catch by itself."""
    simple = (ast.Assign, ast.AnnAssign, ast.Expr)
    if (
        not block
        or not isinstance(block[-1], ast.Raise)
        or not all([isinstance(s, simple) for s in block[:-1]])
    ):
        return False
    raised = block[-1].exc
    kind = (
        meaning(raised.func if isinstance(raised, ast.Call) else raised, frame)
        if raised is not None
        else None
    )
    return (
        isinstance(kind, type) and issubclass(kind, BaseException) and not issubclass(kind, _CAUGHT_BY_PYTHON)
    )


def _may_catch(node: ast.AST) -> bool:
    """Whether what is raised inside of a statement may not get out of it."""
    if isinstance(node, (ast.Try, ast.TryStar)):
        return True
    return isinstance(node, ast.With) and not all(_roots(item.context_expr) == "torch" for item in node.items)


def _roots(node: ast.AST) -> str:
    """The first name of `a.b.c(...)`."""
    while isinstance(node, (ast.Call, ast.Attribute)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""
