"""Operators that random programs are made of: as PyTorch's source, and in balls of arbitrary precision.

The functions of balls take enclosures too (see `enclosures`), so they choose by `_choose`, not by an `if`.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, TypeAlias

import numpy as np
from flint import arb

from lirpa_testing.fuzz.enclosures import Enclosure

#: A ball, or the enclosures of a number at many points.
Number: TypeAlias = Any
#: An array of numbers: of `flint.arb`, or of enclosures.
Balls: TypeAlias = Any
#: Nested lists of numbers.
Numbers: TypeAlias = Any

#: Draws an array of numbers of a shape.
DrawNumbers: TypeAlias = Callable[[Sequence[int]], Numbers]


@dataclass(frozen=True, kw_only=True)
class Operator:
    """An operator on vectors, one an example.

    Args:
        source: PyTorch's expression of operands `{a}`, `{b}`, each `[B, n]`, of parameters `{p}`, `{q}`, `{r}`, `{s}`, and of
            `{n}`, the width of `a`.
        own: The same expression of parameters that each example has its own of, `[B, ...]` each; None: `source` serves, where
            there are none; empty where there is no such expression.
        exact: The same function of one example, `[n]` each, then of the parameters.
        width: The result's width from those of the operands; None where it does not fit them.
        parameters: Shapes of parameters from the widths of the operands.
        arity: How many operands.
    """

    source: str
    own: str | None = None
    exact: Callable[..., Balls]
    width: Callable[..., int | None] = lambda n: n
    parameters: Callable[[random.Random, Sequence[int]], Sequence[Sequence[int]]] = lambda _r, _n: ()
    arity: int = 1


def _each(f: Callable[[Number], Number]) -> Callable[[Balls], Balls]:
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


def _choose(x: Number, limit: Number, above: Number, otherwise: Number) -> Number:
    """`above` where x is greater than the limit, else `otherwise`; either where that is not known."""
    if isinstance(x, Enclosure):
        return x.choose(limit, above, otherwise)
    return above if x > limit else otherwise if x <= limit else above.union(otherwise)


def _softplus(x: Number) -> Number:
    smooth = x.max(arb(0)) + (-abs(x)).exp().log1p()
    # PyTorch's function is the identity above 20; bounds of either function are right.
    return _choose(x, arb(20) - arb(2) ** -20, smooth.union(x), smooth)


def _smooth_softplus(x: Number) -> Number:
    return x.max(arb(0)) + (-abs(x)).exp().log1p()


def _ball(value: float) -> arb:
    return arb(value)


def _sigmoid(x: Number) -> Number:
    return 1 / (1 + (-x).exp())


def _tanh(x: Number) -> Number:
    return x.tanh()


def _positive(x: Number) -> Number:
    return x.max(arb(0))


def _tail(x: Number) -> Number:
    """Of normal numbers, what is below x."""
    return (-x / arb(2).sqrt()).erfc() / 2


def _remainder(x: Number, divisor: Number) -> Number:
    return x - divisor * (x / divisor).floor()


def _sorted(v: Balls) -> Balls:
    """By a network of minima and maxima, from the least."""
    out = list(v)
    for last in range(len(out) - 1, 0, -1):
        for i in range(last):
            out[i], out[i + 1] = out[i].min(out[i + 1]), out[i].max(out[i + 1])
    return array(out)


def _padded_maxima(v: Balls) -> Balls:
    """Windows of three, two apart, with one place of nothing on either side."""
    places = range(-1, len(v) - 1, 2)
    return array([_greatest(v[max(i, 0) : i + 3]) for i in places])


def _affine(x: Balls, w: Balls, b: Balls) -> Balls:
    return array([_total(row * x) + c for row, c in zip(w, b, strict=True)])


def _rnn(x: Balls, h: Balls, w: Balls, u: Balls, b: Balls, c: Balls) -> Balls:
    return array([_tanh(e) for e in _affine(x, w, b) + _affine(h, u, c)])


def _gru(x: Balls, h: Balls, w: Balls, u: Balls, b: Balls, c: Balls) -> Balls:
    n = len(h)
    a, d = _affine(x, w, b), _affine(h, u, c)
    r, z = (array([_sigmoid(e) for e in a[k : k + n] + d[k : k + n]]) for k in (0, n))
    new = array([_tanh(e) for e in a[2 * n :] + r * d[2 * n :]])
    return array([q + s * (k - q) for q, s, k in zip(new, z, h, strict=True)])


def _lstm(x: Balls, h: Balls, w: Balls, u: Balls, b: Balls, c: Balls) -> Balls:
    """The next hidden state, where the cell's state is the hidden one too."""
    n = len(h)
    gates = _affine(x, w, b) + _affine(h, u, c)
    i, f, o = (array([_sigmoid(e) for e in gates[k : k + n]]) for k in (0, n, 3 * n))
    cell = f * h + i * array([_tanh(e) for e in gates[2 * n : 3 * n]])
    return o * array([_tanh(e) for e in cell])


def _cell_shapes(gates: int) -> Callable[[random.Random, Sequence[int]], Sequence[Sequence[int]]]:
    def shapes(_: random.Random, widths: Sequence[int]) -> Sequence[Sequence[int]]:
        n, h = widths
        return ((gates * h, n), (gates * h, h), (gates * h,), (gates * h,))

    return shapes


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
        "gelu": (_F + ".gelu({a})", lambda x: x * _tail(x)),
        "softplus": (_F + ".softplus({a})", _softplus),
        "mish": (_F + ".mish({a})", lambda x: x * _smooth_softplus(x).tanh()),
        "log_sigmoid": (_F + ".logsigmoid({a})", lambda x: -_smooth_softplus(-x)),
        "gelu_tanh": (
            _F + ".gelu({a}, approximate='tanh')",
            lambda x: x * _sigmoid(2 * (2 / arb.pi()).sqrt() * (x + x * x * x * _ball(0.044715))),
        ),
        "celu": (_F + ".celu({a}, 0.5)", lambda x: _positive(x) + (x.min(arb(0)) * 2).expm1() / 2),
        "selu": (
            _F + ".selu({a})",
            lambda x: (
                _ball(1.0507009873554804934193349852946)
                * (_positive(x) + _ball(1.6732632423543772848170429916717) * x.min(arb(0)).expm1())
            ),
        ),
        "relu6": (_F + ".relu6({a})", lambda x: _positive(x).min(arb(6))),
        "hardsigmoid": (_F + ".hardsigmoid({a})", lambda x: _positive(x / 6 + arb(1) / 2).min(arb(1))),
        "hardswish": (
            _F + ".hardswish({a})",
            lambda x: x * _positive(x / 6 + arb(1) / 2).min(arb(1)),
        ),
        "hardshrink": (
            _F + ".hardshrink({a}, 0.5)",
            lambda x: _choose(abs(x), arb(1) / 2, x, 0 * x),
        ),
        "softshrink": (
            _F + ".softshrink({a}, 0.5)",
            lambda x: _positive(x - arb(1) / 2) + (x + arb(1) / 2).min(arb(0)),
        ),
        "threshold": (_F + ".threshold({a}, 0.25, -1.0)", lambda x: _choose(x, arb(1) / 4, x, arb(-1))),
        "softsign": (_F + ".softsign({a})", lambda x: x / (1 + abs(x))),
        "tanhshrink": (_F + ".tanhshrink({a})", lambda x: x - x.tanh()),
        "asinh": ("torch.asinh({a})", lambda x: x.asinh()),
        "sinh": ("torch.sinh({a})", lambda x: x.sinh()),
        "cosh": ("torch.cosh({a})", lambda x: (x.exp() + (-x).exp()) / 2),
        "expm1": ("torch.expm1({a})", lambda x: x.expm1()),
        "erfc": ("torch.erfc({a})", lambda x: x.erfc()),
        "log1p_of_abs": ("torch.log1p({a}.abs())", lambda x: abs(x).log1p()),
        "rsqrt": ("({a}.square() + 0.125).rsqrt()", lambda x: 1 / (x * x + arb(1) / 8).sqrt()),
        "power": (
            "({a}.abs() + 0.125) ** 1.5",
            lambda x: (abs(x) + arb(1) / 8) * (abs(x) + arb(1) / 8).sqrt(),
        ),
        "floor": ("torch.floor({a})", lambda x: x.floor()),
        "remainder": ("torch.remainder({a}, 1.5)", lambda x: _remainder(x, arb(3) / 2)),
        "step": ("torch.where({a} > 0.25, {a}, {a} * 0.5)", lambda x: _choose(x, arb(1) / 4, x, x / 2)),
        "slope_of_sigmoid": (
            "torch.ops.lirpa.derivative({a}, 'sigmoid', 1, [])",
            lambda x: _sigmoid(x) * _sigmoid(-x),
        ),
        "slope_of_tanh": (
            "torch.ops.lirpa.derivative({a}, 'tanh', 1, [])",
            lambda x: 4 * _sigmoid(2 * x) * _sigmoid(-2 * x),
        ),
        "curvature_of_tanh": (
            "torch.ops.lirpa.derivative({a}, 'tanh', 2, [])",
            lambda x: -8 * x.tanh() * _sigmoid(2 * x) * _sigmoid(-2 * x),
        ),
        "slope_of_silu": (
            "torch.ops.lirpa.derivative({a}, 'silu', 1, [])",
            lambda x: _sigmoid(x) * (1 + x * _sigmoid(-x)),
        ),
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
            own="({p} @ {a}.unsqueeze(-1)).squeeze(-1) + {q}",
            exact=_affine,
            width=lambda _n: None,  # that of its parameters
            parameters=_linear_shapes,
        ),
        "conv": Operator(
            source=_F + ".conv1d({a}.unsqueeze(1), {p}, {q}, padding=1).squeeze(1)",
            own=_F
            + ".pad({a}, (1, 0)) * {p}[:, 0, 0, :1] + "
            + _F
            + ".pad({a}, (0, 1)) * {p}[:, 0, 0, 1:] + {q}",
            exact=_conv,
            width=lambda n: n + 1,
            parameters=lambda _r, _n: ((1, 1, 2), (1,)),
        ),
        "conv2d": Operator(
            source=_F + ".conv2d({a}.reshape(-1, 1, 2, {n} // 2), {p}, {q}).flatten(1)",
            own="(torch.einsum('bijk,bcik->bcj', {a}.reshape(-1, 2, {n} // 2).unfold(-1, 2, 1), {p}[:, :, 0])"
            " + {q}.unsqueeze(-1)).flatten(1)",
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
        "max_pool_padded": Operator(
            source=_F + ".max_pool1d({a}.unsqueeze(1), 3, 2, padding=1).squeeze(1)",
            exact=_padded_maxima,
            width=lambda n: (n - 1) // 2 + 1,
        ),
        "avg_pool_padded": Operator(
            source=_F + ".avg_pool1d({a}.unsqueeze(1), 2, 1, padding=1).squeeze(1)",
            exact=lambda v: (
                (np.concatenate([v, array([0 * v[0]])]) + np.concatenate([array([0 * v[0]]), v])) / 2
            ),
            width=lambda n: n + 1,
        ),
        "sort": Operator(source="{a}.sort(-1).values", exact=_sorted),
        "top": Operator(
            source="{a}.topk(2, -1).values",
            exact=lambda v: _sorted(v)[:-3:-1],
            width=lambda n: 2 if n >= 2 else None,
        ),
        "median": Operator(
            source="{a}.median(-1, keepdim=True).values",
            exact=lambda v: _sorted(v)[(len(v) - 1) // 2 :][:1],
            width=lambda _n: 1,
        ),
        "cummax": Operator(
            source="{a}.cummax(-1).values",
            exact=lambda v: array([_greatest(v[: i + 1]) for i in range(len(v))]),
        ),
        "pick": Operator(
            source="{a}[:, [{n} - 1, 0, 0]]", exact=lambda v: v[[len(v) - 1, 0, 0]], width=lambda _n: 3
        ),
        "gather": Operator(
            source="{a}.gather(-1, torch.zeros_like({a}[:, :2], dtype=torch.int64) + ({n} - 1))",
            exact=lambda v: v[[len(v) - 1] * min(2, len(v))],
            width=lambda n: min(n, 2),
        ),
        "prelu": Operator(
            source=_F + ".prelu({a}, {p})",
            own=_F + ".relu({a}) - {p} * " + _F + ".relu(-{a})",
            exact=lambda v, s: array([_positive(e) + s[0] * e.min(arb(0)) for e in v]),
            parameters=lambda _r, _n: ((1,),),
        ),
        "rnn": Operator(
            source="torch.rnn_tanh_cell({a}, {b}, {p}, {q}, {r}, {s})",
            own="",
            exact=_rnn,
            width=lambda _n, m: m,
            parameters=_cell_shapes(1),
            arity=2,
        ),
        "gru": Operator(
            source="torch.gru_cell({a}, {b}, {p}, {q}, {r}, {s})",
            own="",
            exact=_gru,
            width=lambda _n, m: m,
            parameters=_cell_shapes(3),
            arity=2,
        ),
        "lstm": Operator(
            source="torch.lstm_cell({a}, ({b}, {b}), {p}, {q}, {r}, {s})[0]",
            own="",
            exact=_lstm,
            width=lambda _n, m: m,
            parameters=_cell_shapes(4),
            arity=2,
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
            own="{a} * {p} + {q}",
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
        "product": Operator(
            source="{a}.prod(-1, keepdim=True)",
            exact=lambda v: array([math.prod(v[1:], start=v[0])]),
            width=lambda _n: 1,
        ),
        "variance": Operator(
            source="{a}.var(-1, keepdim=True, correction=0)",
            exact=lambda v: array([_total((v - _total(v) / len(v)) ** 2) / len(v)]),
            width=lambda _n: 1,
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
        "select": Operator(
            source="torch.where({a} > {b}, {a}, {b} * 0.5)",
            exact=lambda v, w: array([_choose(a, b, a, b / 2) for a, b in zip(v, w, strict=True)]),
            width=_same,
            arity=2,
        ),
        "clamp_between": Operator(
            source="torch.clamp({a}, {b} - 0.5, {b} + 0.75)",
            exact=lambda v, w: array(
                [a.max(b - arb(1) / 2).min(b + arb(3) / 4) for a, b in zip(v, w, strict=True)]
            ),
            width=_same,
            arity=2,
        ),
        "atan2": Operator(
            source="torch.atan2({a}, {b}.abs() + 0.125)",
            exact=lambda v, w: array([(a / (abs(b) + arb(1) / 8)).atan() for a, b in zip(v, w, strict=True)]),
            width=_same,
            arity=2,
        ),
        "remainder_of_two": Operator(
            source="torch.remainder({a}, {b}.abs() + 0.125)",
            exact=lambda v, w: array([_remainder(a, abs(b) + arb(1) / 8) for a, b in zip(v, w, strict=True)]),
            width=_same,
            arity=2,
        ),
        "logaddexp": Operator(
            source="torch.logaddexp({a}, {b})",
            exact=lambda v, w: array([b + _smooth_softplus(a - b) for a, b in zip(v, w, strict=True)]),
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
