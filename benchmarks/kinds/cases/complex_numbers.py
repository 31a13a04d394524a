"""Complex numbers and Fourier transforms."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.kinds.case import Case, op


def rope(x: Tensor) -> Tensor:
    """Rotary embeddings by complex numbers, as LLaMA's first program has them."""
    angles = torch.outer(torch.arange(2.0, dtype=x.dtype), torch.tensor([1.0, 0.1], dtype=x.dtype))
    turned = torch.view_as_complex(x.reshape(-1, 2, 2, 2)) * torch.polar(torch.ones_like(angles), angles)
    return torch.view_as_real(turned).flatten(1)


def spectral(x: Tensor) -> Tensor:
    """A layer of a Fourier neural operator (Li et al. 2021)."""
    weight = torch.complex(torch.linspace(0, 1, 3, dtype=x.dtype), torch.linspace(1, 0, 3, dtype=x.dtype))
    return torch.fft.irfft(torch.fft.rfft(x) * weight, n=4)


CASES: tuple[Case, ...] = (
    op("fft, real and imaginary", lambda x: torch.view_as_real(torch.fft.fft(x))),
    op("rfft", lambda x: torch.view_as_real(torch.fft.rfft(x))),
    op("irfft of rfft", lambda x: torch.fft.irfft(torch.fft.rfft(x), n=4)),
    op("fft2 and its inverse", lambda x: torch.fft.ifft2(torch.fft.fft2(x)).real, shape=(2, 2)),
    op("rfft2", lambda x: torch.view_as_real(torch.fft.rfft2(x)), shape=(2, 4)),
    op("fftshift", lambda x: torch.fft.fftshift(torch.fft.fft(x), dim=-1).real),
    op("power spectrum", lambda x: torch.fft.rfft(x).abs() ** 2),
    op("amplitude", lambda x: torch.fft.rfft(x).abs()),
    op("phase", lambda x: torch.angle(torch.complex(x[:, :2] + 2, x[:, 2:]))),
    op("complex product", lambda x: torch.view_as_real(torch.complex(x[:, :2], x[:, 2:]) ** 2)),
    op("complex exponential", lambda x: torch.exp(1j * x).real),
    op("polar", lambda x: torch.view_as_real(torch.polar(x[:, :2] + 2, x[:, 2:]))),
    op("conj, real, imag", lambda x: (torch.complex(x[:, :2], x[:, 2:]).conj() * (1 + 2j)).imag),
    op("complex linear layer", lambda x: torch.view_as_real(torch.complex(x[:, :2], x[:, 2:]) @ torch.complex(torch.eye(2, dtype=x.dtype), torch.ones(2, 2, dtype=x.dtype)))),
    op("complex RoPE", rope, shape=(8,)),
    op("FNO layer", spectral),
    op("stft by unfold and rfft", lambda x: torch.fft.rfft(x.unfold(-1, 4, 2)).abs(), shape=(8,)),
    op("torch.stft", lambda x: torch.stft(x, 4, 2, window=torch.ones(4, dtype=x.dtype), return_complex=True, center=False).abs(), shape=(8,)),
    op("complex division", lambda x: torch.view_as_real(torch.complex(x[:, :2], x[:, 2:]) / torch.complex(x[:, 2:] + 3, x[:, :2]))),
)  # fmt: skip
