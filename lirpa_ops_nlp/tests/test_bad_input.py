"""What users of sequence models get wrong, and what they are told."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.errors import CaptureError, InputError, LirpaError

X = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
IDS = torch.tensor([[0, 1, 2], [3, 4, 1]])
BALL = PerturbationLpNorm(eps=0.1)


class Words(nn.Module):
    """A sequence of vectors, to which those of words are added."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(5, 4)

    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        return x + self.words(ids)


@pytest.mark.parametrize(("shift", "wrong"), [(3, 7), (-3, -3)])
def test_ids_out_of_range(shift, wrong) -> None:
    message = rf"'words' \(Embedding\): the id {wrong} is out of range.* ids run from 0 to 4"
    with pytest.raises(InputError, match=message):
        BoundedModule(Words(), (X, IDS + shift))
    bounded = BoundedModule(Words(), (X, IDS))
    with pytest.raises(InputError, match=message):
        bounded.compute_bounds(x=(BoundedTensor(X, BALL), IDS + shift), method="IBP")


@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_nested_inputs(layout) -> None:
    nested = torch.nested.nested_tensor([X[0], X[1, :2]], layout=layout)
    with pytest.raises(InputError, match=r"input 0 is a (nested|sparse) tensor"):
        BoundedModule(nn.Linear(4, 2), nested)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_nested_inside() -> None:
    class Inside(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.nested.nested_tensor([x[0], x[0, :2]]).to_padded_tensor(0.0)

    with pytest.raises(CaptureError, match="nested_tensor"):
        BoundedModule(Inside(), X[:1], batch_dims=None)


@pytest.mark.parametrize("inside", [False, True])
def test_packed_inputs(inside) -> None:
    packed = nn.utils.rnn.pack_padded_sequence(X, torch.tensor([3, 2]), batch_first=True)
    example = (packed,) if inside else packed
    with pytest.raises(InputError, match=r"input 0 is a packed sequence.* Give the padded sequences"):
        BoundedModule(nn.LSTM(4, 2, batch_first=True), example)


class Masked(nn.Module):
    """Self-attention with a mask."""

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, x: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(x, x, x, attn_mask=self.mask)


@pytest.mark.parametrize(
    ("mask", "message"),
    [(torch.ones(5).bool(), "must match the size"), (torch.ones(3, 3).long(), "Expected attn_mask dtype")],
    ids=["shape", "dtype"],
)
def test_masks_that_the_model_itself_refuses(mask, message) -> None:
    with pytest.raises(InputError, match=message):
        BoundedModule(Masked(mask), X)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_masks_that_are_no_numbers(value) -> None:
    bounded = BoundedModule(Masked(torch.full((3, 3), value)), X)
    for method in ("IBP", "CROWN-IBP"):
        with pytest.raises(LirpaError, match=r"infinite or NaN.*The buffer 'mask' contains NaN or \+∞"):
            bounded.compute_bounds(x=(BoundedTensor(X, BALL),), method=method)


class MaskGiven(nn.Module):
    """Self-attention with a mask for each example."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(x, x, x, attn_mask=mask)


def test_masks_as_inputs() -> None:
    masks = torch.zeros(2, 3, 3)
    bounded = BoundedModule(MaskGiven(), (X, masks), bound_opts={"rounding": "nearest"})
    ball = BoundedTensor(X, BALL)
    masks[0, :, 1] = masks[1, 2] = -math.inf  # a padded key; a row that attends to nothing
    lb, ub = bounded.compute_bounds(x=(ball, masks), method="CROWN")
    out = MaskGiven()(X, masks)
    assert bool((lb <= out).all() and (out <= ub).all())
    assert float(lb[1, 2].abs().amax()) == float(ub[1, 2].abs().amax()) == 0
    for value in (math.nan, math.inf):
        with pytest.raises(
            InputError, match=r"input 'mask' contains NaN or infinite values.* only −∞ may stand"
        ):
            bounded.compute_bounds(x=(ball, torch.full((2, 3, 3), value)), method="IBP")
    with pytest.raises(InputError, match="input 'x' contains NaN or infinite values"):
        bounded.compute_bounds(x=(BoundedTensor(X - math.inf, BALL), masks), method="IBP")
    with pytest.raises(InputError, match=r"input 'mask' has shape \[2, 3, 5\]"):
        bounded.compute_bounds(x=(ball, torch.zeros(2, 3, 5)), method="IBP")
    with pytest.raises(InputError, match=r"input 'mask' has dtype torch.bool"):
        bounded.compute_bounds(x=(ball, masks == 0), method="IBP")


class Loss(nn.Module):
    """The loss of each example."""

    def __init__(self, fused: bool) -> None:
        super().__init__()
        self.fused = fused

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        z = x.mean(1)
        if self.fused:
            return F.cross_entropy(z, y, reduction="none")
        return F.nll_loss(z.log_softmax(-1), y, reduction="none")


@pytest.mark.parametrize("fused", [True, False], ids=["cross_entropy", "nll_loss"])
def test_targets_out_of_range(fused) -> None:
    bounded = BoundedModule(Loss(fused), (X, torch.tensor([3, 0])), bound_opts={"rounding": "nearest"})
    ball = BoundedTensor(X, BALL)
    for wrong in (4, -1):
        targets = torch.tensor([3, wrong])
        with pytest.raises(
            InputError, match=rf"the model itself fails on the example.*Target {wrong} is out"
        ):
            BoundedModule(Loss(fused), (X, targets))
        with pytest.raises(InputError, match=rf"the target {wrong} is out of range: there are 4 classes"):
            bounded.compute_bounds(x=(ball, targets), method="IBP")
    lb, ub = bounded.compute_bounds(x=(ball, torch.tensor([3, -100])), method="CROWN")
    assert float(lb[1]) == float(ub[1]) == 0 < float(ub[0] - lb[0])


class Added(nn.Module):
    """Attention from primitives, with a mask of zeros and −∞ added to the scores."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.register_buffer("mask", torch.full((3, 3), -math.inf).triu(1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(self.layer(x) @ x.mT + self.mask.to(x.dtype), -1) @ x


def test_minus_infinity_added_outside_attention(check) -> None:
    torch.manual_seed(0)
    check(Added(), X)


class LogProbabilities(nn.Module):
    """Probabilities by the logarithm of softmax, which is −∞ where the mask is."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.register_buffer("mask", torch.tensor([0.0, -math.inf, 0.0, 0.0]))

    def forward(self, x: Tensor) -> Tensor:
        return torch.exp(torch.log_softmax(self.layer(x) + self.mask.to(x.dtype), -1))


@pytest.mark.parametrize(
    "method", ["IBP", "forward", "CROWN-IBP", "CROWN-forward", "CROWN", "CROWN-Optimized"]
)
def test_the_logarithm_of_a_masked_probability_is_minus_infinity(method: str) -> None:
    torch.manual_seed(0)
    model, x = LogProbabilities().double(), torch.rand(2, 4).double()
    lower, upper = BoundedModule(model, x).compute_bounds(
        (BoundedTensor(x, PerturbationLpNorm(eps=0.1)),), method=method
    )
    assert (lower[:, 1] == 0).all() and (upper[:, 1] == 0).all()
    change = 0.2 * torch.rand(200, 2, 4).double() - 0.1
    y = torch.stack([model(x + d) for d in change]).detach()
    assert (lower <= y.amin(0) + 1e-12).all() and (y.amax(0) <= upper + 1e-12).all()
    assert (upper - lower).max() < 0.5
