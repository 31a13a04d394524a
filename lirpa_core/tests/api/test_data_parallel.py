"""The name that users look for says what does its work."""

from __future__ import annotations

import pytest
from torch import nn

from lirpa_core import BoundDataParallel
from lirpa_core.errors import OptionError


def test_it_names_the_module_to_wrap() -> None:
    with pytest.raises(
        OptionError, match=r"CertifiedLoss\(model, \.\.\.\) in torch\.nn\.parallel\.DistributedDataParallel"
    ):
        BoundDataParallel(nn.Linear(2, 2))
