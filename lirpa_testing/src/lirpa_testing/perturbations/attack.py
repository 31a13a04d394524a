"""The least value of linear forms over a perturbation set, as far as projected steps find it."""

from __future__ import annotations

import torch
from torch import Tensor

from lirpa_core.perturbations import Perturbation

#: Starting points of each form; after every step only the better half of them goes on.
_STARTS = 32
_STEPS = tuple(10.0**k for k in range(-1, 7))


def attack_set(ptb: Perturbation, x: Tensor, A: Tensor, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Minimise forms over the set by projected steps of growing length.

    On a convex set a step of length t along the form ends within `diameter^2 / 2t` of the minimum, from
    wherever it starts, so that only short steps need many starts.

    Args:
        ptb: The perturbation.
        x: Nominal value, `[B, *S]`.
        A: Forms, `[R, B, *S]`.
        points: Members of the set, `[n, B, *S]`; each form starts from the best ones.

    Returns:
        Least value `[R, B]`, where it was found `[R, B, *S]`, and some of the points visited `[m, B, *S]`.
    """
    R, B = A.shape[:2]
    hull = ptb.hull(x)
    ones = [1] * (x.dim() - 1)
    values = torch.einsum("rbi,nbi->nrb", A.reshape(R, B, -1), points.reshape(len(points), B, -1))
    start = values.topk(min(_STARTS, len(points)), dim=0, largest=False).indices  # [k, R, B]
    example = torch.arange(B, device=x.device)
    z = points[start, example]  # [k, R, B, *S]
    span = (A.abs() * hull.width).reshape(R, B, -1).sum(-1)
    norm = (A * A).reshape(R, B, -1).sum(-1)
    unit = torch.where(norm > 0, span / torch.where(norm > 0, norm, 1), 0).reshape(R, B, *ones)
    best, found, visited = values.amin(0), points[start[0], example], []
    for step in _STEPS:
        z = ptb.project(x, (z - step * unit * A).flatten(0, 1)).reshape(z.shape)
        visited.append(z[::8].flatten(0, 1))
        values, order = (z * A).reshape(*z.shape[:3], -1).sum(-1).sort(0)  # [k, R, B]
        z = z.gather(0, order.reshape(*order.shape, *ones).expand_as(z))
        better = values[0] < best
        best, found = values[0].minimum(best), torch.where(better.reshape(R, B, *ones), z[0], found)
        z = z[: max(1, len(z) // 2)]
    return best, found, torch.cat(visited)
