"""Composite operators: the same values as PyTorch's, and sound bounds of modules made of them."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm, plugin
from lirpa_core.errors import CaptureError, TrainingModeError
from lirpa_core.operators import decompositions
from lirpa_core.plugins import build_registry
from lirpa_testing import few_steps

pytestmark = pytest.mark.slow

aten = torch.ops.aten
#: The core alone: plugins know better than to take these operators apart.
CORE = build_registry([plugin], entry_points=False)


def T(*sizes: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(sizes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# ---------------------------------------------------------------------- values


@pytest.mark.parametrize(("shape", "dim"), [((3, 4), -1), ((3, 4), 0), ((2, 3, 4), 1), ((3, 1), 1), ((), 0)])
def test_softmax(shape, dim, oracle):
    x = 50 * T(*shape)
    oracle.close(decompositions.softmax(x, dim), x.softmax(dim))
    oracle.close(decompositions.core_softmax(x, dim, False), x.softmax(dim))
    oracle.close(decompositions.log_softmax(x, dim), x.log_softmax(dim))
    oracle.close(decompositions.core_log_softmax(x, dim, False), x.log_softmax(dim))
    assert decompositions.softmax(x.float(), dim, torch.float64).dtype == torch.float64
    assert decompositions.log_softmax(x.float(), dim, torch.float64).dtype == torch.float64


def test_masked_softmax(oracle):
    x, masked = T(3, 4, 5), T(4, 5) > 0.3
    masked[0] = True  # nothing is left in this row
    for dim in (-1, 1):
        want = torch.ops.lirpa.masked_softmax.default(x, masked, dim)
        oracle.close(decompositions.masked_softmax(x, masked, dim), want)
        plain = x.masked_fill(masked, -math.inf).softmax(dim)
        oracle.close(want, torch.where(plain.isnan(), 0.0, plain))
    assert (torch.ops.lirpa.masked_softmax.default(x, masked, -1)[:, 0] == 0).all()


def _masks(n, m):
    keep = T(n, m) > -0.5
    keep[0] = False  # nothing at all is allowed
    return {
        "none": {},
        "causal": {"is_causal": True},
        "boolean": {"attn_mask": keep},
        "added": {"attn_mask": T(n, m)},
        "added with infinities": {"attn_mask": torch.where(keep, T(n, m), -math.inf)},
        "of each head": {"attn_mask": T(2, 3, n, m) > -0.5},
        "scaled": {"scale": 0.1, "is_causal": True},
    }


@pytest.mark.parametrize("name", _masks(4, 4))
def test_attention(name, oracle):
    options = _masks(4, 4)[name]
    q, k, v = (T(2, 3, 4, 5, seed=s) for s in range(3))
    got = decompositions.attention(q, k, v, **options)
    oracle.close(got, F.scaled_dot_product_attention(q, k, v, **options))
    assert got.isfinite().all()


def test_attention_over_keys_of_another_length(oracle):
    q, k, v = T(2, 3, 5), T(2, 6, 5), T(2, 6, 2)
    for options in (_masks(3, 6)["boolean"], {"is_causal": True}):
        oracle.close(
            decompositions.attention(q, k, v, **options), F.scaled_dot_product_attention(q, k, v, **options)
        )


def test_attention_with_groups_of_queries(oracle):
    q, k, v = T(2, 4, 3, 5), T(2, 2, 6, 5), T(2, 2, 6, 5)
    expected = F.scaled_dot_product_attention(q, k, v, enable_gqa=True)
    oracle.close(decompositions.attention(q, k, v, enable_gqa=True), expected)


@pytest.mark.parametrize(
    ("mine", "theirs", "args"),
    [
        (decompositions.layer_norm, aten.native_layer_norm.default, (T(2, 3, 4), [4], T(4), T(4), 1e-5)),
        (decompositions.layer_norm, aten.native_layer_norm.default, (T(2, 3, 4), [3, 4], None, None, 0.1)),
        (decompositions.rms_norm, aten.rms_norm.default, (T(2, 3, 4), [3, 4], T(3, 4), 0.1)),
        (decompositions.rms_norm, aten.rms_norm.default, (T(2, 4), [4], None, None)),
        (
            decompositions.group_norm,
            aten.native_group_norm.default,
            (T(2, 6, 5), T(6), T(6), 2, 6, 5, 3, 1e-5),
        ),
        (
            decompositions.instance_norm,
            aten._native_batch_norm_legit.no_stats,
            (T(1, 6, 5), T(6), None, True, 0.1, 1e-5),
        ),
    ],
)
def test_normalisations(mine, theirs, args, oracle):
    got, want = mine(*args), theirs(*args)
    pairs = zip(got, want, strict=True) if isinstance(want, tuple) else [(got, want)]
    for a, b in pairs:
        oracle.close(a, b)


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 2), (3, 4, 2, 2)])
def test_batch_norm_with_running_statistics(affine, shape, oracle):
    weight, bias = (T(4), T(4, seed=2)) if affine else (None, None)
    args = (T(*shape), weight, bias, T(4, seed=3), T(4, seed=4).abs(), 0.1, 1e-3)
    want = aten._native_batch_norm_legit_no_training.default(*args)
    for a, b in zip(decompositions.batch_norm(*args), want, strict=True):
        oracle.close(a, b)


# ---------------------------------------------------------------------- bounds


class Apply(nn.Module):
    """A function of the input and of a module's own parameters."""

    def __init__(self, function, module=None):
        super().__init__()
        self.function, self.module = function, module

    def forward(self, x):
        return self.function(x) if self.module is None else self.function(self.module, x)


class Encoder(nn.Module):
    """A layer of a transformer without layer norm."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.up, self.down = nn.Linear(4, 6), nn.Linear(6, 4)

    def forward(self, x):
        x = x + self.attention(x, x, x, need_weights=False)[0]
        return x + self.down(torch.relu(self.up(x)))


def _attention(module, x, **options):
    return module(x, x, x, **options)[0]


def _causal(module, x):
    mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1], dtype=x.dtype)
    return _attention(module, x, need_weights=False, attn_mask=mask, is_causal=True)


def _padded(module, x):
    mask = torch.tensor([[False, False, True]]).expand(x.shape[0], 3)
    return _attention(module, x, key_padding_mask=mask, need_weights=False)


def _first(module, x):
    return module(x)[0]


class Masked(nn.Module):
    """Attention as many write it: forbidden scores are set to -inf, twice over."""

    def __init__(self):
        super().__init__()
        self.register_buffer("future", torch.ones(3, 3).triu(1).bool())

    def forward(self, x):
        scores = x @ x.mT
        padding = torch.tensor([False, True, False])
        both = scores.masked_fill(self.future, -math.inf).masked_fill(padding, float("-inf"))
        columns = torch.where(self.future, -math.inf, scores).softmax(1)
        return both.softmax(-1) @ x + columns @ x


SEQUENCE, VECTOR = (2, 3, 4), (3, 4)
MODELS = {
    "encoder layer": (lambda: nn.TransformerEncoderLayer(4, 2, 6, batch_first=True), SEQUENCE),
    "encoder without norm": (Encoder, SEQUENCE),
    "attention, with weights": (
        lambda: Apply(_attention, nn.MultiheadAttention(4, 2, batch_first=True)),
        SEQUENCE,
    ),
    "attention, causal": (lambda: Apply(_causal, nn.MultiheadAttention(4, 2, batch_first=True)), SEQUENCE),
    "attention, padded": (lambda: Apply(_padded, nn.MultiheadAttention(4, 2, batch_first=True)), SEQUENCE),
    "attention, masked by hand": (Masked, SEQUENCE),
    "lstm": (lambda: Apply(_first, nn.LSTM(4, 3, batch_first=True)), SEQUENCE),
    "gru": (lambda: Apply(_first, nn.GRU(4, 3, batch_first=True, bidirectional=True)), SEQUENCE),
    "rnn": (lambda: Apply(_first, nn.RNN(4, 3, batch_first=True)), SEQUENCE),
    "softmax": (lambda: nn.Softmax(1), SEQUENCE),
    "log softmax": (lambda: nn.LogSoftmax(-1), VECTOR),
    "layer norm": (lambda: nn.LayerNorm(4), VECTOR),
    "rms norm": (lambda: nn.RMSNorm(4), VECTOR),
    "group norm": (lambda: nn.GroupNorm(2, 4), (2, 4, 3)),
    "instance norm": (lambda: nn.InstanceNorm1d(3, affine=True), SEQUENCE),
    "batch norm": (lambda: nn.BatchNorm1d(4), VECTOR),
    "glu": (lambda: nn.GLU(), VECTOR),
    "bilinear": (lambda: Apply(lambda m, x: m(x, x.flip(1)), nn.Bilinear(4, 4, 2)), VECTOR),
    "normalize": (lambda: Apply(lambda x: F.normalize(x, dim=-1)), VECTOR),
    "cosine": (lambda: Apply(lambda x: F.cosine_similarity(x, torch.ones(4, dtype=x.dtype), -1)), VECTOR),
    "pairwise": (lambda: Apply(lambda x: F.pairwise_distance(x[:, :2], x[:, 2:])), VECTOR),
    "cross entropy": (
        lambda: Apply(lambda x: F.cross_entropy(x, x.new_zeros(len(x), dtype=torch.int64), reduction="none")),
        VECTOR,
    ),
    "einsum": (lambda: Apply(lambda x: torch.einsum("bij,bkj->bik", x, x.flip(1))), SEQUENCE),
    "std": (lambda: Apply(lambda x: x.std(-1) + x.var(-1, correction=0)), VECTOR),
    "pads": (
        lambda: Apply(lambda x: F.pad(x, (2, 1), mode="reflect") + F.pad(x, (1, 2), mode="circular")),
        SEQUENCE,
    ),
    "quotient": (lambda: Apply(lambda x: x / (x.flip(1).abs() + 1) + 3 / (x + 9)), VECTOR),
    "product": (lambda: Apply(lambda x: x.prod(-1) + x.cumsum(-1).norm(dim=-1)), VECTOR),
    "tri": (
        lambda: Apply(lambda x: x.tril() @ x.triu().mT + torch.diag_embed(x.diagonal(dim1=1, dim2=2))),
        (2, 3, 3),
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_modules_are_bounded_soundly(name, methods):
    torch.manual_seed(0)
    build, shape = MODELS[name]
    model, x, eps = build().double().eval(), T(*shape), 0.03
    bounded = BoundedModule(model, x, registry=CORE, bound_opts=few_steps())
    widths = {}
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        moved = 2 * torch.rand(60, *shape, generator=generator, dtype=torch.float64) - 1
        moved[::2] = moved[::2].sign()
        ys = torch.stack([model(x + eps * d) for d in moved])
    for method in dict.fromkeys(("IBP", "CROWN", *methods)):
        box = BoundedTensor(x, PerturbationLpNorm(norm=math.inf, eps=eps))
        lower, upper = (b.detach() for b in bounded.compute_bounds(x=(box,), method=method))
        assert lower.isfinite().all() and upper.isfinite().all()
        assert (lower - 1e-9 <= ys).all() and (ys <= upper + 1e-9).all()
        widths[method] = float((upper - lower).mean())
    assert widths["CROWN"] <= widths["IBP"] * (1 + 1e-9)


def test_an_unperturbed_position_of_a_causal_layer_has_exact_bounds():
    """What a mask forbids has no influence on the bounds either."""
    torch.manual_seed(0)
    model, x = Apply(_causal, nn.MultiheadAttention(4, 2, batch_first=True)).double().eval(), T(2, 3, 4)
    eps = torch.zeros_like(x)
    eps[:, 2] = 10.0
    box = BoundedTensor(x, PerturbationLpNorm(norm=math.inf, x_L=x - eps, x_U=x + eps))
    lower, upper = BoundedModule(model, x, registry=CORE).compute_bounds(x=(box,), method="IBP")
    torch.testing.assert_close(lower[:, :2], model(x)[:, :2])
    torch.testing.assert_close(upper[:, :2], model(x)[:, :2])


def test_softmax_intervals_are_exact():
    x = T(2, 5)
    box = BoundedTensor(x, PerturbationLpNorm(norm=math.inf, eps=0.7))
    lower, upper = BoundedModule(nn.Softmax(-1), x, registry=CORE).compute_bounds(x=(box,), method="IBP")
    for i in range(5):
        worst = x + 0.7
        worst[:, i] -= 1.4
        torch.testing.assert_close(lower[:, i], worst.softmax(-1)[:, i])
        torch.testing.assert_close(upper[:, i], (2 * x - worst).softmax(-1)[:, i])


def test_batch_norm_is_affine():
    module = nn.BatchNorm1d(4).double().eval()
    module.running_mean, module.running_var = T(4), T(4).abs()
    x = T(3, 4)
    box = BoundedTensor(x, PerturbationLpNorm(norm=2, eps=0.5))
    lower, upper = BoundedModule(module, x, registry=CORE).compute_bounds(x=(box,), method="CROWN")
    radius = 0.5 * (module.running_var + module.eps).rsqrt()
    torch.testing.assert_close(upper - lower, (2 * radius).expand(3, 4))


def test_dropout_in_attention_is_refused():
    model = Apply(lambda x: F.scaled_dot_product_attention(x, x, x, dropout_p=0.1))
    with pytest.raises(TrainingModeError, match="drops out"):
        BoundedModule(model, T(2, 3, 4), registry=CORE)


def test_rrelu_in_evaluation_has_the_slope_in_the_middle():
    model, x = nn.RReLU(0.1, 0.5).eval(), torch.linspace(-2, 2, 5)[None]
    lower, upper = BoundedModule(model, x).compute_bounds(
        x=BoundedTensor(x, PerturbationLpNorm(eps=0.25)), method="IBP"
    )
    torch.testing.assert_close(lower, nn.functional.leaky_relu(x - 0.25, 0.3))
    torch.testing.assert_close(upper, nn.functional.leaky_relu(x + 0.25, 0.3))
    with pytest.raises(CaptureError, match="random"):
        BoundedModule(model.train(), x)
