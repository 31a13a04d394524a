"""Which dimension runs over examples, and which inputs are refused by name."""

from __future__ import annotations

import pytest
import torch
from torch.nn.utils.rnn import pack_sequence

from lirpa_core import BoundedModule
from lirpa_core.capture.inputs import (
    AUTO,
    batch_dims_of,
    refuse_containers,
    refuse_mapped,
    refuse_other_types,
)
from lirpa_core.errors import InputError

X, SHARED = torch.zeros(3, 4), torch.zeros(4)


def test_dimensions() -> None:
    assert batch_dims_of(AUTO, [X, X, SHARED]) == (0, 0, None)
    assert batch_dims_of(None, [X, SHARED]) == (None, None)
    assert batch_dims_of((-1, None), [X, SHARED]) == (1, None)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("none", "expected 'auto', None, or one entry an input"),
        ((0,), "has 1 entries, the model takes 2 inputs"),
        ((2, None), r"batch_dims\[0\]=2 is not a dimension of input 0 \(tensor of shape \[3, 4\]\)"),
    ],
)
def test_wrong_dimensions_are_named(given: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        batch_dims_of(given, [X, SHARED])  # type: ignore[arg-type]


def test_refused() -> None:
    with pytest.raises(InputError, match="input 1 is a packed sequence"):
        refuse_containers([X, pack_sequence([X])])
    for dtype in (torch.complex64, torch.float16):
        with pytest.raises(InputError, match=f"input 0 has dtype {dtype}"):
            refuse_other_types([X.to(dtype)])
    refuse_other_types([X, X.double(), X.long(), "text"])


def test_inside_of_vmap() -> None:
    refuse_mapped([X, "text"])
    with pytest.raises(InputError, match=r"inside of torch\.func\.vmap"):
        torch.func.vmap(lambda x: BoundedModule(torch.sin, x[None]) and x)(X)
