"""Calls on which the tests and `lirpa check` try the rules. Only they import this module."""

from __future__ import annotations

import torch
from lirpa_core.rules import Call, Operand
from lirpa_testing import ConformanceCases

from {{ cookiecutter.module_name }}.functions import Squash, bump, differences, length, pairwise
from {{ cookiecutter.module_name }}.perturbation import PerturbationBrightness

KNOWN = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)


def declare(cases: ConformanceCases) -> None:
    """Declare calls of every operator, the shapes being those of one example, and sets."""
    cases.add("four elements", Call.of(differences, Operand((4,))))
    cases.add("two factors", Call.of(pairwise, Operand((2,)), Operand((3,))))
    cases.add("known factor", Call.of(pairwise, Operand((2,)), KNOWN))
    cases.add("default", Call.of(Squash(), Operand((3,))))
    cases.add("sharp", Call.of(Squash(5.0), Operand((3,))))
    # Boxes are drawn around kinks: where a function or its curvature changes character.
    cases.add("bell", Call.of(bump, Operand((3,))), kinks=(-(0.5**0.5), 0.0, 0.5**0.5))
    cases.add("both sides", Call.of(length, Operand((2,)), Operand((2,))))
    cases.add("known side", Call.of(length, Operand((3,)), KNOWN))
    x = torch.linspace(-1, 1, 12).reshape(2, 2, 3)
    for eps in (0.0, 0.3):
        cases.perturbation(f"eps {eps}", PerturbationBrightness(eps), x)
