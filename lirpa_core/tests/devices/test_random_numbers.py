"""The same numbers come again after the state was set back."""

import torch

from lirpa_core.devices import random_state, set_random_state


def test_the_same_numbers_come_again() -> None:
    before = random_state()
    first = torch.rand(3)
    assert not torch.equal(first, torch.rand(3))
    set_random_state(before)
    assert torch.equal(first, torch.rand(3))
