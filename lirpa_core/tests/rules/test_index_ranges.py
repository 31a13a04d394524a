"""An index that no row has is refused with the range that there is."""

from __future__ import annotations

import pytest
import torch

from lirpa_core.errors import InputError
from lirpa_core.rules import ID_OUT_OF_RANGE, Call, Operand, require_in_range
from lirpa_core.rules.index_ranges import ids_out_of_range, out_of_range


@pytest.mark.parametrize(("ids", "wrong"), [([0, 5], 5), ([-1, 2], -1), ([7, -2], -2)])
def test_the_wrong_one_and_the_range_are_named(ids: list[int], wrong: int) -> None:
    said = ids_out_of_range(torch.tensor(ids), 5)
    assert said is not None and f"the id {wrong} is out of range" in said and "from 0 to 4" in said
    call = Call.of(torch.ops.aten.embedding.default, Operand((5, 2)), torch.tensor([0]))
    with pytest.raises(InputError, match=f"the id {wrong} is out of range"):
        require_in_range(call, torch.tensor(ids), 5, ID_OUT_OF_RANGE)


def test_what_fits_is_let_through() -> None:
    call = Call.of(torch.ops.aten.embedding.default, Operand((5, 2)), torch.tensor([0]))
    for ids in ([0, 4], []):
        assert out_of_range(torch.tensor(ids, dtype=torch.long), 5, "{wrong}") is None
        require_in_range(call, torch.tensor(ids, dtype=torch.long), 5, ID_OUT_OF_RANGE)
