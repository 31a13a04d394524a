"""Errors about models that one of torch's tracers refuses."""

from __future__ import annotations

import traceback

from torch.nn.utils.rnn import PackedSequence

from lirpa_core.capture.source import raised_at, user_frame
from lirpa_core.errors import CaptureError, DataDependentBranchError, UnsupportedOperatorError

#: What torch's tracers say where Python asks for a value.
_OF_VALUES = ("data-dependent", ".item()", ".numpy() is not supported", "data pointer")


def refusal(error: Exception) -> CaptureError:
    """The error about a model that one of torch's tracers refuses.

    Args:
        error: What the tracer raised.
    """
    from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

    if _meets_packed_sequence(error):
        return CaptureError(
            "packed sequences cannot be bounded: the examples of a batch share steps there. Give the "
            "recurrent layer padded sequences, and pick each example's last step with torch.gather."
        )
    text = str(error)
    if isinstance(error, GuardOnDataDependentSymNode) or any(part in text.lower() for part in _OF_VALUES):
        return _branch_error(error)
    return _refused(error)


def control_flow(error: BaseException) -> UnsupportedOperatorError | None:
    """The error about `torch.cond` and its like, which run PyTorch's compiler even in a plain run; None for another error."""
    if not type(error).__module__.startswith("torch._dynamo"):
        return None
    where = raised_at(error)
    return UnsupportedOperatorError(
        f"torch.cond, torch.while_loop and their like{f' at {where}' if where else ''} have no bounds. Write a choice as "
        "torch.where(condition, a, b), a loop of known length in Python, and `if` where no input decides."
    )


def _meets_packed_sequence(error: BaseException) -> bool:
    """Whether an error arose below a call with a packed sequence among its arguments."""
    return any(
        isinstance(value, PackedSequence)
        for frame, _ in traceback.walk_tb(error.__traceback__)
        for value in frame.f_locals.values()
    )


def _refused(error: Exception) -> CaptureError:
    """The error about a model that torch refuses: where, and the first line of why."""
    where = user_frame(str(error)) or raised_at(error)
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return CaptureError(
        f"torch.export could not capture the model{f' at {where}' if where else ''}: {lines[0]}. Try "
        "torch.export.export(model, args, strict=False).run_decompositions() by itself to see its full report."
    )


def _branch_error(error: Exception) -> DataDependentBranchError:
    where = user_frame(str(error)) or raised_at(error)
    return number_error(f" at {where}" if where else "")


def number_error(where: str) -> DataDependentBranchError:
    """The error about a model that asks for the value of a tensor.

    Args:
        where: " at" a line of the user's, or nothing.
    """
    return DataDependentBranchError(
        f"the model branches on, or converts to a Python number, the value of a tensor{where}. One graph would follow "
        "only what the example does, and bounds for other inputs would be wrong. Write a choice as "
        "torch.where(condition, a, b), keep numbers as tensors (no float(x), x.item()), or move it out of forward(). A check "
        "that only raises may stay where its own statement shows it, as in `if bad(x).any(): raise ...` outside of any `try`; else "
        "put it behind `if not torch.compiler.is_exporting():`. Bounds then hold for the inputs that pass it."
    )
