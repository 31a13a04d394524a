"""Eigenvalues, singular values and exponentials of small matrices, and a Bessel function: ranges alone."""

from __future__ import annotations

import torch

from lirpa_core.rules import Call
from lirpa_testing.conformance.declarations import ConformanceCases
from lirpa_testing.core_cases.values import X

aten = torch.ops.aten

#: What kernels are off by is more than the kit allows bounds of single points.
_KERNELS = ("degenerate",)
#: Besides, the norm of the radius does not bound by how much the middle's values move from a box to a part of it.
_WEYL = ("degenerate", "shrinking")


def declare(cases: ConformanceCases) -> None:
    """Declare every call."""
    for name, call in (
        ("lower triangle", Call.of(aten.linalg_eigvalsh.default, X(3, 3))),
        ("upper triangle", Call.of(aten.linalg_eigvalsh.default, X(2, 2), "U")),
        ("wide", Call.of(aten.linalg_svdvals.default, X(2, 3))),
        ("several", Call.of(aten.linalg_svdvals.default, X(2, 2, 2))),
    ):
        cases.add(name, call, without=_WEYL)
    cases.add(
        "matrix", Call.of(aten.linalg_matrix_exp.default, X(2, 2)), domain=(-3.0, 3.0), without=_KERNELS
    )
    cases.add("alias", Call.of(aten.matrix_exp.default, X(3, 3)), domain=(-2.0, 2.0), without=_KERNELS)
    cases.add("Bessel", Call.of(aten.special_bessel_j0.default, X(3)), without=_KERNELS)
    cases.add("signs", Call.of(aten.signbit.default, X(3)), without=("degenerate",))  # zero has two
    # Numbers that are equal at a single point are one number there, and several on every box around it.
    cases.add("mode", Call.of(aten.mode.default, X(2, 4), 1, output=0), without=("degenerate",))
    cases.add("mode kept", Call.of(aten.mode.default, X(3, 2), 0, True, output=0), without=("degenerate",))
