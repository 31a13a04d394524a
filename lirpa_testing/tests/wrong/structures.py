"""Structures of coefficients that disagree with their dense form."""

from __future__ import annotations

import torch
from torch import Tensor

from lirpa_core.linear.coefficients import DenseCoefficients, StructuredCoefficients


class Wrong(StructuredCoefficients):
    """Dense coefficients that delegate, so that each fault is one method."""

    def __init__(self, A: Tensor) -> None:
        self.A = A

    rows = property(lambda self: self.A.shape[0])
    batch = property(lambda self: self.A.shape[1])
    shape = property(lambda self: tuple(self.A.shape[2:]))

    def to_dense(self):
        return self.A


class SwappedParts(Wrong):
    def split_dot(self, lower, upper):
        return self.dense().split_dot(upper, lower)


class NormWithoutWeight(Wrong):
    def dual_norm(self, q, weight=None):
        return self.dense().dual_norm(q)


class InterleavedNegation(Wrong):
    def with_negated(self):
        return DenseCoefficients(torch.stack([self.A, -self.A], 1).flatten(0, 1))


class ScalesInPlace(Wrong):
    def scale(self, factor):
        self.A.mul_(factor.mean())
        return self.dense().scale(factor)


class WrongBatch(Wrong):
    batch = property(lambda self: 1)


class SumsTheWrongDimension(Wrong):
    def sum_to(self, shape):
        return DenseCoefficients(
            self.A.mean(tuple(range(2, self.A.dim())), keepdim=True).expand(*self.A.shape[:2], *shape)
        )


class NoSharedValues(Wrong):
    def dot(self, value):
        return torch.stack([(self.A[:, b] * value[b]).flatten(1).sum(1) for b in range(self.batch)], 1)


class NegativePartDropped(Wrong):
    def relax(self, lower, upper):
        return DenseCoefficients(self.A.clamp(min=0) * lower)


MAPS: dict[str, tuple[type[Wrong], str]] = {
    "positive and negative swapped": (SwappedParts, "split_dot"),
    "weight of the norm ignored": (NormWithoutWeight, "dual_norm"),
    "negated rows interleaved": (InterleavedNegation, "with_negated"),
    "scales in place": (ScalesInPlace, "scale|changed the coefficients in place|dot"),
    "batch misstated": (WrongBatch, "to_dense"),
    "sum over the wrong dimension": (SumsTheWrongDimension, "sum_to"),
    "shared value not broadcast": (NoSharedValues, "dot"),
    "negative part dropped": (NegativePartDropped, "relax"),
}
