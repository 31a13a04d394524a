"""Windows are picked alike whether or not gradients are recorded; see test_structure.py for what they are windows of."""

from __future__ import annotations

import pytest
import torch

from lirpa_ops_vision.patches.placement import Placement


@pytest.mark.parametrize("anchors", [1, 3])
@pytest.mark.parametrize("images", [1, 3])
@pytest.mark.parametrize("copied", [True, False])
def test_windows_are_cut_out_where_rows_lie(anchors: int, images: int, copied: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    anchor = torch.randint(0, 12, (5, anchors), generator=generator)
    place = Placement(anchor, (3, 4), (2, 1), (-1, 0), (3, 2), (6, 5))
    image = torch.randn(images, 2, 6, 5, generator=generator)
    windows = place.windows(image)
    windows = windows.contiguous() if copied else windows
    found = place.pick(windows, 1, 4)
    with torch.no_grad():
        assert torch.equal(place.pick(windows, 1, 4), found)
    around = torch.nn.functional.pad(image, (0, 0, 1, 0))  # the first windows begin a row before the image
    batch = max(anchors, images)
    for row in range(3):
        for b in range(batch):
            at = int(anchor[1 + row, b % anchors])
            top, left = at // 4 * 2, at % 4
            wanted = around[b % images, :, top : top + 3, left : left + 2]
            assert torch.equal(found.expand(3, batch, *found.shape[2:])[row, b], wanted)
