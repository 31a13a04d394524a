"""Free memory of a device."""

import pytest
import torch

from lirpa_core.devices import free_share, ran_out_of_memory
from lirpa_core.errors import MemoryBudgetError


def test_a_part_of_what_is_free() -> None:
    assert 0 < free_share(torch.device("cpu")) < 2**50


def test_where_the_system_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: str) -> int:
        raise ValueError

    monkeypatch.setattr("os.sysconf", refuse)
    assert free_share(torch.device("cpu")) == 2**30


def test_errors_that_say_that_memory_ran_out() -> None:
    with pytest.raises(RuntimeError) as refused:
        torch.empty(2**57, dtype=torch.uint8)  # more than any machine's addresses
    assert ran_out_of_memory(refused.value)
    assert ran_out_of_memory(torch.OutOfMemoryError("CUDA out of memory")) and ran_out_of_memory(
        MemoryError()
    )
    assert not ran_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not ran_out_of_memory(MemoryBudgetError("explained already"))
