"""`check_coefficients`: a structure of coefficients agrees with its own dense form, method by method."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any, NoReturn

import torch
from torch import Tensor

from lirpa_core.linear.coefficients import Coefficients, add
from lirpa_testing.report import CoefficientsViolation
from lirpa_testing.tolerance import allowance

_EXPONENTS = (1.0, 1.5, 2.0, 30.0, math.inf)
_BATCH = 3


def check_coefficients(coefficients: Coefficients, *, seed: int = 0) -> None:
    """Assert that every method equals the same method of `coefficients.dense()`.

    Values come with as many examples as the coefficients have, with one that is shared, and, where these themselves are
    shared, with several. Nothing may be changed in place.

    Args:
        coefficients: The structure to check.
        seed: Seed of the random values.

    Raises:
        CoefficientsViolation: Naming the structure, the method and the first difference.
    """
    _Checker(coefficients, torch.Generator().manual_seed(seed)).run()


class _Checker:
    def __init__(self, coefficients: Coefficients, generator: torch.Generator) -> None:
        self.checked = coefficients
        self.generator = generator
        self.A = coefficients.to_dense().clone()
        self.oracle = coefficients.dense()

    def run(self) -> None:
        self.check_shape()
        for count in sorted({1, self.checked.batch, _BATCH if self.checked.batch == 1 else 1}):
            self.check_values(count)
        self.check_small_ones()
        self.check_rearranging()
        self.check_sums()
        if not torch.equal(self.checked.to_dense(), self.A):
            self.fail("to_dense", "a method changed the coefficients in place")

    def check_shape(self) -> None:
        m = self.checked
        wanted = (m.rows, m.batch, *m.shape)
        if tuple(self.A.shape) != wanted:
            self.fail(
                "to_dense", f"has shape {list(self.A.shape)}, but rows, batch and shape say {list(wanted)}"
            )
        if not torch.equal(self.oracle.to_dense(), self.A):
            self.fail("dense", "differs from to_dense")

    def check_values(self, count: int) -> None:
        shape = (count, *self.checked.shape)
        a, b = self.normal(*shape), self.normal(*shape)
        low, high = a.minimum(b), a.maximum(b)
        largest, total = a.abs().maximum(b.abs()), self.A.abs().sum()
        size = (self.A.abs() * largest).sum()
        self.compare("dot", size, a)
        self.compare("split_dot", size, low, high)
        self.compare("split_dot", size, high, low)
        for q in _EXPONENTS:
            self.compare("dual_norm", total, q)
            self.compare("dual_norm", (self.A.abs() * largest).sum(), q, largest)
        self.compare("scale", total * largest.amax(), a)
        self.compare("scale", total, 0 * a)
        self.compare("relax", total * largest.amax(), low, high)
        for biases in ((low, high), (None, high), (low, None)):
            self.compare("relax_affine", total * largest.amax(), (low, high), biases)

    def check_small_ones(self) -> None:
        """Norms of coefficients whose squares underflow: a norm of zero would be an unsound bound."""
        unit = torch.finfo(self.A.dtype).tiny ** 0.625
        small = self.checked.scale(self.A.new_full((1, *self.checked.shape), unit))
        for q in _EXPONENTS:
            got, expected = small.dual_norm(q) / unit, self.oracle.dual_norm(q)
            self.require_equal(
                f"dual_norm({q}) of coefficients of {unit:.0e}", got, expected, self.A.abs().sum()
            )

    def check_rearranging(self) -> None:
        size = self.A.abs().sum()
        self.compare("split", size)
        self.compare("with_negated", size)
        for dim, n in enumerate(self.checked.shape):
            if n == 1:
                self.compare("squeeze", size, dim)
        for smaller in _broadcastable(self.checked.shape):
            self.compare("sum_to", size, smaller)

    def check_sums(self) -> None:
        size = 2 * self.A.abs().sum()
        other = self.oracle.scale(self.normal(1, *self.checked.shape))
        larger = size + other.to_dense().abs().sum()
        self.require_same(
            "add of the coefficients to themselves",
            add(self.checked, self.checked),
            add(self.oracle, self.oracle),
            size,
        )
        expected = add(self.oracle, other)
        self.require_same("add of dense coefficients", add(self.checked, other), expected, larger)
        self.require_same("add to dense coefficients", add(other, self.checked), expected, larger)

    def compare(self, method: str, magnitude: Tensor, *args: Any) -> None:
        """Require that a method gives what it gives for the dense form."""
        shown = ", ".join(_shown(v) for v in args)
        name = f"{method}({shown})"
        expected = getattr(self.oracle, method)(*args)
        try:
            got = getattr(self.checked, method)(*args)
        except Exception as error:  # noqa: BLE001 - whatever a structure raises is a finding
            self.fail(name, f"raised {type(error).__name__}: {error}")
        if isinstance(expected, tuple):
            for k, (part, wanted) in enumerate(zip(got, expected, strict=True)):
                same = self.require_same if isinstance(wanted, Coefficients) else self.require_equal
                same(f"{name}, part {k},", part, wanted, magnitude)
        elif isinstance(expected, Coefficients):
            self.require_same(name, got, expected, magnitude)
        else:
            self.require_equal(name, got, expected, magnitude)

    def require_same(self, name: str, got: Coefficients, expected: Coefficients, magnitude: Tensor) -> None:
        """Require that two structures are the same coefficients, and that the first knows its own shape."""
        dense = got.to_dense()
        if (got.rows, got.batch, *got.shape) != tuple(dense.shape):
            self.fail(name, "gives coefficients whose rows, batch and shape are not those of its to_dense")
        self.require_equal(name, dense, expected.to_dense(), magnitude)

    def require_equal(self, name: str, got: Tensor, expected: Tensor, magnitude: Tensor) -> None:
        """Require equality up to rounding; a batch of one stands for any."""
        if got.dtype != expected.dtype:
            self.fail(name, f"has dtype {got.dtype}, not {expected.dtype}")
        batches = {got.shape[1], expected.shape[1]} if min(got.dim(), expected.dim()) > 1 else set()
        fits = got.shape[:1] + got.shape[2:] == expected.shape[:1] + expected.shape[2:]
        if not fits or len(batches - {1}) > 1:
            self.fail(name, f"has shape {list(got.shape)}, not {list(expected.shape)}")
        bad = ~((got - expected).abs() <= allowance(magnitude, self.A[0].numel()))
        if bool(bad.any()):
            at = tuple(int(i) for i in bad.nonzero()[0])
            got, expected = got.expand(bad.shape), expected.expand(bad.shape)
            self.fail(name, f"gives {got[at].item()!r} at {list(at)}, the dense form {expected[at].item()!r}")

    def normal(self, *shape: int) -> Tensor:
        """Random values `[*shape]`."""
        return torch.randn(shape, dtype=self.A.dtype, generator=self.generator).to(self.A.device)

    def fail(self, method: str, what: str) -> NoReturn:
        """Raise the violation."""
        m = self.checked
        details = {"rows": self.A.shape[0], "batch": self.A.shape[1], "shape": list(self.A.shape[2:])}
        raise CoefficientsViolation(type(m).__name__, method, f"{method} {what}", details)


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(_shown(v) for v in value)})"
    return str(list(value.shape)) if isinstance(value, Tensor) else str(value)


def _broadcastable(shape: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Every shape that broadcasts to `shape`, itself included, of up to four dimensions."""
    for first in range(len(shape) + 1):
        kept = shape[first:]
        if len(kept) <= 4:
            yield from set(itertools.product(*({1, n} for n in kept)))
