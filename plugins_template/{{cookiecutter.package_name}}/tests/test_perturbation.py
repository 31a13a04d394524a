"""The perturbation describes one and the same set in all of its methods."""

from __future__ import annotations

import math

import pytest
import torch
from lirpa_core.errors import PerturbationError
from lirpa_core.testing import check_perturbation

from {{ cookiecutter.module_name }} import PerturbationBrightness


@pytest.mark.parametrize("eps", [0.0, 0.3])
def test_methods_fit_each_other(eps: float) -> None:
    x = torch.linspace(-1, 1, 12).reshape(2, 2, 3)
    check_perturbation(PerturbationBrightness(eps), x)


@pytest.mark.parametrize("eps", [-1.0, math.nan, math.inf])
def test_bad_eps_is_refused(eps: float) -> None:
    with pytest.raises(PerturbationError, match="eps must be finite and not negative"):
        PerturbationBrightness(eps)
