"""Functions of balls of arbitrary precision, which take enclosures too (see `enclosures`): they choose by `choose`, not by an `if`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

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


def each(f: Callable[[Number], Number]) -> Callable[[Balls], Balls]:
    """A function of one number, of every element."""
    return lambda v: array([f(e) for e in v])


def array(values: Sequence[Any]) -> Balls:
    """A vector of objects, whatever their type."""
    out = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):
        out[i] = value
    return out


def total(v: Balls) -> arb:
    """The sum."""
    return sum(v, arb(0))


def greatest(v: Balls) -> arb:
    """The largest element."""
    best: arb = v[0]
    for e in v[1:]:
        best = best.max(e)
    return best


def least(v: Balls) -> arb:
    """The smallest element."""
    best: arb = v[0]
    for e in v[1:]:
        best = best.min(e)
    return best


def choose(x: Number, limit: Number, above: Number, otherwise: Number) -> Number:
    """`above` where x is greater than the limit, else `otherwise`; either where that is not known."""
    if isinstance(x, Enclosure):
        return x.choose(limit, above, otherwise)
    return above if x > limit else otherwise if x <= limit else above.union(otherwise)


def softplus(x: Number) -> Number:
    """PyTorch's softplus, which is the identity above 20."""
    smooth = x.max(arb(0)) + (-abs(x)).exp().log1p()
    # PyTorch's function is the identity above 20; bounds of either function are right.
    return choose(x, arb(20) - arb(2) ** -20, smooth.union(x), smooth)


def smooth_softplus(x: Number) -> Number:
    """`log(1 + exp(x))`."""
    return x.max(arb(0)) + (-abs(x)).exp().log1p()


def ball(value: float) -> arb:
    """A number as a ball."""
    return arb(value)


def sigmoid(x: Number) -> Number:
    """`1/(1 + exp(-x))`."""
    return 1 / (1 + (-x).exp())


def tanh(x: Number) -> Number:
    """The hyperbolic tangent."""
    return x.tanh()


def positive(x: Number) -> Number:
    """`max(x, 0)`."""
    return x.max(arb(0))


def tail(x: Number) -> Number:
    """Of normal numbers, what is below x."""
    return (-x / arb(2).sqrt()).erfc() / 2


def remainder(x: Number, divisor: Number) -> Number:
    """What a division leaves, with the sign of the divisor."""
    return x - divisor * (x / divisor).floor()


def in_order(v: Balls) -> Balls:
    """By a network of minima and maxima, from the least."""
    out = list(v)
    for last in range(len(out) - 1, 0, -1):
        for i in range(last):
            out[i], out[i + 1] = out[i].min(out[i + 1]), out[i].max(out[i + 1])
    return array(out)


def padded_maxima(v: Balls) -> Balls:
    """Windows of three, two apart, with one place of nothing on either side."""
    places = range(-1, len(v) - 1, 2)
    return array([greatest(v[max(i, 0) : i + 3]) for i in places])


def affine(x: Balls, w: Balls, b: Balls) -> Balls:
    """`W x + b`."""
    return array([total(row * x) + c for row, c in zip(w, b, strict=True)])


def rnn(x: Balls, h: Balls, w: Balls, u: Balls, b: Balls, c: Balls) -> Balls:
    """A cell of `torch.nn.RNN`."""
    return array([tanh(e) for e in affine(x, w, b) + affine(h, u, c)])


def gru(x: Balls, h: Balls, w: Balls, u: Balls, b: Balls, c: Balls) -> Balls:
    """A cell of `torch.nn.GRU`."""
    n = len(h)
    a, d = affine(x, w, b), affine(h, u, c)
    r, z = (array([sigmoid(e) for e in a[k : k + n] + d[k : k + n]]) for k in (0, n))
    new = array([tanh(e) for e in a[2 * n :] + r * d[2 * n :]])
    return array([q + s * (k - q) for q, s, k in zip(new, z, h, strict=True)])


def lstm(x: Balls, h: Balls, w: Balls, u: Balls, b: Balls, c: Balls) -> Balls:
    """The next hidden state, where the cell's state is the hidden one too."""
    n = len(h)
    gates = affine(x, w, b) + affine(h, u, c)
    i, f, o = (array([sigmoid(e) for e in gates[k : k + n]]) for k in (0, n, 3 * n))
    cell = f * h + i * array([tanh(e) for e in gates[2 * n : 3 * n]])
    return o * array([tanh(e) for e in cell])


def softmax(v: Balls) -> Balls:
    """Shares of exponentials."""
    return array([1 / total(array([(u - e).exp() for u in v])) for e in v])


def conv(v: Balls, w: Balls, b: Balls) -> Balls:
    """A convolution of one line, padded by one zero on either side."""
    k = w.shape[-1]
    padded = np.concatenate([array([arb(0)]), v, array([arb(0)])])
    return array([total(padded[i : i + k] * w[0, 0]) + b[0] for i in range(len(padded) - k + 1)])


def conv2d(v: Balls, w: Balls, b: Balls) -> Balls:
    """A convolution of an image of two lines."""
    image = v.reshape(2, -1)
    return array(
        [
            total((image[:, j : j + 2] * w[c, 0]).flatten()) + b[c]
            for c in range(2)
            for j in range(image.shape[1] - 1)
        ]
    )


def normalized(v: Balls) -> Balls:
    """A layer norm with an epsilon of `2**-10`."""
    centred = v - total(v) / len(v)
    return centred / (total(centred * centred) / len(v) + arb(2) ** -10).sqrt()
