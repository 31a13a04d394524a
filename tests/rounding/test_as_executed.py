"""`covers="float"`: outputs of the model as it is executed lie inside, on any number of threads and in any order of sums."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.errors import OptionError, UnsupportedOperandError
from lirpa_core.plugins import OperatorRegistry, default_registry, hookimpl
from lirpa_core.rules import smooth
from lirpa_testing import method_names

METHODS = sorted(method_names())


class Dense(nn.Module):
    """A deep network whose hidden units may be permuted."""

    shape = (40,)

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(40, 64), nn.Linear(64, 64), nn.Linear(64, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.first(x) + 20) - 20
        out: Tensor = self.last(torch.tanh(self.second(x))) / 3
        return out

    def permuted(self, generator: torch.Generator) -> nn.Module:
        """The same function with the hidden units in another order."""
        other = copy.deepcopy(self)
        order = torch.randperm(64, generator=generator)
        with torch.no_grad():
            other.first.weight.copy_(self.first.weight[order])
            other.first.bias.copy_(self.first.bias[order])
            other.second.weight.copy_(self.second.weight[:, order])
        return other


class Convolutional(nn.Module):
    """Convolutions, batch norm, group norm, pooling."""

    shape = (2, 8, 8)

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(2, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.second, self.group = nn.Conv2d(8, 6, 3, stride=2), nn.GroupNorm(2, 6)
        self.last = nn.Linear(6, 3)
        self.norm.running_mean.normal_(0, 3)
        self.norm.running_var.uniform_(0.5, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = F.silu(self.norm(self.conv(x)))
        x = F.avg_pool2d(F.leaky_relu(self.group(self.second(x)), 0.1), 3)
        out: Tensor = self.last(x.flatten(1))
        return out

    def permuted(self, generator: torch.Generator) -> nn.Module:
        """The same function with the channels in another order, and the channels last in memory."""
        other = copy.deepcopy(self)
        order = torch.randperm(8, generator=generator)
        with torch.no_grad():
            for new, old in zip(
                (*other.conv.parameters(), *other.norm.parameters(), *other.norm.buffers()),
                (*self.conv.parameters(), *self.norm.parameters(), *self.norm.buffers()),
                strict=True,
            ):
                if old.dim():
                    new.copy_(old[order])
            other.second.weight.copy_(self.second.weight[:, order])
        return other.to(memory_format=torch.channels_last)


class Attentive(nn.Module):
    """Attention, layer norm, softmax, and a logarithm of it."""

    shape = (4, 16)

    def __init__(self) -> None:
        super().__init__()
        self.attention, self.norm = nn.MultiheadAttention(16, 2, batch_first=True), nn.LayerNorm(16)
        self.mlp, self.last = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16)), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(x, x, x, need_weights=False)[0]
        x = self.norm(x + 3)
        x = x + self.mlp(x)
        heads = x.unflatten(-1, (2, 8)).transpose(1, 2)
        mixed = F.scaled_dot_product_attention(heads, heads, heads).transpose(1, 2).flatten(-2)
        x = F.rms_norm(mixed, (16,))
        out: Tensor = torch.log_softmax(self.last(x.mean(1)), -1) + torch.softmax(self.last(x[:, 0]), -1)
        return out

    def permuted(self, generator: torch.Generator) -> nn.Module:
        """The same function with the features of the inner layer in another order."""
        other = copy.deepcopy(self)
        order = torch.randperm(32, generator=generator)
        with torch.no_grad():
            for new, old in zip(other.mlp[0].parameters(), self.mlp[0].parameters(), strict=True):
                new.copy_(old[order])
            other.mlp[2].weight.copy_(self.mlp[2].weight[:, order])
        return other


class Remembering(nn.Module):
    """An LSTM in both directions, a GRU, a plain recurrent layer, instance norm, a variance."""

    shape = (3, 4)

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(4, 4, batch_first=True, bidirectional=True)
        self.gru, self.plain = nn.GRU(8, 4, batch_first=True), nn.RNN(4, 4, batch_first=True)
        self.norm, self.last = nn.InstanceNorm1d(3, affine=True), nn.Linear(6, 3)
        with torch.no_grad():
            for p in (*self.lstm.parameters(), *self.gru.parameters()):
                p.mul_(4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.plain(self.gru(self.lstm(x)[0])[0])[0] + 2 * x
        x = self.norm(x + 2)
        features = torch.cat(
            [x.mean(1), x.flatten(1).var(-1, keepdim=True), x.flatten(1).std(-1, keepdim=True)], -1
        )
        out: Tensor = self.last(features)
        return out

    def permuted(self, generator: torch.Generator) -> nn.Module:
        """The same function with the first layer's units in another order, and step by step as cells."""
        other = copy.deepcopy(self)
        order = torch.randperm(4, generator=generator)
        with torch.no_grad():
            for name, p in other.lstm.named_parameters():
                rows = p.reshape(4, 4, -1)[:, order].reshape(p.shape)
                p.copy_(rows[:, order] if name.startswith("weight_hh") else rows)
            both = torch.cat([order, 4 + order])
            other.gru.weight_ih_l0.copy_(self.gru.weight_ih_l0[:, both])
        return other


MODELS = {"remembering": Remembering, "dense": Dense, "convolutional": Convolutional, "attentive": Attentive}


def _executions(model: nn.Module, x: Tensor) -> Iterator[Tensor]:
    """Outputs for examples, computed in several ways."""
    generator = torch.Generator().manual_seed(3)
    threads = torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            for variant in (model, *[model.permuted(generator) for _ in range(3)]):
                yield variant(x)
                yield torch.cat([variant(part) for part in x.split(1)])
                yield torch.cat([variant(part) for part in x.split(7)])
    finally:
        torch.set_num_threads(threads)


#: What optimises the slopes of gates takes most of the time of all.
_GIVEN = method_names(optimized=False)
#: Each model takes a third of the others, the next model the next third.
_IN_TURN = {name: _GIVEN[i % 3 :: 3] for i, name in enumerate(name for name in MODELS if name != "dense")}
_THOROUGH = [
    (name, torch.float32, [m for m in METHODS if m not in taken]) for name, taken in _IN_TURN.items()
]
_THOROUGH += [(name, torch.float64, METHODS) for name in MODELS if name != "dense"]


@pytest.mark.parametrize(
    ("name", "dtype", "methods"),
    [
        *[(name, torch.float32, taken) for name, taken in _IN_TURN.items()],
        *[("dense", dtype, METHODS) for dtype in (torch.float32, torch.float64)],
        *[pytest.param(*case, marks=pytest.mark.thorough) for case in _THOROUGH],
    ],
)
def test_all_executions_lie_inside(name: str, dtype: torch.dtype, methods: Sequence[str]) -> None:
    torch.manual_seed(0)
    model = MODELS[name]().to(dtype).eval().requires_grad_(False)
    options = {"covers": "float", "optimize_bound_args": {"iteration": 2}}
    bounded = BoundedModule(model, torch.zeros(1, *model.shape, dtype=dtype), options)
    for eps, method in [(2.0**-20, m) for m in methods] + [(2.0**-6, "CROWN-IBP")]:
        x = torch.randn(3, *model.shape, dtype=dtype)
        lower, upper = bounded.compute_bounds(x=BoundedTensor(x, PerturbationLpNorm(eps=eps)), method=method)
        assert bool((upper - lower < 0.5).all()) or eps > 1e-3
        z = x + eps * (2 * torch.randint(0, 2, (10, *x.shape)).to(dtype) - 1)
        z = torch.cat([z, x + eps * (2 * torch.rand(10, *x.shape, dtype=dtype) - 1)])
        z = z.maximum(x - eps).minimum(x + eps)
        for found in _executions(model, z.flatten(0, 1)):
            y = found.reshape(20, 3, -1)
            assert bool((y >= lower).all()) and bool((y <= upper).all()), method


@pytest.mark.parametrize("name", MODELS)
def test_bounds_in_real_arithmetic_do_not_hold_them(name: str) -> None:
    """In float64 they are so tight about a point that float32's rounding is outside: the tests above can fail."""
    torch.manual_seed(0)
    model = MODELS[name]().eval().requires_grad_(False)
    x = torch.randn(3, *model.shape)
    wide = copy.deepcopy(model).double()
    ball = BoundedTensor(x.double(), PerturbationLpNorm(eps=0.0))
    lower, upper = BoundedModule(wide, x.double()).compute_bounds(x=ball, method="CROWN")
    assert any([bool(((y < lower) | (y > upper)).any()) for y in _executions(model, x)])


class _Cancelling(nn.Module):
    def __init__(self, order: tuple[int, ...] = (0, 1, 2)) -> None:
        super().__init__()
        biases = torch.tensor([2.0**25, -(2.0**25), -0.3])
        self.register_buffer("biases", biases[list(order)])

    def forward(self, x: Tensor) -> Tensor:
        numbers = x + self.biases
        return numbers[:, :1] + numbers[:, 1:2] + numbers[:, 2:]


@pytest.mark.parametrize("method", METHODS)
def test_large_biases_that_cancel(method: str) -> None:
    """The sum is −0.3 in one order and 0 in another one."""
    x = torch.zeros(1, 3)
    outputs = [float(_Cancelling(order)(x)) for order in ((0, 1, 2), (2, 1, 0), (0, 2, 1))]
    assert len(set(outputs)) > 1
    ball = BoundedTensor(x, PerturbationLpNorm(eps=2.0**-10))

    class Summed(_Cancelling):
        def forward(self, x: Tensor) -> Tensor:
            return (x + self.biases).sum(-1, keepdim=True)

    lower, upper = BoundedModule(Summed(), x, {"covers": "float"}).compute_bounds(x=ball, method=method)
    for y in outputs:
        assert float(lower) <= y <= float(upper)
    wide = BoundedTensor(x.double(), PerturbationLpNorm(eps=2.0**-10))
    low, up = BoundedModule(Summed().double(), x.double()).compute_bounds(x=wide, method=method)
    assert any([not float(low) <= y <= float(up) for y in outputs])  # a theorem about another function


class _Product(nn.Module):
    """Which of the factors meet first says whether the product overflows."""

    def forward(self, x: Tensor) -> Tensor:
        return x.prod(-1)


class _Remainder(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.remainder(x, 0.1)


class _Sampled(nn.Module):
    """A place that is rounded may be in another pixel."""

    def forward(self, x: Tensor) -> Tensor:
        places = torch.full((1, 2, 2, 2), 0.3)
        return F.grid_sample(
            x.reshape(-1, 1, 1, 3), places.expand(len(x), -1, -1, -1), mode="nearest", align_corners=False
        ).flatten(1)


class _Statistics(nn.Module):
    """Reads the mean that a layer norm's kernel has computed."""

    def forward(self, x: Tensor) -> Tensor:
        out, mean, _ = torch.native_layer_norm(x, [3], None, None, 1e-5)
        return out + mean


def _weight_norm() -> nn.Module:
    return nn.utils.parametrizations.weight_norm(nn.Linear(3, 2))


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (_Product, "'prod', of which it is a part"),
        (_Remainder, "'remainder'"),
        (_weight_norm, "computed from constants"),
        (_Statistics, "a part of what"),
        (_Sampled, "grid_sampler"),
    ],
)
def test_what_is_not_known_is_refused(made: type[nn.Module], said: str) -> None:
    model = made().eval().requires_grad_(False)
    x = torch.ones(1, 3)
    ball = BoundedTensor(x, PerturbationLpNorm(eps=0.1))
    BoundedModule(model, x).compute_bounds(x=ball, method="CROWN-IBP")
    with pytest.raises(UnsupportedOperandError, match=said):
        BoundedModule(model, x, {"covers": "float"}).compute_bounds(x=ball, method="CROWN-IBP")


@torch.library.custom_op("rounding_tests::sigmoid", mutates_args=())
def other_sigmoid(x: Tensor) -> Tensor:
    """A sigmoid that a plugin computes, badly."""
    return torch.sigmoid(x.to(torch.bfloat16)).to(x.dtype)


@other_sigmoid.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


class _Sigmoid(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return other_sigmoid(2 * x)


def _plugin(*, stated: bool) -> object:
    class plugin:  # noqa: N801
        LIRPA_API_VERSION = 1

        @staticmethod
        @hookimpl
        def lirpa_register_operators(registry: OperatorRegistry) -> None:
            registry.register(other_sigmoid, smooth(torch.sigmoid, inflections=[0.0]))
            if stated:
                registry.allowance(
                    other_sigmoid, lambda call, inputs, found, u: (0 * found.lower + 2.0**-7,) * 2
                )

    return plugin


@pytest.mark.parametrize("method", METHODS)
def test_a_plugin_states_what_its_operator_rounds(method: str) -> None:
    """And is not taken for PyTorch's operator of the same name."""
    x = torch.linspace(-2, 2, 8).reshape(1, -1)
    ball = BoundedTensor(x, PerturbationLpNorm(eps=1e-4))
    silent = default_registry().extended(_plugin(stated=False))
    with pytest.raises(UnsupportedOperandError, match="rounding_tests::sigmoid"):
        BoundedModule(_Sigmoid(), x, {"covers": "float"}, registry=silent).compute_bounds(
            x=ball, method=method
        )
    known = default_registry().extended(_plugin(stated=True))
    bounded = BoundedModule(_Sigmoid(), x, {"covers": "float"}, registry=known)
    lower, upper = bounded.compute_bounds(x=ball, method=method)
    y = _Sigmoid()(x)
    assert bool(((lower <= y) & (y <= upper)).all())
    real = BoundedModule(_Sigmoid(), x, {"tripwire": False}, registry=known).compute_bounds(
        x=ball, method=method
    )
    assert not bool(((real.lower <= y) & (y <= real.upper)).all())


def test_less_than_the_type_says_is_refused() -> None:
    x = torch.ones(1, 3)
    ball = BoundedTensor(x, PerturbationLpNorm(eps=0.1))
    bounded = BoundedModule(nn.Linear(3, 2), x, {"covers": "float"})
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        with pytest.raises(UnsupportedOperandError, match="highest"):
            bounded.compute_bounds(x=ball)
    finally:
        torch.set_float32_matmul_precision(before)
    bounded.compute_bounds(x=ball)


def test_training_mode_and_rounding_to_nearest_are_refused() -> None:
    x = torch.rand(4, 3)
    ball = BoundedTensor(x, PerturbationLpNorm(eps=0.1))
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    with pytest.raises(OptionError, match=r"model\.eval"):
        BoundedModule(model, x, {"covers": "float"}).compute_bounds(x=ball)
    with pytest.raises(OptionError, match="covers"):
        BoundedModule(model, x, {"covers": "float", "rounding": "nearest"})


def test_a_model_is_captured_for_each() -> None:
    """The two kinds of bounds are about different graphs, and do not mix."""
    model, x = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3)).eval().requires_grad_(False), torch.rand(1, 3)
    ball = BoundedTensor(x, PerturbationLpNorm(eps=0.1))
    bounded = BoundedModule(model, x)
    real = bounded.compute_bounds(x=ball, method="CROWN-IBP")
    bounded.set_bound_opts({"covers": "float"})
    executed = bounded.compute_bounds(x=ball, method="CROWN-IBP")
    bounded.set_bound_opts({"covers": "real"})
    again = bounded.compute_bounds(x=ball, method="CROWN-IBP")
    assert bool((executed.lower < real.lower).all()) and bool((executed.upper > real.upper).all())
    assert torch.equal(again.lower, real.lower)
