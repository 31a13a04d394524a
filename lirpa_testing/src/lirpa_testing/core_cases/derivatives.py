"""Derivatives of activations, with the places where they bend or jump."""

from __future__ import annotations

import torch

from lirpa_testing.conformance.declarations import ConformanceCases
from lirpa_testing.core_cases.activation import UnaryCase

#: By activation and order: the places, and the parameters.
_PLACES: tuple[tuple[str, int, tuple[float, ...], tuple[float, ...]], ...] = (
    ("sigmoid", 1, (0.0, 1.3169578969248167), ()),
    ("sigmoid", 2, (0.0, 2.2924316695611777), ()),
    ("sigmoid", 3, (0.0, 0.8426329127, 3.1443158), ()),
    ("tanh", 1, (0.0, 0.6584789484624083), ()),
    ("tanh", 2, (0.0, 1.1462158347805889), ()),
    ("tanh", 3, (0.0, 0.4213164564, 1.5721579), ()),
    ("softplus", 1, (0.0, 20.0), (1.0, 20.0)),
    ("softplus", 2, (0.0, 2.0), (3.0, 6.0)),
    ("softplus", 3, (0.0, 20.0), (1.0, 20.0)),
    ("log_sigmoid", 1, (0.0,), ()),
    ("log_sigmoid", 2, (0.0, 1.3169578969248167), ()),
    ("gelu", 1, (0.0, 2.0, -2.0, 2**0.5), ()),
    ("gelu", 2, (0.0, 0.7922869913932613, 2.5243377989621386), ()),
    ("gelu", 3, (0.0, 2**0.5, 3.0), ()),
    ("gelu_tanh", 1, (0.0, 2.013480724624258, -2.013480724624258), ()),
    ("gelu_tanh", 2, (0.0, 0.787576186418894, 2.553417914329443), ()),
    ("silu", 1, (0.0, 3.4358409935351107, -3.4358409935351107), ()),
    ("silu", 2, (0.0, 1.031958241780749, 4.429235100557228), ()),
    ("mish", 1, (-3.2673378465204046, -0.08793443131491421, 2.1148425630208771), ()),
    ("mish", 2, (-0.8819460768319226, 0.7155058867000298), ()),
    ("softsign", 0, (0.0,), ()),
    ("softsign", 1, (0.0,), ()),
    ("elu", 1, (0.0,), (1.5, 0.75, 1.25)),
    ("elu", 1, (0.0,), (1.0, 1.0, 1.0)),
    ("elu", 2, (0.0,), (1.0, 1.0, 1.0)),
    ("hardswish", 1, (-3.0, 3.0, -1.5), ()),
    ("hardswish", 2, (-3.0, 3.0), ()),
    ("hardsigmoid", 1, (-3.0, 3.0), ()),
    ("relu", 1, (0.0,), ()),
    ("leaky_relu", 1, (0.0,), (0.25,)),
    ("hardtanh", 1, (-0.5, 2.0), (-0.5, 2.0)),
    ("softshrink", 1, (-0.75, 0.75), (0.75,)),
    ("abs", 1, (0.0,), ()),
)


def _case(function: str, order: int, special: tuple[float, ...], parameters: tuple[float, ...]) -> UnaryCase:
    name = f"{function}{order * chr(39)}{parameters or ''}"
    op = torch.ops.lirpa.derivative.default
    return UnaryCase(name, op, (function, order, list(parameters)), special=special)


CASES = [_case(*entry) for entry in _PLACES]


#: One of each kind goes through all checks; `test_derivatives` proves the rest.
_DECLARED = ("tanh''", "gelu'", "elu'(1.5, 0.75, 1.25)", "hardswish'", "relu'")


def declare(cases: ConformanceCases) -> None:
    """Declare one derivative of each kind."""
    for case in CASES:
        if case.name not in _DECLARED:
            continue
        cases.add(case.name, case.call(shape=(1, 3)), domain=case.limits, kinks=case.special)
