"""What the perturbation refuses. That its methods fit each other is part of the conformance tests."""

from __future__ import annotations

import math

import pytest
from lirpa_core.errors import PerturbationError

from {{ cookiecutter.module_name }} import PerturbationBrightness


@pytest.mark.parametrize("eps", [-1.0, math.nan, math.inf])
def test_bad_eps_is_refused(eps: float) -> None:
    with pytest.raises(PerturbationError, match="eps must be finite and not negative"):
        PerturbationBrightness(eps)
