"""A plain vision transformer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.layers import scaled


class Attention(nn.Module):
    """Self-attention with several heads, from `scaled_dot_product_attention`."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, dim = x.shape
        q, k, v = self.qkv(x).view(batch, tokens, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v)
        y: Tensor = self.out(mixed.transpose(1, 2).reshape(batch, tokens, dim))
        return y


class Block(nn.Module):
    """Attention and two linear layers, each behind a norm and beside a skip."""

    def __init__(self, dim: int, heads: int, norm: bool) -> None:
        super().__init__()
        self.first = nn.LayerNorm(dim) if norm else nn.Identity()
        self.second = nn.LayerNorm(dim) if norm else nn.Identity()
        self.attention = Attention(dim, heads)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.ReLU(), nn.Linear(2 * dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.first(x))
        y: Tensor = x + self.mlp(self.second(x))
        return y


class VisionTransformer(nn.Module):
    """Patches of the image as tokens, blocks of attention, and the mean of the tokens."""

    def __init__(
        self, classes: int, size: int, patch: int, dim: int, heads: int, depth: int, norm: bool
    ) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, dim, patch, patch)
        self.position = nn.Parameter(0.02 * torch.randn(1, (size // patch) ** 2, dim))
        self.blocks = nn.Sequential(*[Block(dim, heads, norm) for _ in range(depth)])
        self.head = nn.Linear(dim, classes)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.embed(x).flatten(2).transpose(1, 2) + self.position
        y: Tensor = self.head(self.blocks(tokens).mean(1))
        return y


def vit(
    classes: int = 10, size: int = 32, width: float = 1.0, patch: int = 8, depth: int = 2, norm: bool = False
) -> nn.Module:
    """A small vision transformer (Dosovitskiy et al. 2021), without a class token.

    Args:
        classes: Number of classes.
        size: Of the square image, a multiple of `patch`.
        width: Factor of the 64 features of a token, in heads of 16.
        patch: Side of a patch.
        depth: Number of blocks.
        norm: Whether the blocks have layer norms; without them bounds are far tighter (Shi et al. 2020).
    """
    heads = max(1, round(4 * width))
    dim = heads * max(2, scaled(16, min(1.0, 4 * width)))
    return VisionTransformer(classes, size, patch, dim, heads, depth, norm)
