"""Calls and models on which `lirpa check` and the conformance tests try this package's rules."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from lirpa_core.rules import Call, Operand
from lirpa_ops_nlp.operators import (
    gather_targets,
    gelu_mul,
    gelu_tanh_mul,
    masked_softmax,
    normalized,
    of_length,
    projected_product,
    sigmoid_mul,
    sigmoid_tanh,
    silu_mul,
    softmax_weighted_sum,
)
from lirpa_testing import ConformanceCases

aten = torch.ops.aten


def X(*sizes: int) -> Operand:  # noqa: N802
    """A perturbed operand of one example."""
    return Operand(sizes)


def C(*sizes: int) -> Tensor:  # noqa: N802
    """A constant."""
    generator = torch.Generator().manual_seed(sum(sizes))
    return torch.randn(sizes, dtype=torch.float64, generator=generator)


KEEP = torch.tensor([[1.0, 1, 0], [1, 0, 0], [0, 0, 0]], dtype=torch.float64)


class Attention(nn.Module):
    """A softmax and matrix products as many write them: the softmax and the last product become a weighted sum."""

    def __init__(self, product: str) -> None:
        super().__init__()
        self.product = product

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = x.unflatten(-1, (-1, 6)).transpose(1, 2).split(2, -1)
        mixed: Tensor
        if self.product == "matmul":
            mixed = torch.softmax(q @ k.mT, -1) @ v
            return mixed
        q, k, v = (t.flatten(0, 1) for t in (q, k, v))
        mixed = torch.bmm(torch.softmax(torch.bmm(q, k.mT), -1), v).unflatten(0, (x.shape[0], -1))
        return mixed


class Normalization(nn.Module):
    """A linear layer and a normalisation."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.first, self.layer = nn.Linear(4, 4), layer
        with torch.no_grad():
            self.first.weight.copy_(C(4, 4))
            self.first.bias.copy_(C(4))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(self.first(x))
        return y


class Divided(nn.Module):
    """What is divided by its length, or by that plus a number."""

    def __init__(self, added: bool, centered: bool) -> None:
        super().__init__()
        self.added, self.centered = added, centered

    def forward(self, x: Tensor) -> Tensor:
        x = x - x.mean(-1, keepdim=True) if self.centered else x
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        divided: Tensor = x / (length + 0.1 if self.added else length.clamp_min(1e-3))
        return divided


class Projections(nn.Module):
    """Scores of a sequence by two linear layers."""

    def __init__(self, product: str) -> None:
        super().__init__()
        self.both, self.product = nn.Linear(4, 6), product
        with torch.no_grad():
            self.both.weight.copy_(C(6, 4))
            self.both.bias.copy_(C(6))

    def forward(self, x: Tensor) -> Tensor:
        q, k = self.both(x).chunk(2, -1)
        scores: Tensor = q @ k.mT if self.product == "matmul" else torch.bmm(q, k.mT)
        return scores


class Gated(nn.Module):
    """SiLU of one half times the other half of a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.both = nn.Linear(4, 4)
        with torch.no_grad():
            self.both.weight.copy_(C(4, 4))
            self.both.bias.copy_(C(4))

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.both(x).chunk(2, -1)
        gated: Tensor = nn.functional.silu(a) * b
        return gated


def declare(cases: ConformanceCases) -> None:
    """Declare all of it."""
    for op, options in (
        (aten.softmax.int, ()),
        (aten._softmax.default, (False,)),
        (aten._safe_softmax.default, ()),
        (aten.log_softmax.int, ()),
        (aten._log_softmax.default, (False,)),
    ):
        cases.add("vector", Call.of(op, X(4), 0, *options))
        cases.add("first dimension", Call.of(op, X(3, 2), -2, *options))
        cases.add("one score", Call.of(op, X(2, 1), -1, *options))
    cases.add("rows with one, two and three masked", Call.of(masked_softmax, X(3, 3), KEEP))
    cases.add("perturbed mask", Call.of(masked_softmax, X(4), Operand((4,), torch.bool)))
    for gate in (sigmoid_mul, sigmoid_tanh):
        cases.add("two factors", Call.of(gate, X(2), X(2, 1)))
        cases.add("known factor", Call.of(gate, X(2), torch.tensor([[1.0], [-2.0]], dtype=torch.float64)))
    for gate in (silu_mul, gelu_mul, gelu_tanh_mul):
        cases.add("two factors", Call.of(gate, X(2), X(2, 1)))
    cases.add("the scores of two targets", Call.of(gather_targets, X(2, 3), 1, torch.tensor([2, 0])))
    ids = torch.tensor([[1, 3, 3]])
    cases.add("a word twice", Call.of(aten.embedding.default, X(4, 2), ids))
    _models(cases)


def _models(cases: ConformanceCases) -> None:
    """The rules of `softmax_weighted_sum` and `normalized` rely on what their operands are: probabilities, an inverse norm."""
    sequence, rows = C(2, 3, 12), C(2, 3, 4)
    cases.model(
        "attention",
        lambda: Attention("matmul"),
        sequence,
        covers=[softmax_weighted_sum],
        fuses=[aten.matmul.default],
    )
    cases.model(
        "attention, bmm",
        lambda: Attention("bmm"),
        sequence,
        covers=[softmax_weighted_sum],
        fuses=[aten.bmm.default],
    )
    layers: dict[str, Callable[[], nn.Module]] = {
        "layer norm": lambda: nn.LayerNorm(4),
        "layer norm of two dimensions": lambda: nn.LayerNorm((3, 4), elementwise_affine=False),
        "RMS norm": lambda: nn.RMSNorm(4),
    }
    for name, layer in layers.items():
        cases.model(name, partial(_normalization, layer), rows, covers=[normalized])
    cases.model("group norm", partial(_normalization, lambda: nn.GroupNorm(1, 3)), rows, covers=[normalized])
    lengths: dict[str, Callable[[], nn.Module]] = {
        "vectors of length one": lambda: Divided(False, False),
        "vectors and their length plus a number": lambda: Divided(True, False),
        "deviations and their length plus a number": lambda: Divided(True, True),
    }
    for name, layer in lengths.items():
        cases.model(name, partial(_normalization, layer), rows, covers=[of_length])

    cases.model(
        "scores of projections",
        lambda: Projections("matmul"),
        rows,
        covers=[projected_product],
        fuses=[aten.matmul.default],
    )
    cases.model(
        "scores of projections, bmm",
        lambda: Projections("bmm"),
        rows,
        covers=[projected_product],
        fuses=[aten.bmm.default],
    )
    cases.model("a gated layer", Gated, rows, covers=[silu_mul], fuses=[aten.mul.Tensor])


def _normalization(layer: Callable[[], nn.Module]) -> nn.Module:
    return Normalization(layer())
