"""How ATen's operators are read as terms: a table by name.

Several operators become one term where they are one function of real numbers: `rsqrt(x)` is `x ** -0.5`, `log1p(x)` is `log(1 + x)`,
`x.max(-1).values` is `x.amax(-1)`, a standard deviation is the root of a mean of squares.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial

from lirpa_core.capture.terms import arithmetic, reductions, shapes
from lirpa_core.capture.terms.reader import Call
from lirpa_core.capture.terms.term import Term

#: What is known of one name.
Read = Callable[[Call], Term | None]

_FUNCTIONS = "exp log sin cos tanh sigmoid erf abs relu silu softplus elu log_sigmoid cosh sinh atan asinh mish hardswish hardsigmoid"
#: The same numbers in another shape.
VIEWS = frozenset(
    [
        "view",
        "reshape",
        "_unsafe_view",
        "unsqueeze",
        "squeeze",
        "flatten",
        "unflatten",
        "view_as",
        "reshape_as",
    ]
)
_IDENTITIES = "clone contiguous alias detach detach_ lift_fresh_copy lift_fresh dropout"  # dropout in evaluation: see `is_random`

#: How an operator is read, by its name; None from a function: it is taken as it stands.
OPERATORS: Mapping[str, Read] = {
    "add": arithmetic.added,
    "sub": partial(arithmetic.added, sign=-1.0),
    "rsub": arithmetic.rsub,
    "mul": arithmetic.multiplied,
    "div": partial(arithmetic.multiplied, power=-1.0),
    "neg": arithmetic.negative,
    "pow": arithmetic.raised,
    "square": partial(arithmetic.raised_to, exponent=2.0),
    "sqrt": partial(arithmetic.raised_to, exponent=0.5),
    "rsqrt": partial(arithmetic.raised_to, exponent=-0.5),
    "reciprocal": partial(arithmetic.raised_to, exponent=-1.0),
    **dict.fromkeys(_FUNCTIONS.split(), arithmetic.function),
    "gelu": arithmetic.gelu,
    "log1p": partial(arithmetic.shifted, name="log", inner=(1, 1)),
    "expm1": partial(arithmetic.shifted, name="exp", outer=(1, -1)),
    "erfc": partial(arithmetic.shifted, name="erf", outer=(-1, 1)),
    "special_ndtr": partial(arithmetic.shifted, name="erf", inner=(math.sqrt(0.5), 0), outer=(0.5, 0.5)),
    "maximum": partial(arithmetic.maximum, name="maximum"),
    "minimum": partial(arithmetic.maximum, name="minimum"),
    "clamp": arithmetic.clamp,
    "clamp_min": partial(arithmetic.maximum, name="maximum"),
    "clamp_max": partial(arithmetic.maximum, name="minimum"),
    "max": partial(reductions.extreme, name="maximum"),
    "min": partial(reductions.extreme, name="minimum"),
    "getitem": reductions.getitem,
    "getattr": reductions.getitem,
    "sum": partial(reductions.reduction, name="add_up"),
    "mean": partial(reductions.reduction, name="mean"),
    "amax": partial(reductions.reduction, name="amax"),
    "amin": partial(reductions.reduction, name="amin"),
    "logsumexp": partial(reductions.reduction, name="logsumexp"),
    "var": partial(reductions.variance, power=1.0),
    "std": partial(reductions.variance, power=0.5),
    "norm": partial(reductions.norm, order=1, dim=2, keepdim=3),
    "linalg_vector_norm": partial(reductions.norm, order=1, dim=2, keepdim=3),
    "softmax": partial(reductions.softmax, name="softmax"),
    "log_softmax": partial(reductions.softmax, name="log_softmax"),
    "lirpa::masked_softmax": reductions.masked_softmax,
    "gt": partial(arithmetic.compared, name="positive", sign=1.0),
    "lt": partial(arithmetic.compared, name="positive", sign=-1.0),
    "ge": partial(arithmetic.compared, name="not_negative", sign=1.0),
    "le": partial(arithmetic.compared, name="not_negative", sign=-1.0),
    "where": arithmetic.chosen,
    "masked_fill": arithmetic.masked_fill,
    "logical_not": arithmetic.opposite,
    "bitwise_not": arithmetic.opposite,
    **dict.fromkeys(_IDENTITIES.split(), shapes.identity),
    **dict.fromkeys(VIEWS, shapes.viewed),
    "expand": shapes.expanded,
    "expand_as": shapes.expanded,
    "broadcast_to": shapes.expanded,
    "to": shapes.converted,
    "_to_copy": shapes.converted,
    "type_as": shapes.converted,
    "float": shapes.converted,
    "double": shapes.converted,
    "zeros_like": partial(shapes.filled, value=0.0),
    "zeros": partial(shapes.filled, value=0.0),
    "new_zeros": partial(shapes.filled, value=0.0),
    "ones_like": partial(shapes.filled, value=1.0),
    "ones": partial(shapes.filled, value=1.0),
    "new_ones": partial(shapes.filled, value=1.0),
    "full": shapes.full,
    "full_like": shapes.full,
    "new_full": partial(shapes.full),
}
