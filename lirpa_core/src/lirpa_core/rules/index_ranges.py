"""Checks of whole numbers that look something up: ids of rows, indices, labels."""

from __future__ import annotations

from torch import Tensor

from lirpa_core.devices import is_traced
from lirpa_core.errors import InputError
from lirpa_core.rules.call import Call

#: What to say about the id of a row, see `out_of_range`.
ID_OUT_OF_RANGE = "the id {wrong} is out of range: the table has {count} rows, so ids run from 0 to {last}."


def out_of_range(indices: Tensor, count: int, message: str) -> str | None:
    """What to say about an index that is none of `0 .. count − 1`, or None. Waits for the device.

    Args:
        indices: Whole numbers.
        count: How many are allowed.
        message: What to say, with `{wrong}`, `{count}` and `{last}` where numbers belong.
    """
    low, high = (int(indices.min()), int(indices.max())) if indices.numel() else (0, 0)
    if low >= 0 and high < count:
        return None
    return message.format(wrong=low if low < 0 else high, count=count, last=count - 1)


def ids_out_of_range(ids: Tensor, rows: int) -> str | None:
    """What to say about ids that no row of a table has, or None."""
    return out_of_range(ids, rows, ID_OUT_OF_RANGE)


def require_in_range(call: Call, indices: Tensor, count: int, message: str) -> None:
    """Refuse a call that looks something up where there is nothing; not while `torch.compile` traces.

    Args:
        call: The call.
        indices: See `out_of_range`.
        count: See `out_of_range`.
        message: See `out_of_range`.

    Raises:
        InputError: Naming the node, the index and the range.
    """
    if is_traced():
        return
    found = out_of_range(indices, count, message)
    if found is not None:
        raise InputError(f"{call.node}: {found}")
