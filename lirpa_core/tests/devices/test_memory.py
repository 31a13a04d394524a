"""Free memory of a device."""

import pytest
import torch

from lirpa_core.devices import free_share


def test_a_part_of_what_is_free() -> None:
    assert 0 < free_share(torch.device("cpu")) < 2**50


def test_where_the_system_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: str) -> int:
        raise ValueError

    monkeypatch.setattr("os.sysconf", refuse)
    assert free_share(torch.device("cpu")) == 2**30
