"""What processes gather, joins to what it was, and is told from other values."""

from __future__ import annotations

import pytest
import torch

from lirpa_core.devices import fingerprint, refuse_gradient
from lirpa_core.devices.shared_tensors import checked, joined
from lirpa_core.errors import InputError


def test_a_fingerprint_tells_values_and_places() -> None:
    x = torch.tensor([1.0, 2.0, 3.0])
    same, moved, nearly = x.clone(), x.flip(0), x + torch.tensor([0, 0, 3e-7])
    assert fingerprint([x]) == fingerprint([same])
    assert len({fingerprint(t) for t in ([x], [moved], [nearly], [x, x], [x.double()], [])}) == 6


def test_a_fingerprint_tells_the_order_of_a_large_tensor_and_what_sums_of_places_do_not() -> None:
    ends, middle = torch.tensor([1.0, 0, 0, 1]), torch.tensor([0.0, 1, 1, 0])
    assert fingerprint([ends]) != fingerprint([middle])
    large = torch.zeros(300_000)
    assert len({fingerprint([large + (torch.arange(300_000) == i)]) for i in (0, 5, 262_149, 299_999)}) == 4


def test_parts_join_in_order_and_what_is_not_there_stays_so() -> None:
    x = torch.arange(6.0).reshape(3, 2)
    found = joined([(x[:1], None, {"a": x[:1, 0]}), (x[1:], None, {"a": x[1:, 0]})])
    assert torch.equal(found[0], x) and found[1] is None and torch.equal(found[2]["a"], x[:, 0])


def test_what_cannot_be_gathered_is_refused() -> None:
    x = torch.zeros(3, 2)
    assert checked((x, None), 3) == (x, None)
    for wrong in (x, x.sum(), 3):
        with pytest.raises(InputError, match="2 examples"):
            checked((wrong,), 2)
    x.requires_grad_()
    with pytest.raises(InputError, match=r"torch\.no_grad"):
        refuse_gradient(None, x)
    with torch.no_grad():
        refuse_gradient(x)
