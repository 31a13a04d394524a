"""Operators that random programs are made of: as PyTorch's source, and in balls of arbitrary precision."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
from flint import arb

from lirpa_testing.fuzz.balls import (
    Balls,
    affine,
    array,
    choose,
    conv,
    conv2d,
    each,
    greatest,
    gru,
    in_order,
    least,
    lstm,
    normalized,
    padded_maxima,
    positive,
    remainder,
    rnn,
    sigmoid,
    smooth_softplus,
    softmax,
    total,
)
from lirpa_testing.fuzz.elementwise import ELEMENTWISE


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


def _cell_shapes(gates: int) -> Callable[[random.Random, Sequence[int]], Sequence[Sequence[int]]]:
    def shapes(_: random.Random, widths: Sequence[int]) -> Sequence[Sequence[int]]:
        n, h = widths
        return ((gates * h, n), (gates * h, h), (gates * h,), (gates * h,))

    return shapes


def _same(*widths: int) -> int | None:
    return widths[0] if len(set(widths)) == 1 else None


def _linear_shapes(draw: random.Random, widths: Sequence[int]) -> Sequence[Sequence[int]]:
    out = draw.randint(1, 5)
    return ((out, widths[0]), (out,))


_F = "torch.nn.functional"

_ONE: Final[Mapping[str, Operator]] = MappingProxyType(
    {name: Operator(source=source, exact=each(function)) for name, (source, function) in ELEMENTWISE.items()}
)

OPERATORS: Final[Mapping[str, Operator]] = MappingProxyType(
    {
        **_ONE,
        "linear": Operator(
            source=_F + ".linear({a}, {p}, {q})",
            own="({p} @ {a}.unsqueeze(-1)).squeeze(-1) + {q}",
            exact=affine,
            width=lambda _n: None,  # that of its parameters
            parameters=_linear_shapes,
        ),
        "conv": Operator(
            source=_F + ".conv1d({a}.unsqueeze(1), {p}, {q}, padding=1).squeeze(1)",
            own=_F
            + ".pad({a}, (1, 0)) * {p}[:, 0, 0, :1] + "
            + _F
            + ".pad({a}, (0, 1)) * {p}[:, 0, 0, 1:] + {q}",
            exact=conv,
            width=lambda n: n + 1,
            parameters=lambda _r, _n: ((1, 1, 2), (1,)),
        ),
        "conv2d": Operator(
            source=_F + ".conv2d({a}.reshape(-1, 1, 2, {n} // 2), {p}, {q}).flatten(1)",
            own="(torch.einsum('bijk,bcik->bcj', {a}.reshape(-1, 2, {n} // 2).unfold(-1, 2, 1), {p}[:, :, 0])"
            " + {q}.unsqueeze(-1)).flatten(1)",
            exact=conv2d,
            width=lambda n: n - 2 if n >= 4 and n % 2 == 0 else None,
            parameters=lambda _r, _n: ((2, 1, 2, 2), (2,)),
        ),
        "max_pool": Operator(
            source=_F + ".max_pool1d({a}.unsqueeze(1), 2, 1).squeeze(1)",
            exact=lambda v: array([greatest(v[i : i + 2]) for i in range(len(v) - 1)]),
            width=lambda n: n - 1 or None,
        ),
        "avg_pool": Operator(
            source=_F + ".avg_pool1d({a}.unsqueeze(1), 2, 1).squeeze(1)",
            exact=lambda v: (v[1:] + v[:-1]) / 2,
            width=lambda n: n - 1 or None,
        ),
        "max_pool_padded": Operator(
            source=_F + ".max_pool1d({a}.unsqueeze(1), 3, 2, padding=1).squeeze(1)",
            exact=padded_maxima,
            width=lambda n: (n - 1) // 2 + 1,
        ),
        "avg_pool_padded": Operator(
            source=_F + ".avg_pool1d({a}.unsqueeze(1), 2, 1, padding=1).squeeze(1)",
            exact=lambda v: (
                (np.concatenate([v, array([0 * v[0]])]) + np.concatenate([array([0 * v[0]]), v])) / 2
            ),
            width=lambda n: n + 1,
        ),
        "sort": Operator(source="{a}.sort(-1).values", exact=in_order),
        "top": Operator(
            source="{a}.topk(2, -1).values",
            exact=lambda v: in_order(v)[:-3:-1],
            width=lambda n: 2 if n >= 2 else None,
        ),
        "median": Operator(
            source="{a}.median(-1, keepdim=True).values",
            exact=lambda v: in_order(v)[(len(v) - 1) // 2 :][:1],
            width=lambda _n: 1,
        ),
        "cummax": Operator(
            source="{a}.cummax(-1).values",
            exact=lambda v: array([greatest(v[: i + 1]) for i in range(len(v))]),
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
            exact=lambda v, s: array([positive(e) + s[0] * e.min(arb(0)) for e in v]),
            parameters=lambda _r, _n: ((1,),),
        ),
        "rnn": Operator(
            source="torch.rnn_tanh_cell({a}, {b}, {p}, {q}, {r}, {s})",
            own="",
            exact=rnn,
            width=lambda _n, m: m,
            parameters=_cell_shapes(1),
            arity=2,
        ),
        "gru": Operator(
            source="torch.gru_cell({a}, {b}, {p}, {q}, {r}, {s})",
            own="",
            exact=gru,
            width=lambda _n, m: m,
            parameters=_cell_shapes(3),
            arity=2,
        ),
        "lstm": Operator(
            source="torch.lstm_cell({a}, ({b}, {b}), {p}, {q}, {r}, {s})[0]",
            own="",
            exact=lstm,
            width=lambda _n, m: m,
            parameters=_cell_shapes(4),
            arity=2,
        ),
        "log_softmax": Operator(
            source="torch.log_softmax({a}, -1)",
            exact=lambda v: array([-total(array([(u - e).exp() for u in v])).log() for e in v]),
        ),
        "rms_norm": Operator(
            source=_F + ".rms_norm({a}, ({n},), eps=2.0**-10)",
            exact=lambda v: v / (total(v * v) / len(v) + arb(2) ** -10).sqrt(),
        ),
        "glu": Operator(
            source=_F + ".glu({a}, -1)",
            exact=lambda v: v[: len(v) // 2] * array([sigmoid(e) for e in v[len(v) // 2 :]]),
            width=lambda n: n // 2 if n % 2 == 0 else None,
        ),
        "swiglu": Operator(
            source=_F + ".silu({a}) * {b}",
            exact=lambda v, w: array([e * sigmoid(e) for e in v]) * w,
            width=_same,
            arity=2,
        ),
        "attend": Operator(
            source="(torch.softmax({a}, -1).unsqueeze(1) @ {b}.unsqueeze(2)).squeeze(1)",
            exact=lambda v, w: array([total(softmax(v) * w)]),
            width=lambda n, m: 1 if n == m else None,
            arity=2,
        ),
        "scale": Operator(
            source="{a} * {p} + {q}",
            own="{a} * {p} + {q}",
            exact=lambda v, s, c: v * s + c,
            parameters=lambda _r, n: ((n[0],), (n[0],)),
        ),
        "softmax": Operator(source="torch.softmax({a}, -1)", exact=softmax),
        "normalize": Operator(
            source="({a} - {a}.mean(-1, keepdim=True)) / "
            "(({a} - {a}.mean(-1, keepdim=True)).square().mean(-1, keepdim=True) + 2.0**-10).sqrt()",
            exact=normalized,
        ),
        "layer_norm": Operator(source=_F + ".layer_norm({a}, ({n},), eps=2.0**-10)", exact=normalized),
        "sum": Operator(
            source="{a}.sum(-1, keepdim=True)", exact=lambda v: array([total(v)]), width=lambda _n: 1
        ),
        "mean": Operator(
            source="{a}.mean(-1, keepdim=True)",
            exact=lambda v: array([total(v) / len(v)]),
            width=lambda _n: 1,
        ),
        "amax": Operator(
            source="{a}.amax(-1, keepdim=True)", exact=lambda v: array([greatest(v)]), width=lambda _n: 1
        ),
        "amin": Operator(
            source="{a}.amin(-1, keepdim=True)", exact=lambda v: array([least(v)]), width=lambda _n: 1
        ),
        "product": Operator(
            source="{a}.prod(-1, keepdim=True)",
            exact=lambda v: array([math.prod(v[1:], start=v[0])]),
            width=lambda _n: 1,
        ),
        "variance": Operator(
            source="{a}.var(-1, keepdim=True, correction=0)",
            exact=lambda v: array([total((v - total(v) / len(v)) ** 2) / len(v)]),
            width=lambda _n: 1,
        ),
        "norm": Operator(
            source="({a}.square().sum(-1, keepdim=True) + 0.125).sqrt()",
            exact=lambda v: array([(total(v * v) + arb(1) / 8).sqrt()]),
            width=lambda _n: 1,
        ),
        "logsumexp": Operator(
            source="torch.logsumexp({a}, -1, keepdim=True)",
            exact=lambda v: array([greatest(v) + total(array([(e - greatest(v)).exp() for e in v])).log()]),
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
            exact=lambda v, w: array([choose(a, b, a, b / 2) for a, b in zip(v, w, strict=True)]),
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
            exact=lambda v, w: array([remainder(a, abs(b) + arb(1) / 8) for a, b in zip(v, w, strict=True)]),
            width=_same,
            arity=2,
        ),
        "logaddexp": Operator(
            source="torch.logaddexp({a}, {b})",
            exact=lambda v, w: array([b + smooth_softplus(a - b) for a, b in zip(v, w, strict=True)]),
            width=_same,
            arity=2,
        ),
        "dot": Operator(
            source="({a}.unsqueeze(1) @ {b}.unsqueeze(2)).squeeze(1)",
            exact=lambda v, w: array([total(v * w)]),
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
