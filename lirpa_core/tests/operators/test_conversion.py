"""Conversions, and constants that are made from a perturbed tensor without depending on it."""

import pytest
import torch
from torch import nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.errors import DomainError, UnsupportedOperandError
from lirpa_core.linear.interval import Interval
from lirpa_core.operators import conversion
from lirpa_core.operators.conversion import CONVERT
from lirpa_core.plugins import default_registry
from lirpa_core.rules.call import Call, Operand
from lirpa_testing import method_names

pytestmark = pytest.mark.slow

aten = torch.ops.aten


def box_of(x, eps):
    return BoundedTensor(x, PerturbationLpNorm(norm=float("inf"), eps=eps))


def test_bounds_are_kept_in_the_type_of_the_inputs_or_a_wider_one():
    call = Call.of(aten._to_copy.default, Operand((3,), torch.float64), dtype=torch.bfloat16)
    rule = default_registry().rule_for(aten._to_copy.default)
    rule.check(call)
    box = rule.interval(call, (Interval(-torch.ones(2, 3).double(), torch.ones(2, 3).double()),))
    assert box.lower.dtype == box.upper.dtype == torch.float64


def test_a_wider_type_changes_the_element_type_of_everything():
    call = Call.of(aten._to_copy.default, Operand((3,), torch.float32), dtype=torch.float64)
    assert CONVERT.is_affine(call)
    box = CONVERT.interval(call, (Interval(-torch.ones(2, 3), torch.ones(2, 3)),))
    assert box.lower.dtype == box.upper.dtype == torch.float64
    term = CONVERT.relax(call, (None,)).lower.terms[0]
    assert term.apply(torch.ones(2, 3)).dtype == torch.float64
    assert term.transpose(torch.ones(4, 2, 3).double()).dtype == torch.float32


def test_a_mask_has_floating_bounds():
    call = Call.of(aten._to_copy.default, Operand((3,), torch.bool), dtype=torch.float64)
    term = CONVERT.relax(call, (None,)).lower.terms[0]
    assert term.transpose(torch.ones(4, 2, 3).double()).dtype.is_floating_point


NARROW = [torch.bfloat16, torch.float16, torch.float8_e4m3fn, torch.float8_e5m2]
NARROW += [torch.float8_e4m3fnuz, torch.float8_e5m2fnuz]


@pytest.mark.parametrize("dtype", NARROW, ids=str)
@pytest.mark.parametrize("kept", [torch.float32, torch.float64], ids=str)
def test_lines_and_intervals_of_rounding_hold_at_every_width(dtype, kept):
    generator = torch.Generator().manual_seed(0)
    scale = 10 ** (torch.rand(400, 1, generator=generator, dtype=torch.float64) * 8 - 6)
    middle = (torch.randn(400, 1, generator=generator, dtype=torch.float64) * scale).clamp(-200, 200)
    width = middle.abs() * 10 ** (-6 * torch.rand(400, 1, generator=generator, dtype=torch.float64)) + 1e-9
    box = Interval((middle - width).clamp(-200, 200).to(kept), (middle + width).clamp(-200, 200).to(kept))
    call = Call.of(aten._to_copy.default, Operand((1,), kept), dtype=dtype)
    found, lines = CONVERT.interval(call, (box,)), CONVERT.relax(call, (box,))
    slack = 8 * torch.finfo(kept).eps
    for step in torch.linspace(0, 1, 257, dtype=kept):
        x = (box.lower + step * (box.upper - box.lower)).clamp(box.lower, box.upper)
        y = x.to(dtype).to(kept)
        assert (found.lower <= y).all() and (y <= found.upper).all()
        low = lines.lower.terms[0].apply(x) + lines.lower.bias
        up = lines.upper.terms[0].apply(x) + lines.upper.bias
        room = slack * (x.abs() + y.abs())
        assert (low <= y + room).all() and (y <= up + room).all()


def test_a_box_of_one_or_two_steps_is_exact():
    one = 1 + 2**-8  # the tie between 1 and the next number of bfloat16
    call = Call.of(aten._to_copy.default, Operand((2,), torch.float32), dtype=torch.bfloat16)
    box = Interval(torch.tensor([[0.9995, one - 2**-9]]), torch.tensor([[1.0005, one + 2**-9]]))
    lines = CONVERT.relax(call, (box,))
    middle = box.midpoint[0, 0]
    for side in (lines.lower, lines.upper):  # one value: both lines meet it
        assert side.terms[0].apply(box.midpoint)[0, 0] + side.bias[0, 0] == 1 == middle.round()
    # Two steps: the lower line goes through the corner at the tie and the end, the upper one likewise.
    tie = torch.tensor([[1.0, one]])
    torch.testing.assert_close((lines.lower.terms[0].apply(tie) + lines.lower.bias)[0, 1], torch.tensor(1.0))
    torch.testing.assert_close(
        (lines.upper.terms[0].apply(tie) + lines.upper.bias)[0, 1], torch.tensor(1 + 2**-7)
    )


def test_numbers_too_large_for_the_type_are_refused():
    bounded = BoundedModule(Function(lambda x: x.half().float()), torch.zeros(1, 1))
    with pytest.raises(DomainError):
        bounded.compute_bounds(x=(box_of(torch.tensor([[65500.0]]), 50.0),))
    bounded = BoundedModule(Function(lambda x: x.to(torch.int8).float()), torch.zeros(1, 1))
    with pytest.raises(DomainError):
        bounded.compute_bounds(x=(box_of(torch.tensor([[127.0]]), 2.0),))


def test_whole_numbers_that_may_go_round_are_refused():
    x = torch.tensor([[1.2]])
    bounded = BoundedModule(
        Function(lambda x: ((x * 20).to(torch.int8) * 5).float()), x, bound_opts={"rounding": "nearest"}
    )
    assert bounded.compute_bounds(x=(box_of(x, 0.01),))[0] == 115
    with pytest.raises(DomainError):
        bounded.compute_bounds(x=(box_of(x, 0.2),))


class Function(nn.Module):
    def __init__(self, function, *layers):
        super().__init__()
        self.function, self.layers = function, nn.ModuleList(layers)

    def forward(self, x):
        return self.function(x, *self.layers)


def autocast(function):
    def run(*args):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return function(*args)

    return run


def rms(x, layer):
    z = layer(x)
    wide = z.float()
    return (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-6)).to(z.dtype) * 2


torch.manual_seed(0)
BF16, F32, F64 = torch.bfloat16, torch.float32, torch.float64
#: Name, model, where, and how far around.
CASTS = [
    ("issue", Function(lambda x: x.to(BF16).float()), torch.tensor([[1.00390625]]), 1e-4),
    ("wide box", Function(lambda x: x.to(BF16).float()), torch.tensor([[1.0, -3.0, 1e-30]]), 2.0),
    ("half", Function(lambda x: x.half().float()), torch.randn(2, 5) / 1e4, 1e-5),
    ("e4m3", Function(lambda x: x.to(torch.float8_e4m3fn).float()), torch.randn(2, 5), 0.3),
    ("e5m2", Function(lambda x: x.to(torch.float8_e5m2).float()), torch.randn(2, 5), 0.01),
    ("type_as", Function(lambda x: x.type_as(torch.zeros(1, dtype=BF16)).float()), torch.randn(2, 5), 0.01),
    ("to other", Function(lambda x: x.to(torch.zeros(1, dtype=BF16)).to(x)), torch.randn(2, 5), 0.01),
    ("type of a perturbed one", Function(lambda x: x.double().type_as(x.half()).to(x)), torch.randn(2, 5), 0.01),
    ("whole numbers", Function(lambda x: x.to(torch.int32).float()), 2 * torch.randn(2, 5), 0.7),
    ("mask", Function(lambda x: x.relu().to(torch.bool).float()), torch.randn(2, 5), 0.7),
    ("fake quantization", Function(lambda x, a: a((x * 16).to(torch.int8) / 16), nn.Linear(5, 3)), torch.randn(2, 5), 0.1),
    ("narrow result", Function(lambda x, a: a(x).to(BF16), nn.Linear(5, 3)), torch.randn(2, 5), 0.02),
    ("float64 to bfloat16", Function(lambda x, a: a(x).to(BF16).double(), nn.Linear(6, 5).double()), torch.randn(2, 6).double(), 0.02),
    ("float32 in float64", Function(rms, nn.Linear(6, 5).double()), torch.randn(2, 6).double(), 0.02),
    ("float32 layer in float64", Function(lambda x, a: a(x.float()).tanh().double(), nn.Linear(6, 5)), torch.randn(2, 6).double(), 0.02),
    ("there and back", Function(lambda x, a, b: b(a(x).double()).float(), nn.Linear(6, 5), nn.Linear(5, 2).double()), torch.randn(2, 6), 0.02),
    ("product", Function(lambda x: (x.to(BF16) @ x.to(BF16).transpose(-1, -2)).float()), torch.randn(2, 3, 4), 0.05),
    ("whole arithmetic", Function(lambda x: ((x * 9).long() * 5 + (x > 0).long()).float()), torch.randn(2, 5), 0.1),
    ("attention", Function(autocast(lambda x, q, k, v: (torch.softmax(q(x) @ k(x).mT, -1) @ v(x)).float()), nn.Linear(5, 4), nn.Linear(5, 4), nn.Linear(5, 3)), torch.randn(2, 3, 5), 0.01),
    ("gated", Function(autocast(lambda x, a, b: (nn.functional.gelu(a(x)) * torch.sigmoid(b(x))).float()), nn.Linear(5, 4), nn.Linear(5, 4)), torch.randn(2, 5), 0.01),
    ("quantized", Function(lambda x, a: a(torch.fake_quantize_per_tensor_affine(x, 0.1, 3, 0, 15)), nn.Linear(5, 4)), torch.randn(2, 5), 0.03),
    ("division", Function(lambda x: (x.to(BF16) / 0.7).float()), torch.randn(9, 5), 0.001),
    ("half product", Function(lambda x, a: torch.nn.functional.linear(x.half(), a.weight.half()).float(), nn.Linear(4, 7)), torch.randn(2, 4), 0.05),
    ("autocast convolution", Function(lambda x, c, h: h(torch.relu(autocast(c)(x).float()).flatten(1)), nn.Conv2d(1, 4, 3), nn.Linear(144, 3)), torch.randn(2, 1, 8, 8), 0.02),
    ("autocast perceptron", Function(autocast(lambda x, a, b: b(torch.relu(a(x)))), nn.Linear(6, 20), nn.Linear(20, 3)), torch.randn(2, 6), 0.02),
    ("autocast tanh", Function(autocast(lambda x, a, b: b(torch.tanh(a(x)) + 0.1).float()), nn.Linear(6, 20), nn.Linear(20, 3)), torch.randn(2, 6), 0.02),
]  # fmt: skip


@pytest.mark.parametrize(("model", "x", "eps"), [case[1:] for case in CASTS], ids=[case[0] for case in CASTS])
def test_models_with_casts_stay_inside_of_their_bounds(model, x, eps, methods):
    bounded = BoundedModule(model.eval(), x)
    with torch.no_grad():
        moved = 2 * torch.rand(200, *x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(1)) - 1
        moved[::3] = moved[::3].sign()
        values = torch.stack([model(x + eps * by) for by in moved]).to(F64)
    for method in methods:
        lower, upper = bounded.compute_bounds(x=(box_of(x, eps),), method=method)
        assert lower.dtype in (F32, F64)
        # Real arithmetic is what is bounded: float32 layers of the model round on their own.
        room = 1e-5 * values.abs().max() if x.dtype is F32 else 1e-12
        assert (lower - room <= values).all() and (values <= upper + room).all(), method


def test_an_operator_whose_kernels_are_unknown_is_refused_with_its_type():
    bounded = BoundedModule(Function(lambda x: x.to(BF16).cosh().float()), torch.zeros(1, 3))
    with pytest.raises(UnsupportedOperandError, match=r"cosh.*torch.bfloat16.*float32"):
        bounded.compute_bounds(x=(box_of(torch.zeros(1, 3), 0.1),))


def test_a_norm_in_an_autocast_region_is_refused_by_name():
    layers = nn.Linear(6, 20), nn.LayerNorm(20)
    bounded = BoundedModule(Function(autocast(lambda x, a, n: n(a(x))), *layers), torch.zeros(1, 6))
    with pytest.raises(UnsupportedOperandError, match=r"layer_norm.*torch.bfloat16.*enabled=False"):
        bounded.compute_bounds(x=(box_of(torch.zeros(1, 6), 0.1),))


def test_narrow_weights_are_followed_when_they_change():
    layer = nn.Linear(3, 2).to(BF16)
    bounded = BoundedModule(Function(lambda x, a: a(x.to(BF16)).float(), layer), torch.ones(1, 3))
    before = bounded.compute_bounds(x=(box_of(torch.ones(1, 3), 0.01),))[0]
    with torch.no_grad():
        layer.bias += 5
    after = bounded.compute_bounds(x=(box_of(torch.ones(1, 3), 0.01),))[0]
    assert (after > before + 4).all()


def test_gradients_pass_a_conversion_as_they_pass_pytorchs_own():
    layer = nn.Linear(3, 2)
    bounded = BoundedModule(Function(lambda x, a: a(x).to(BF16).float(), layer), torch.ones(1, 3))
    lower, _ = bounded.compute_bounds(x=(box_of(torch.ones(1, 3), 0.5),), method="IBP")
    lower.sum().backward()
    assert layer.bias.grad is not None
    torch.testing.assert_close(layer.bias.grad, torch.ones(2))


class Mixed(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 2).double()

    def forward(self, x):
        wide = self.second(torch.relu(self.first(x)).double())
        return torch.relu(wide * (wide > 0)).float() if self.training else torch.relu(wide)


@pytest.mark.parametrize("method", method_names())
def test_a_model_in_two_element_types(method):
    torch.manual_seed(0)
    model, x = Mixed().eval(), torch.randn(2, 3)
    bounded = BoundedModule(model, x)
    box = BoundedTensor(x, PerturbationLpNorm(norm=float("inf"), eps=0.3))
    lower, upper = bounded.compute_bounds(x=(box,), method=method)
    assert lower.dtype == torch.float64
    for _ in range(50):
        y = model(x + 0.3 * (2 * torch.rand_like(x) - 1))
        assert (lower - 1e-5 <= y).all() and (y <= upper + 1e-5).all()


LIKE = {
    "zeros_like": (conversion._number_like(0), aten.zeros_like.default, (), {}),
    "ones_like": (conversion._number_like(1), aten.ones_like.default, (), {"dtype": torch.float32}),
    "full_like": (conversion.full_like, aten.full_like.default, (2.5,), {}),
    "new_zeros": (conversion._new_number(0), aten.new_zeros.default, ([3, 2],), {}),
    "new_ones": (conversion._new_number(1), aten.new_ones.default, ([3],), {"dtype": torch.int64}),
    "new_full": (conversion.new_full, aten.new_full.default, ([3], 7), {}),
}


@pytest.mark.parametrize("name", LIKE)
def test_constants_from_a_tensor(name):
    mine, theirs, args, kwargs = LIKE[name]
    x = torch.randn(2, 3, dtype=torch.float64)
    got, want = mine(x, *args, **kwargs), theirs(x, *args, **kwargs)
    assert torch.equal(got, want) and got.dtype == want.dtype


class Constants(nn.Module):
    def forward(self, x):
        ones = torch.ones_like(x) * torch.full_like(x, 2.0) + x.new_zeros(x.shape)
        index = torch.zeros_like(x, dtype=torch.int64)
        return x.gather(1, index) * ones + torch.where(torch.ones_like(x) > 0, x, -x)


def test_they_are_not_perturbed():
    x = torch.randn(2, 3)
    bounded = BoundedModule(Constants(), x, bound_opts={"rounding": "nearest"})
    box = BoundedTensor(x, PerturbationLpNorm(norm=float("inf"), eps=0.5))
    lower, upper = bounded.compute_bounds(x=(box,), method="IBP")
    exact = 2 * x[:, :1] + x
    torch.testing.assert_close(lower, exact - 1.5)
    torch.testing.assert_close(upper, exact + 1.5)


@pytest.mark.parametrize("zero_point", [0, 3])
@pytest.mark.parametrize("scale", [0.1, 1 / 3, 0.07])
def test_fake_quantisation_of_float64_is_that_of_pytorch(scale, zero_point):
    """Whose scale, inverse scale and multiples are float32; points where levels meet are among those tried."""
    x = torch.cat([(torch.arange(-9, 9) + 0.5) * scale, torch.linspace(-1, 1, 41)]).double()[None]
    channels = torch.full((1,), scale), torch.full((1,), zero_point, dtype=torch.int32)
    per_tensor = torch.fake_quantize_per_tensor_affine(x, scale, zero_point, -8, 7)
    per_channel = torch.fake_quantize_per_channel_affine(x, *channels, 0, -8, 7)
    assert torch.equal(conversion.fake_quantize(x, scale, zero_point, -8, 7), per_tensor)
    assert torch.equal(conversion.fake_quantize_per_channel(x, *channels, 0, -8, 7), per_channel)


def test_a_model_with_fake_quantisation_in_float64_has_bounds():
    x = torch.tensor([[0.12, 0.58, -0.33]]).double()

    def model(x):
        return torch.fake_quantize_per_tensor_affine(x, 0.1, 3, -8, 7)

    lower, upper = BoundedModule(model, x).compute_bounds(x=(BoundedTensor(x, PerturbationLpNorm(eps=0.05)),))
    assert bool((lower <= model(x - 0.05)).all() and (model(x + 0.05) <= upper).all())
    torch.testing.assert_close(upper - lower, torch.tensor([[0.1, 0.0, 0.1]]).double(), atol=1e-6, rtol=0)
