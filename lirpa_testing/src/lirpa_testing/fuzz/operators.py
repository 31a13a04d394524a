"""Operators that random programs are made of: as PyTorch's source, and in balls of arbitrary precision."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, TypeAlias

import numpy as np
from flint import arb

#: An array of `flint.arb`.
Balls: TypeAlias = Any
#: Nested lists of numbers.
Numbers: TypeAlias = Any

#: Draws an array of numbers of a shape.
DrawNumbers: TypeAlias = Callable[[Sequence[int]], Numbers]


@dataclass(frozen=True, kw_only=True)
class Operator:
    """An operator on vectors, one an example.

    Args:
        source: PyTorch's expression of operands `{a}`, `{b}`, each `[B, n]`, of parameters `{p}`, `{q}`, and of `{n}`,
            the width of `a`.
        exact: The same function of one example, `[n]` each, then of the parameters.
        width: The result's width from those of the operands; None where it does not fit them.
        parameters: Shapes of parameters from the widths of the operands.
        arity: How many operands.
    """

    source: str
    exact: Callable[..., Balls]
    width: Callable[..., int | None] = lambda n: n
    parameters: Callable[[random.Random, Sequence[int]], Sequence[Sequence[int]]] = lambda _r, _n: ()
    arity: int = 1


def _each(f: Callable[[arb], arb]) -> Callable[[Balls], Balls]:
    return lambda v: array([f(e) for e in v])


def array(values: Sequence[Any]) -> Balls:
    """A vector of objects, whatever their type."""
    out = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):
        out[i] = value
    return out


def _total(v: Balls) -> arb:
    return sum(v, arb(0))


def _greatest(v: Balls) -> arb:
    best: arb = v[0]
    for e in v[1:]:
        best = best.max(e)
    return best


def _least(v: Balls) -> arb:
    best: arb = v[0]
    for e in v[1:]:
        best = best.min(e)
    return best


def _softplus(x: arb) -> arb:
    smooth = x.exp().log1p()
    # PyTorch's function is the identity above 20; bounds of either function are right.
    return smooth.union(x) if not x < 20 else smooth


def _sigmoid(x: arb) -> arb:
    return 1 / (1 + (-x).exp()) if x > 0 else x.exp() / (1 + x.exp())


def _tanh(x: arb) -> arb:
    return x.tanh()


def _softmax(v: Balls) -> Balls:
    return array([1 / _total(array([(u - e).exp() for u in v])) for e in v])


def _conv(v: Balls, w: Balls, b: Balls) -> Balls:
    k = w.shape[-1]
    padded = np.concatenate([array([arb(0)]), v, array([arb(0)])])
    return array([_total(padded[i : i + k] * w[0, 0]) + b[0] for i in range(len(padded) - k + 1)])


def _conv2d(v: Balls, w: Balls, b: Balls) -> Balls:
    image = v.reshape(2, -1)
    return array(
        [
            _total((image[:, j : j + 2] * w[c, 0]).flatten()) + b[c]
            for c in range(2)
            for j in range(image.shape[1] - 1)
        ]
    )


def _normalized(v: Balls) -> Balls:
    centred = v - _total(v) / len(v)
    return centred / (_total(centred * centred) / len(v) + arb(2) ** -10).sqrt()


def _same(*widths: int) -> int | None:
    return widths[0] if len(set(widths)) == 1 else None


def _linear_shapes(draw: random.Random, widths: Sequence[int]) -> Sequence[Sequence[int]]:
    out = draw.randint(1, 5)
    return ((out, widths[0]), (out,))


_F = "torch.nn.functional"

#: Elementwise functions: PyTorch's source and the function of one ball.
ELEMENTWISE: Final[Mapping[str, tuple[str, Callable[[arb], arb]]]] = MappingProxyType(
    {
        "relu": ("torch.relu({a})", lambda x: x.max(arb(0))),
        "leaky_relu": (_F + ".leaky_relu({a}, 0.125)", lambda x: x.max(x / 8)),
        "abs": ("{a}.abs()", abs),
        "neg": ("-{a}", lambda x: -x),
        "half": ("{a} * 0.5", lambda x: x / 2),
        "shift": ("{a} + 1000.0", lambda x: x + 1000),
        "tanh": ("torch.tanh({a})", _tanh),
        "sigmoid": ("torch.sigmoid({a})", _sigmoid),
        "silu": (_F + ".silu({a})", lambda x: x * _sigmoid(x)),
        "gelu": (_F + ".gelu({a})", lambda x: x / 2 * (-x / arb(2).sqrt()).erfc()),
        "softplus": (_F + ".softplus({a})", _softplus),
        "elu": (_F + ".elu({a})", lambda x: x.max(arb(0)) + x.min(arb(0)).expm1()),
        "exp": ("torch.exp({a})", lambda x: x.exp()),
        "sin": ("torch.sin({a})", lambda x: x.sin()),
        "cos": ("torch.cos({a})", lambda x: x.cos()),
        "atan": ("torch.atan({a})", lambda x: x.atan()),
        "erf": ("torch.erf({a})", lambda x: x.erf()),
        "square": ("{a}.square()", lambda x: x * x),
        "cube": ("{a} ** 3", lambda x: x**3),
        "hardtanh": (_F + ".hardtanh({a})", lambda x: x.max(arb(-1)).min(arb(1))),
        "clamp": ("{a}.clamp(-0.5, 0.75)", lambda x: x.max(arb(-1) / 2).min(arb(3) / 4)),
        "log_of_abs": ("({a}.abs() + 0.125).log()", lambda x: (abs(x) + arb(1) / 8).log()),
        "root_of_abs": ("({a}.abs() + 0.125).sqrt()", lambda x: (abs(x) + arb(1) / 8).sqrt()),
        "reciprocal": ("1 / ({a}.square() + 0.5)", lambda x: 1 / (x * x + arb(1) / 2)),
    }
)

_ONE: Final[Mapping[str, Operator]] = MappingProxyType(
    {name: Operator(source=source, exact=_each(function)) for name, (source, function) in ELEMENTWISE.items()}
)

OPERATORS: Final[Mapping[str, Operator]] = MappingProxyType(
    {
        **_ONE,
        "linear": Operator(
            source=_F + ".linear({a}, {p}, {q})",
            exact=lambda v, w, b: array([_total(row * v) + c for row, c in zip(w, b, strict=True)]),
            width=lambda _n: None,  # that of its parameters
            parameters=_linear_shapes,
        ),
        "conv": Operator(
            source=_F + ".conv1d({a}.unsqueeze(1), {p}, {q}, padding=1).squeeze(1)",
            exact=_conv,
            width=lambda n: n + 1,
            parameters=lambda _r, _n: ((1, 1, 2), (1,)),
        ),
        "conv2d": Operator(
            source=_F + ".conv2d({a}.reshape(-1, 1, 2, {n} // 2), {p}, {q}).flatten(1)",
            exact=_conv2d,
            width=lambda n: n - 2 if n >= 4 and n % 2 == 0 else None,
            parameters=lambda _r, _n: ((2, 1, 2, 2), (2,)),
        ),
        "max_pool": Operator(
            source=_F + ".max_pool1d({a}.unsqueeze(1), 2, 1).squeeze(1)",
            exact=lambda v: array([_greatest(v[i : i + 2]) for i in range(len(v) - 1)]),
            width=lambda n: n - 1 or None,
        ),
        "avg_pool": Operator(
            source=_F + ".avg_pool1d({a}.unsqueeze(1), 2, 1).squeeze(1)",
            exact=lambda v: (v[1:] + v[:-1]) / 2,
            width=lambda n: n - 1 or None,
        ),
        "log_softmax": Operator(
            source="torch.log_softmax({a}, -1)",
            exact=lambda v: array([-_total(array([(u - e).exp() for u in v])).log() for e in v]),
        ),
        "rms_norm": Operator(
            source=_F + ".rms_norm({a}, ({n},), eps=2.0**-10)",
            exact=lambda v: v / (_total(v * v) / len(v) + arb(2) ** -10).sqrt(),
        ),
        "glu": Operator(
            source=_F + ".glu({a}, -1)",
            exact=lambda v: v[: len(v) // 2] * array([_sigmoid(e) for e in v[len(v) // 2 :]]),
            width=lambda n: n // 2 if n % 2 == 0 else None,
        ),
        "swiglu": Operator(
            source=_F + ".silu({a}) * {b}",
            exact=lambda v, w: array([e * _sigmoid(e) for e in v]) * w,
            width=_same,
            arity=2,
        ),
        "attend": Operator(
            source="(torch.softmax({a}, -1).unsqueeze(1) @ {b}.unsqueeze(2)).squeeze(1)",
            exact=lambda v, w: array([_total(_softmax(v) * w)]),
            width=lambda n, m: 1 if n == m else None,
            arity=2,
        ),
        "scale": Operator(
            source="{a} * {p} + {q}",
            exact=lambda v, s, c: v * s + c,
            parameters=lambda _r, n: ((n[0],), (n[0],)),
        ),
        "softmax": Operator(source="torch.softmax({a}, -1)", exact=_softmax),
        "normalize": Operator(
            source="({a} - {a}.mean(-1, keepdim=True)) / "
            "(({a} - {a}.mean(-1, keepdim=True)).square().mean(-1, keepdim=True) + 2.0**-10).sqrt()",
            exact=_normalized,
        ),
        "layer_norm": Operator(source=_F + ".layer_norm({a}, ({n},), eps=2.0**-10)", exact=_normalized),
        "sum": Operator(
            source="{a}.sum(-1, keepdim=True)", exact=lambda v: array([_total(v)]), width=lambda _n: 1
        ),
        "mean": Operator(
            source="{a}.mean(-1, keepdim=True)",
            exact=lambda v: array([_total(v) / len(v)]),
            width=lambda _n: 1,
        ),
        "amax": Operator(
            source="{a}.amax(-1, keepdim=True)", exact=lambda v: array([_greatest(v)]), width=lambda _n: 1
        ),
        "amin": Operator(
            source="{a}.amin(-1, keepdim=True)", exact=lambda v: array([_least(v)]), width=lambda _n: 1
        ),
        "norm": Operator(
            source="({a}.square().sum(-1, keepdim=True) + 0.125).sqrt()",
            exact=lambda v: array([(_total(v * v) + arb(1) / 8).sqrt()]),
            width=lambda _n: 1,
        ),
        "logsumexp": Operator(
            source="torch.logsumexp({a}, -1, keepdim=True)",
            exact=lambda v: array(
                [_greatest(v) + _total(array([(e - _greatest(v)).exp() for e in v])).log()]
            ),
            width=lambda _n: 1,
        ),
        "cumsum": Operator(source="{a}.cumsum(-1)", exact=np.cumsum),
        "head": Operator(source="{a}[:, :2]", exact=lambda v: v[:2], width=lambda n: min(n, 2)),
        "tail": Operator(source="{a}[:, 1:]", exact=lambda v: v[1:], width=lambda n: n - 1 or None),
        "flip": Operator(source="{a}.flip(-1)", exact=lambda v: v[::-1]),
        "add": Operator(source="{a} + {b}", exact=lambda v, w: v + w, width=_same, arity=2),
        "sub": Operator(source="{a} - {b}", exact=lambda v, w: v - w, width=_same, arity=2),
        "mul": Operator(source="{a} * {b}", exact=lambda v, w: v * w, width=_same, arity=2),
        "div": Operator(
            source="{a} / ({b}.abs() + 0.125)",
            exact=lambda v, w: v / (abs(w) + arb(1) / 8),
            width=_same,
            arity=2,
        ),
        "maximum": Operator(
            source="torch.maximum({a}, {b})",
            exact=lambda v, w: array([a.max(b) for a, b in zip(v, w, strict=True)]),
            width=_same,
            arity=2,
        ),
        "minimum": Operator(
            source="torch.minimum({a}, {b})",
            exact=lambda v, w: array([a.min(b) for a, b in zip(v, w, strict=True)]),
            width=_same,
            arity=2,
        ),
        "dot": Operator(
            source="({a}.unsqueeze(1) @ {b}.unsqueeze(2)).squeeze(1)",
            exact=lambda v, w: array([_total(v * w)]),
            width=lambda n, m: 1 if n == m else None,
            arity=2,
        ),
        "cat": Operator(
            source="torch.cat([{a}, {b}], -1)",
            exact=lambda v, w: np.concatenate([v, w]),
            width=lambda n, m: n + m if n + m <= 8 else None,
            arity=2,
        ),
    }
)
