"""Complex numbers inside of a model: the graph has real tensors alone, and is the model; linear transforms are exact."""

import pytest
import torch

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.capture.complex_numbers.arithmetic import power
from lirpa_core.capture.complex_numbers.pair import Pair
from lirpa_core.capture.complex_numbers.transforms import complex_to_complex, complex_to_real, real_to_complex
from lirpa_core.errors import CaptureError, UnsupportedOperatorError

X = torch.randn(2, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
BALL = BoundedTensor(X, PerturbationLpNorm(eps=0.1))


def bounded(function, x=X):
    """A model whose capture was compared with it on two batches."""
    return BoundedModule(function, x)


def as_complex(x):
    return torch.complex(x[:, :3], x[:, 3:] + 2)


@pytest.mark.parametrize("normalization", [0, 1, 2])
@pytest.mark.parametrize("n", [4, 5])
def test_transforms_are_those_of_pytorch(n, normalization):
    x = torch.randn(3, n, dtype=torch.float64, generator=torch.Generator().manual_seed(n))
    z = torch.fft.fft(x, dim=0)
    whole = complex_to_complex(Pair(z.real, z.imag), [0, 1], normalization, True)
    wanted = torch.ops.aten._fft_c2c(z, [0, 1], normalization, True)
    torch.testing.assert_close(torch.complex(whole.real, whole.imag), wanted)
    half = real_to_complex(x, [0, 1], normalization, True)
    wanted = torch.ops.aten._fft_r2c(x, [0, 1], normalization, True)
    torch.testing.assert_close(torch.complex(half.real, half.imag), wanted)
    torch.testing.assert_close(
        complex_to_real(half, [0, 1], normalization, n),
        torch.ops.aten._fft_c2r(wanted, [0, 1], normalization, n),
    )


def test_a_whole_power_is_a_product():
    z = torch.complex(X, X.flip(0))
    found = power(Pair(z.real, z.imag), 5)
    torch.testing.assert_close(torch.complex(found.real, found.imag), z**5)
    assert power(Pair(z.real, z.imag), 0.5) is NotImplemented


@pytest.mark.parametrize(
    "function",
    [
        lambda x: torch.view_as_real(torch.fft.rfft(x)),
        lambda x: torch.fft.irfft(torch.fft.rfft(x) * torch.tensor([1, 1j, 2, -1j]), n=6),
        lambda x: torch.fft.fftshift(torch.fft.ifft(x), dim=-1).imag,
    ],
    ids=["rfft", "filter", "ifft"],
)
def test_linear_transforms_are_exact(function):
    """The width is the sum of absolute derivatives times that of the box."""
    lower, upper = bounded(function).compute_bounds(x=(BALL,), method="CROWN")
    for i in range(2):
        J = torch.func.jacrev(function)(X[i : i + 1]).flatten(-2).abs().sum(-1)
        torch.testing.assert_close((upper - lower)[i : i + 1], 0.2 * J.reshape(upper[i : i + 1].shape))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: as_complex(x).abs(),
        lambda x: (as_complex(x) / as_complex(x.flip(1))).real,
        lambda x: as_complex(x).angle() + torch.polar(x[:, :3].exp(), x[:, 3:]).imag,
        lambda x: torch.view_as_real(
            as_complex(x) @ torch.tensor([[1 + 1j], [2], [3j]], dtype=torch.complex128)
        ),
        lambda x: torch.exp(1j * x).real + (as_complex(x).conj() ** 2).sum(-1, keepdim=True).imag,
    ],
    ids=["abs", "quotient", "polar", "matrix", "exp"],
)
@pytest.mark.parametrize("method", ["IBP", "CROWN", "forward"])
def test_bounds_hold(function, method):
    lower, upper = bounded(function).compute_bounds(x=(BALL,), method=method)
    noise = 2 * torch.rand(200, *X.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) - 1
    values = torch.stack([function(X + 0.1 * n) for n in torch.cat([noise, noise.sign()])])
    assert (lower <= values + 1e-12).all() and (values <= upper + 1e-12).all()


class Modes(torch.nn.Module):
    """Some modes of a Fourier layer, with complex weights, written into a spectrum of zeros."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.complex(torch.ones(2), torch.ones(2)).to(torch.complex128))

    def forward(self, x):
        spectrum = torch.zeros(x.shape[0], 4, dtype=torch.complex128)
        spectrum[:, :2] = torch.fft.rfft(x)[:, :2] * self.weight
        return torch.fft.irfft(spectrum, n=6)


def test_a_complex_weight_is_read_at_every_call():
    model = Modes()
    found = bounded(model)
    before = found.compute_bounds(x=(BALL,), method="CROWN").upper
    with torch.no_grad():
        model.weight.mul_(2)
    after = found.compute_bounds(x=(BALL,), method="CROWN").upper
    torch.testing.assert_close(after, 2 * before)


def test_a_complex_output_is_refused():
    with pytest.raises(CaptureError, match="view_as_real"):
        bounded(torch.fft.fft)


def test_an_unknown_operator_is_named():
    with pytest.raises(UnsupportedOperatorError, match=r"aten\.tanh.* on complex numbers"):
        bounded(lambda x: torch.tanh(as_complex(x)).real)


def test_a_complex_constant_as_output_is_refused():
    with pytest.raises(CaptureError, match="view_as_real"):
        bounded(lambda x: torch.ones(2, dtype=torch.complex64))


def conjugated_constant(x):
    return (x.to(torch.complex64) * torch.full((6,), 1 + 2j).conj()).imag


def rounded_constant(x):
    """Its exponential is in complex64: what the same exponential is in float64 differs by 10⁻⁷."""
    return (torch.fft.fft(x) * torch.exp(-1j * torch.arange(6) / 7)).real


def constants_in_a_list(x):
    first, second = torch.polar(torch.ones(2), torch.arange(2.0)).unbind()
    return (torch.complex(x, x) * first * second).imag


def sine_of_a_constant(x):
    """No rule for sines of complex numbers is needed for it."""
    return (torch.complex(x, 2 * x) * torch.sin(torch.tensor([1 + 1j]))).real


@pytest.mark.parametrize(
    "model", [conjugated_constant, rounded_constant, constants_in_a_list, sine_of_a_constant]
)
def test_complex_constants_are_what_pytorch_makes_of_them(model):
    x = torch.tensor([[0.3, -0.5, 0.7, 0.1, 0.2, -1.0]]).double()
    ball = BoundedTensor(x, PerturbationLpNorm(eps=1e-9))
    lower, upper = BoundedModule(model, x).compute_bounds(x=(ball,), method="CROWN")
    tolerance = 1e-6 if model(x).dtype == torch.float32 else 2e-8
    torch.testing.assert_close((lower + upper) / 2, model(x).double(), atol=tolerance, rtol=0)


def test_a_conversion_to_a_complex_type_that_is_settled_is_no_operator():
    def model(x):
        return (torch.fft.fft(x).to(torch.complex64) * 2).real

    x = torch.tensor([[0.3, -0.5, 0.7, 0.1]]).double()
    lower, upper = BoundedModule(model, x).compute_bounds(x=(BoundedTensor(x, PerturbationLpNorm(eps=0.1)),))
    exact = torch.tensor([[1.6, 0.8, 1.6, 0.8]]).double()  # 0.4 times the sums of |cos|
    torch.testing.assert_close(upper - lower, exact, atol=1e-5, rtol=0)
    assert bool((upper - lower > exact).all())  # the conversion rounds


@pytest.mark.parametrize("n", [12, 16])
@pytest.mark.parametrize("method", ["IBP", "CROWN"])
def test_transforms_of_a_point_hold_what_they_are(n, method):
    """In float64 nearly so: the imaginary part at half the frequency is zero, and not what is left of a rounded π."""

    def spectrum(x):
        return torch.view_as_real(torch.fft.rfft(x)).flatten(1)

    x = torch.randn(20, n, generator=torch.Generator().manual_seed(0))
    ball = BoundedTensor(x, PerturbationLpNorm(eps=0.0))
    lower, upper = BoundedModule(spectrum, x).compute_bounds(x=(ball,), method=method)
    exact = spectrum(x.double())
    assert bool((exact[:, -1] == 0).all())
    assert bool((lower.double() <= exact).all()) and bool((exact <= upper.double()).all())
