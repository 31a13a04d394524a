"""Encoders as libraries write them: `nn.TransformerEncoder` by default options, BERT from a configuration."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

pytestmark = pytest.mark.slow


class Padded(nn.Module):
    """`nn.TransformerEncoder` as made by default, whose inference path would use nested tensors."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(4, 2, 6, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1)

    def forward(self, x: Tensor) -> Tensor:
        padding = torch.zeros(x.shape[0], x.shape[1], dtype=torch.bool)
        padding[:, -1] = True
        return self.encoder(x, src_key_padding_mask=padding)[:, :2].sum(1)


def test_transformer_encoder_with_padding(check) -> None:
    torch.manual_seed(0)
    check(Padded(), torch.randn(2, 3, 4), eps=0.005)


class Bert(nn.Module):
    """The pooled output of a BERT with random weights, from word vectors; the last word is padding."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        from transformers import BertConfig, BertModel

        config = BertConfig(
            vocab_size=12,
            hidden_size=4,
            num_hidden_layers=layers,
            num_attention_heads=2,
            intermediate_size=6,
            max_position_embeddings=5,
        )
        self.bert = BertModel(config)

    def forward(self, x: Tensor) -> Tensor:
        mask = torch.ones(x.shape[:2], dtype=torch.long)
        mask[:, -1] = 0
        return self.bert(inputs_embeds=x, attention_mask=mask).pooler_output


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("layers", [1, pytest.param(2, marks=pytest.mark.thorough)])
def test_hugging_face_bert(layers, check) -> None:
    torch.manual_seed(1)
    check(Bert(layers), torch.randn(2, 3, 4), eps=0.002)
