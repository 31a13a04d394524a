"""Attention modules, end to end."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lirpa_core import BoundedModule
from lirpa_core.errors import InputError, LirpaError


class SelfAttention(nn.Module):
    """`nn.MultiheadAttention` of a sequence to itself, with or without weights and masks."""

    def __init__(self, weights: bool, mask: Tensor | None = None, padding: Tensor | None = None) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.weights = weights
        self.register_buffer("mask", mask)
        self.register_buffer("padding", padding)

    def forward(self, x: Tensor) -> Tensor:
        padding = None if self.padding is None else self.padding.expand(x.shape[0], -1)
        out, weights = self.attention(
            x, x, x, attn_mask=self.mask, key_padding_mask=padding, need_weights=self.weights
        )
        return out.flatten(1) if weights is None else torch.cat([out.flatten(1), weights.flatten(1)], 1)


class Dot(nn.Module):
    """`scaled_dot_product_attention` of three slices of the input."""

    def __init__(self, **options: object) -> None:
        super().__init__()
        self.options = options

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = x.unflatten(-1, (-1, 6)).split(2, -1)
        q, k, v = (t.transpose(1, 2) for t in (q, k, v))
        return F.scaled_dot_product_attention(q, k, v, **self.options)


class Translation(nn.Module):
    """A decoder layer that looks at the sequence itself as its memory."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerDecoderLayer(4, 2, 6, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1], dtype=x.dtype)
        return self.layer(x, x[:, :2], tgt_mask=mask, tgt_is_causal=True).sum(1)


CAUSAL = torch.ones(3, 3).triu(1).bool()
FLOATING = torch.tensor([[0.0, 0.5, -1.0], [0.0, -torch.inf, 1.0], [-torch.inf, 2.0, -torch.inf]]).double()


@pytest.mark.parametrize("weights", [False, True], ids=["plain", "weights"])
@pytest.mark.parametrize(
    ("mask", "padding"),
    [(None, None), (CAUSAL, None), (FLOATING, None), (None, torch.tensor([[False, False, True]]))],
    ids=["all", "causal", "floating", "padding"],
)
def test_multihead_attention(weights, mask, padding, check_in_turn) -> None:
    torch.manual_seed(0)
    check_in_turn(SelfAttention(weights, mask, padding), torch.randn(2, 3, 4))


@pytest.mark.parametrize(
    "options",
    [
        {"is_causal": True},
        {"attn_mask": torch.tensor([[True, False, True]])},
        {"attn_mask": FLOATING, "scale": 2.0},
        {"attn_mask": torch.tensor([[True, True, True], [False, False, False], [True, False, False]])},
    ],
    ids=["causal", "boolean", "floating", "a-row-that-attends-to-nothing"],
)
def test_scaled_dot_product_attention(options, check_in_turn) -> None:
    torch.manual_seed(1)
    check_in_turn(Dot(**options), torch.randn(2, 3, 12))


def test_boxes_of_all_sizes(check) -> None:
    torch.manual_seed(2)
    check(Dot(), torch.randn(2, 3, 12), eps=(1e-12, 1e3, 0.03))


@pytest.mark.parametrize(
    ("norm_first", "layers"),
    [(False, 1), *[pytest.param(f, 2, marks=pytest.mark.thorough) for f in (False, True)]],
)
def test_encoder_layers(norm_first, layers, check) -> None:
    torch.manual_seed(3)
    layer = nn.TransformerEncoderLayer(4, 2, 6, batch_first=True, norm_first=norm_first, activation="gelu")
    check(nn.TransformerEncoder(layer, layers, enable_nested_tensor=False), torch.randn(2, 3, 4), eps=0.005)


def test_decoder_layer(check) -> None:
    torch.manual_seed(4)
    check(Translation(), torch.randn(2, 3, 4), eps=0.005)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (torch.ones(5, dtype=torch.bool), "does not broadcast"),
        (torch.ones(3, 3, dtype=torch.int64), "dtype"),
    ],
)
def test_bad_masks(mask, message) -> None:
    from lirpa_ops_nlp.attention import attention

    q = torch.randn(1, 2, 3, 2)
    with pytest.raises(InputError, match=message):
        attention(q, q, q, mask)


def test_dropout_is_refused() -> None:
    with pytest.raises(LirpaError, match="drop"):
        BoundedModule(Dot(dropout_p=0.5), torch.randn(2, 3, 12))


class Primitive(nn.Module):
    """Attention as many write it: a softmax and two matrix products."""

    def __init__(self, dim: int = -1, mask: Tensor | None = None) -> None:
        super().__init__()
        self.dim, self.mask = dim, mask

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = x.unflatten(-1, (-1, 6)).transpose(1, 2).split(2, -1)
        scores = q @ k.mT
        if self.mask is not None:
            scores = scores.masked_fill(self.mask, -torch.inf)
        return torch.softmax(scores, self.dim) @ v


@pytest.mark.parametrize("causal", [False, True])
def test_a_softmax_before_a_matrix_product_becomes_a_mix(causal, check) -> None:
    torch.manual_seed(6)
    x = torch.randn(2, 3, 12)
    model = Primitive(mask=CAUSAL if causal else None)
    found = check(model, x)
    (node,) = (
        n
        for n in BoundedModule(model, x).graph.nodes
        if str(n.target) == "lirpa_nlp.softmax_weighted_sum.default"
    )
    assert len(node.inputs) == 3 + causal  # weights, values, scores; what is kept
    fused = check(Dot(scale=1.0, is_causal=causal), x, gradients=False)
    for method, (lb, ub) in found.items():
        torch.testing.assert_close((lb, ub), fused[method], msg=method)


def test_a_softmax_over_another_dimension_does_not(check) -> None:
    torch.manual_seed(7)
    x = torch.randn(2, 3, 12)
    check(Primitive(-2), x)
    assert "lirpa_nlp.softmax_weighted_sum.default" not in {
        str(n.target) for n in BoundedModule(Primitive(-2), x).graph.nodes
    }
