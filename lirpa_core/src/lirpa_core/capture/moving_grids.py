"""`grid_sample` at positions that an input reaches, as a rotation by an angle has them: sums of pixels times tents over them.

The bilinear sample at `(u, v)` is the sum of all pixels `(i, j)` times `max(0, 1 − |u − j|) · max(0, 1 − |v − i|)`; outside of
the image there is nothing, or the pixels of its border. Positions that no input reaches stay with the rule of the operator.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.fx import Node

from lirpa_core.capture.inlining import inlined, put_in_place
from lirpa_core.capture.reached import reached_by_inputs

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from lirpa_core.capture.recording import Recorded

aten = torch.ops.aten

_BILINEAR, _ZEROS, _BORDER = 0, 0, 1


def sampled(image: Tensor, grid: Tensor, padding: int, align_corners: bool) -> Tensor:
    """Bilinear samples `[B, C, *out]` of an image `[B, C, H, W]` at positions `[B, *out, 2]`.

    Args:
        image: The image.
        grid: Positions, −1 and 1 at its ends.
        padding: PyTorch's number for what is outside of the image: 0 is nothing, 1 its border.
        align_corners: Whether the ends are the middles of the outermost pixels, or their outer edges.
    """
    tents = []
    for size, position in ((image.shape[-1], grid[..., 0]), (image.shape[-2], grid[..., 1])):
        at = (position + 1) * ((size - 1) / 2) if align_corners else (position + 1) * (size / 2) - 0.5
        at = at.clamp(0, size - 1) if padding == _BORDER else at
        pixels = torch.arange(size, dtype=grid.dtype, device=grid.device)
        tents.append(torch.relu(1 - torch.abs(at.unsqueeze(-1) - pixels)).flatten(1, -2))  # [B, n, size]
    across, down = tents
    both = (down.unsqueeze(-1) * across.unsqueeze(-2)).flatten(2)  # [B, n, H·W]
    found = image.flatten(2) @ both.mT  # [B, C, n]
    return found.reshape(image.shape[0], image.shape[1], *grid.shape[1:-1])


def write_out_moving_grids(program: ExportedProgram | Recorded) -> None:
    """Write out, in place, every bilinear `grid_sample` of two dimensions whose positions an input reaches."""
    nodes = [
        n
        for n in program.graph.nodes
        if n.target in (aten.grid_sampler.default, aten.grid_sampler_2d.default)
    ]
    if not nodes:
        return
    reached = reached_by_inputs(program)
    for node in nodes:
        image, grid, mode, padding, align_corners = node.args
        if grid not in reached or mode != _BILINEAR or padding not in (_ZEROS, _BORDER):
            continue
        if not isinstance(image, Node) or image.meta["val"].dim() != 4:
            continue
        (found,) = inlined(_of(padding, bool(align_corners)), [image, grid], node)
        put_in_place(program, node, found)
        program.graph.erase_node(node)


def _of(padding: int, align_corners: bool) -> Callable[[Tensor, Tensor], list[Tensor]]:
    return lambda image, grid: [sampled(image, grid, padding, align_corners)]
