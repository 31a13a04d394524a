"""Cutting a joined vector undoes joining, whatever the shapes and the leading dimensions."""

import torch

from lirpa_core.linear.joined import split_joined


def test_it_undoes_joining():
    parts = [torch.randn(4, 2, *shape) for shape in ((3,), (), (2, 5), (0,), (1, 1))]
    joined = torch.cat([part.flatten(2) if part.dim() > 2 else part.unsqueeze(2) for part in parts], -1)
    for part, again in zip(parts, split_joined(joined, [p.shape[2:] for p in parts]), strict=True):
        assert torch.equal(part, again)
