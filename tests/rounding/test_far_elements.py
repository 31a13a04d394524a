"""Vectors one element of which may be far larger than all others, in every operator that looks at a vector as a whole.

What an output depends on must not be counted from an element that it hardly depends on. Softmax, vectors of length one and their kind did:
of the small elements no digit was left beside the large one.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.errors import DomainError, NonFiniteBoundError
from lirpa_testing import few_steps
from lirpa_testing.fuzz.methods import method_of

PLAIN = torch.tensor([[0.25, 1.0], [0.5, -4.0], [0.5, 1.0], [2.0, 2.0]])

FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": lambda x: torch.softmax(x, -1),
    "softmax of two dimensions": lambda x: torch.softmax(x.reshape(-1, 4, 1), 1).flatten(1),
    "log-softmax": lambda x: torch.log_softmax(x, -1),
    "softmin": lambda x: F.softmin(x, -1),
    "softmax of deviations": lambda x: torch.softmax(x - x.mean(-1, keepdim=True), -1),
    "softmax and a product": lambda x: torch.softmax(x, -1) @ PLAIN.to(x.dtype),
    "soft maximum": lambda x: (torch.softmax(x, -1) * x).sum(-1, keepdim=True),
    "entropy": lambda x: -(torch.softmax(x, -1) * torch.log_softmax(x, -1)).sum(-1, keepdim=True),
    "divergence": lambda x: F.kl_div(torch.log_softmax(x, -1), torch.full_like(x, 0.25), reduction="none"),
    "attention": lambda x: F.scaled_dot_product_attention(*[x.unsqueeze(-1)] * 3, is_causal=True).flatten(1),
    "logsumexp": lambda x: torch.logsumexp(x, -1, keepdim=True),
    "logcumsumexp": lambda x: torch.logcumsumexp(x, -1),
    "logaddexp": lambda x: torch.logaddexp(x[:, :2], x[:, 2:]),
    "layer norm": lambda x: F.layer_norm(x, (4,)),
    "layer norm by hand": lambda x: (
        (x - x.mean(-1, keepdim=True)) * torch.rsqrt(x.var(-1, keepdim=True, unbiased=False) + 1e-5)
    ),
    "group norm": lambda x: F.group_norm(x.reshape(-1, 4, 1), 2).flatten(1),
    "RMS norm": lambda x: F.rms_norm(x, (4,)),
    "normalize": lambda x: F.normalize(x, dim=-1),
    "cosine similarity": lambda x: F.cosine_similarity(x, PLAIN.flatten()[None, :4].to(x.dtype)).unsqueeze(
        -1
    ),
    "length": lambda x: x.norm(dim=-1, keepdim=True),
    "distance": lambda x: F.pairwise_distance(x[:, :2], x[:, 2:]).unsqueeze(-1),
    "shares of squares": lambda x: x.square() / (x.square().sum(-1, keepdim=True) + 1e-3),
    "local response norm": lambda x: F.local_response_norm(x.reshape(-1, 4, 1), 2).flatten(1),
    "variance": lambda x: x.var(-1, keepdim=True),
    "sum less each": lambda x: x.sum(-1, keepdim=True) - x,
    "below the maximum": lambda x: torch.sigmoid(x - x.amax(-1, keepdim=True)),
    "sorted": lambda x: x.sort(-1)[0],
    "best two": lambda x: x.topk(2, -1)[0],
    "quantile": lambda x: x.quantile(0.3, -1).unsqueeze(-1),
    "product": lambda x: x.prod(-1, keepdim=True),
}

LOWER = torch.tensor([0.0, 0.25, 0.5, -3.0])
UPPER = torch.tensor([0.5, 1.0, 1.25, 2.0])
TOPS = (1e3, 1e6, 1e9)


@pytest.mark.in_turn(5)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_small_elements_keep_their_digits(name: str) -> None:
    """Bounds in float32 hold values in float64, at the corners and near the lower ends."""
    function, generator = FUNCTIONS[name], torch.Generator().manual_seed(0)
    places = [(top, place, two) for top in TOPS for place in (0, 2) for two in (False, True)]
    lower, upper = LOWER.repeat(len(places), 1), UPPER.repeat(len(places), 1)
    for k, (top, place, two) in enumerate(places):
        upper[k, place] = top
        lower[k, place] = -top if two else lower[k, place]
    x = (lower / 2 + upper / 2).maximum(lower).minimum(upper)
    ball = BoundedTensor(x, PerturbationLpNorm(x_L=lower, x_U=upper))
    bounded = BoundedModule(function, x, bound_opts=few_steps())
    corners = [torch.where(torch.tensor(c), upper, lower) for c in itertools.product((False, True), repeat=4)]
    shares = [torch.rand(x.shape, generator=generator) ** power for power in (1, 5, 40) for _ in range(10)]
    points = [*corners, *[torch.lerp(lower, upper, share).maximum(lower).minimum(upper) for share in shares]]
    found = 0
    for method in ("IBP", "CROWN", "CROWN, drawn"):
        try:
            lb, ub = bounded.compute_bounds(x=(ball,), method=method_of(method))
        except (NonFiniteBoundError, DomainError):
            continue
        found += 1
        for point in points:
            value = function(point.double())
            slack = 1e-9 * (1e-3 + value.abs())  # what float64 does to the value itself
            assert bool((value >= lb.double() - slack).all() and (value <= ub.double() + slack).all()), method
    assert found, "everything was refused"
