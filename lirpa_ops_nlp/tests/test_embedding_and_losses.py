"""Embeddings, losses, and gated feed-forward layers, end to end."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedParameter, PerturbationLpNorm
from lirpa_core.errors import InputError, UnsupportedOperandError
from lirpa_core.rules.call import Call, Operand
from lirpa_ops_nlp.embedding import EMBEDDING, embedding_bag
from lirpa_testing import few_steps, method_names

IDS = torch.tensor([[1, 3, 3], [0, 2, 1]])


def test_token_ids_cannot_be_perturbed() -> None:
    call = Call.of(torch.ops.aten.embedding.default, torch.randn(4, 2), Operand((1, 3), torch.int64))
    with pytest.raises(UnsupportedOperandError, match="indices"):
        EMBEDDING.check(call)


class Words(nn.Module):
    """The mean of word vectors with positions, and a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places, self.head = nn.Embedding(4, 5), nn.Embedding(3, 5), nn.Linear(5, 2)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.words(ids) + self.places(torch.arange(ids.shape[1]))
        return self.head(torch.tanh(x).mean(1))


def _require_sound(model: nn.Module, name: str, methods: list[str]) -> None:
    """No table near the model's, random or found by ascent, leaves the bounds, whose gradients are finite."""
    module = getattr(model, name)
    table = module.weight.detach().clone()
    module.weight = BoundedParameter(table, PerturbationLpNorm(eps=0.1))
    bounded = BoundedModule(model, IDS, batch_dims=(0,), bound_opts=few_steps())
    found = [bounded.compute_bounds(x=(IDS,), method=method) for method in methods]

    def at(moved: Tensor) -> Tensor:
        return torch.func.functional_call(model, {f"{name}.weight": moved}, (IDS,))

    points = [table + 0.1 * (2 * torch.rand_like(table) - 1).sign() for _ in range(20)]
    for k in range(4):  # each output of each example, up and down
        for sign in (1, -1):
            z = table
            for _ in range(3):
                z = z.detach().requires_grad_()
                (sign * at(z).flatten()[k]).backward()
                z = table + 0.1 * z.grad.sign()
            points.append(z.detach())
    for point in points:
        out = at(point)
        assert all(bool((lb - 1e-12 <= out).all() and (out <= ub + 1e-12).all()) for lb, ub in found)
    leaves = [p for n, p in model.named_parameters() if n != f"{name}.weight"]
    for lb, ub in found:
        assert all(bool(g.isfinite().all()) for g in torch.autograd.grad((ub - lb).sum(), leaves))


@pytest.mark.parametrize("method", method_names())
def test_a_perturbed_table_of_words(method) -> None:
    torch.manual_seed(0)
    _require_sound(Words().double(), "words", [method])


class Loss(nn.Module):
    """Cross entropy of each example with a label of its own."""

    def __init__(self, **options: object) -> None:
        super().__init__()
        self.layer, self.options = nn.Linear(3, 4), options

    def forward(self, x: Tensor) -> Tensor:
        target = torch.full((x.shape[0],), 2)
        return F.cross_entropy(self.layer(x), target, reduction="none", **self.options)


@pytest.mark.parametrize(
    "options",
    [{}, {"weight": torch.tensor([1.0, 2, 3, 4]).double()}, {"ignore_index": 2}, {"label_smoothing": 0.1}],
    ids=["plain", "weights", "ignored", "smoothed"],
)
def test_cross_entropy(options, check) -> None:
    torch.manual_seed(1)
    check(Loss(**options), torch.randn(3, 3), eps=0.2)


class Gated(nn.Module):
    """A feed-forward layer with a gate."""

    def __init__(self, gate: str) -> None:
        super().__init__()
        self.rise, self.fall, self.gate = nn.Linear(3, 4), nn.Linear(2, 2), gate

    def forward(self, x: Tensor) -> Tensor:
        if self.gate == "glu":
            return self.fall(F.glu(self.rise(x)))
        a, b = self.rise(x).chunk(2, -1)
        return self.fall((F.gelu(a) if self.gate == "geglu" else F.silu(a)) * b)


@pytest.mark.parametrize(
    ("gate", "operator"), [("glu", "sigmoid_mul"), ("geglu", "gelu_mul"), ("swiglu", "silu_mul")]
)
def test_gated_layers(gate, operator, check) -> None:
    torch.manual_seed(2)
    model, x = Gated(gate), torch.randn(2, 3)
    assert f"lirpa_nlp.{operator}.default" in {str(n.target) for n in BoundedModule(model, x).graph.nodes}
    check(model, x, eps=0.2)


def test_one_hot_and_dropout(check) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            labels = F.one_hot(torch.tensor([2]), 3).to(x.dtype)
            return F.dropout(self.layer(x) * labels, 0.5, self.training).cumsum(-1)

    check(Model(), torch.randn(2, 3))


class Bags(nn.Module):
    """Sums, means or maxima of word vectors by bags, and a linear head."""

    def __init__(self, **options: object) -> None:
        super().__init__()
        self.bags, self.head = nn.EmbeddingBag(4, 3, **options), nn.Linear(3, 2)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(torch.tanh(self.bags(ids)))


@pytest.mark.parametrize(
    "options",
    [{"mode": "mean"}, {"mode": "sum", "padding_idx": 3}, {"mode": "max"}],
    ids=["mean", "sum-padding", "max"],
)
def test_a_perturbed_table_of_bags(options) -> None:
    torch.manual_seed(3)
    _require_sound(Bags(**options).double(), "bags", list(method_names()))


@pytest.mark.parametrize("mode", [0, 1, 2])
@pytest.mark.parametrize("last", [False, True])
def test_bags_have_the_values_of_the_operator(mode, last) -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(6, 3, generator=generator)
    indices, offsets = (
        torch.tensor([1, 5, 5, 2, 0, 3, 2]),
        torch.tensor([0, 2, 2, 6]),
    )  # the second bag is empty
    shares = torch.rand(7, generator=generator) if mode == 0 else None
    arguments = (weight, indices, offsets, False, mode, False, shares, last, 5)
    expected = torch.ops.aten._embedding_bag.default(*arguments)[0]
    torch.testing.assert_close(embedding_bag(*arguments)[0], expected)


def test_ids_outside_a_perturbed_table_are_refused() -> None:
    model = Words()
    model.words.weight = BoundedParameter(model.words.weight.detach(), PerturbationLpNorm(eps=0.1))
    bounded = BoundedModule(model, IDS, batch_dims=(0,))
    with pytest.raises(InputError, match=r"'words' \(Embedding\): the id 10 is out of range"):
        bounded.compute_bounds(x=(IDS + 7,), method="IBP")
