"""Matrices, complex numbers, images, quantisation, and PyTorch's transforms."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.kinds.case import Case, op


def near_identity(x: Tensor) -> Tensor:
    """Matrices `[B, 2, 2]` near three times the identity."""
    return x.reshape(-1, 2, 2) + 3 * torch.eye(2, dtype=x.dtype)


def matrices(name: str, function: Callable[[Tensor], Tensor], refused: str = "") -> Case:
    """A case of matrices `[B, 2, 2]` near three times the identity."""
    return op(name, lambda x: function(near_identity(x)), -0.3, 0.3, refused=refused)


def symmetric(A: Tensor) -> Tensor:
    return A + A.mT


MATRICES: tuple[Case, ...] = (
    matrices("det", lambda A: torch.linalg.det(A).unsqueeze(-1)),
    matrices("logdet", lambda A: torch.logdet(A).unsqueeze(-1)),
    matrices("slogdet", lambda A: torch.linalg.slogdet(A).logabsdet.unsqueeze(-1)),
    matrices("inv", torch.linalg.inv),
    matrices("inv of 3 × 3", lambda A: torch.linalg.inv(F.pad(A, (0, 1, 0, 1)) + torch.eye(3, dtype=A.dtype))),
    matrices("solve", lambda A: torch.linalg.solve(A, A[..., :1] + 1)),
    matrices("solve with a constant side", lambda A: torch.linalg.solve(A, torch.ones(2, 1, dtype=A.dtype).expand(A.shape[0], 2, 1))),
    matrices("inverse by adjugate", lambda A: torch.stack([A[:, 1, 1], -A[:, 0, 1], -A[:, 1, 0], A[:, 0, 0]], -1) / (A[:, 0, 0] * A[:, 1, 1] - A[:, 0, 1] * A[:, 1, 0]).unsqueeze(-1)),
    matrices("cholesky", lambda A: torch.linalg.cholesky(symmetric(A))),
    matrices("eigvalsh", lambda A: torch.linalg.eigvalsh(symmetric(A))),
    matrices("svdvals", torch.linalg.svdvals),
    matrices("matrix_exp", lambda A: torch.matrix_exp(A / 3)),
    matrices("matrix_power(3)", lambda A: torch.linalg.matrix_power(A, 3)),
    matrices("matrix_norm", lambda A: torch.linalg.matrix_norm(A).unsqueeze(-1)),
    matrices("matrix_norm, 1 and inf", lambda A: torch.stack([torch.linalg.matrix_norm(A, 1), torch.linalg.matrix_norm(A, torch.inf)], -1)),
    matrices("trace", lambda A: A.diagonal(dim1=-2, dim2=-1).sum(-1, keepdim=True)),
    matrices("A Aᵀ", lambda A: A @ A.mT),
    matrices("bmm", lambda A: torch.bmm(A, A)),
    matrices("baddbmm", lambda A: torch.baddbmm(A, A, A.mT)),
    op("cdist", lambda x: torch.cdist(x.reshape(-1, 2, 2), torch.ones(3, 2, dtype=x.dtype) * 2)),
    op("cdist of two perturbed", lambda x: torch.cdist(x.reshape(-1, 2, 2), x.reshape(-1, 2, 2) + 4)),
    op("pairwise_distance", lambda x: F.pairwise_distance(x[:, :2], x[:, 2:] + 4).unsqueeze(-1)),
    op("pdist", lambda x: torch.stack([(x[:, :2] - x[:, 2:]).norm(dim=-1)], -1)),
    op("vector_norm, 1", lambda x: torch.linalg.vector_norm(x, 1, -1, keepdim=True)),
    op("vector_norm, 2", lambda x: torch.linalg.vector_norm(x, 2, -1, keepdim=True)),
    op("vector_norm, 3", lambda x: torch.linalg.vector_norm(x, 3, -1, keepdim=True)),
    op("vector_norm, ∞", lambda x: torch.linalg.vector_norm(x, torch.inf, -1, keepdim=True)),
    op("var, std", lambda x: torch.cat([x.var(-1, keepdim=True), x.std(-1, keepdim=True)], -1), 0, 1),
    op("prod", lambda x: x.prod(-1, keepdim=True), 0.5, 1.5),
    op("corrcoef by hand", lambda x: F.cosine_similarity(x[:, :2] - 2, x[:, 2:] + 2).unsqueeze(-1)),
    op("cov", lambda x: (x.reshape(-1, 2, 2) - x.reshape(-1, 2, 2).mean(-1, keepdim=True)) @ (x.reshape(-1, 2, 2) - x.reshape(-1, 2, 2).mean(-1, keepdim=True)).mT),
    op("trapezoid, diff, cumsum", lambda x: torch.cat([torch.trapezoid(x).unsqueeze(-1), x.diff(dim=-1), x.cumsum(-1)], -1)),
    op("flip, roll, rot90, tril", lambda x: x.flip(-1) + x.roll(1, -1) + x.rot90(1, (-2, -1)) + x.tril(), shape=(2, 2)),
    op("unfold, as strided windows", lambda x: x.unfold(-1, 2, 1).sum(-1)),
    op("tensordot, einsum", lambda x: torch.tensordot(x, torch.ones(4, 3, dtype=x.dtype), 1) + torch.einsum("bi,i->b", x, torch.ones(4, dtype=x.dtype)).unsqueeze(-1)),
    op("block_diag by cat", lambda x: F.pad(x[:, :2], (0, 2)) + F.pad(x[:, 2:], (2, 0))),
    op("vander", lambda x: torch.linalg.vander(x, N=3)),
    op("multi_dot", lambda x: torch.linalg.multi_dot([x, torch.ones(4, 4, dtype=x.dtype), torch.ones(4, 2, dtype=x.dtype)])),
)  # fmt: skip


def rope(x: Tensor) -> Tensor:
    """Rotary embeddings by complex numbers, as LLaMA's first program has them."""
    angles = torch.outer(torch.arange(2.0, dtype=x.dtype), torch.tensor([1.0, 0.1], dtype=x.dtype))
    turned = torch.view_as_complex(x.reshape(-1, 2, 2, 2)) * torch.polar(torch.ones_like(angles), angles)
    return torch.view_as_real(turned).flatten(1)


def spectral(x: Tensor) -> Tensor:
    """A layer of a Fourier neural operator (Li et al. 2021)."""
    weight = torch.complex(torch.linspace(0, 1, 3, dtype=x.dtype), torch.linspace(1, 0, 3, dtype=x.dtype))
    return torch.fft.irfft(torch.fft.rfft(x) * weight, n=4)


COMPLEX: tuple[Case, ...] = (
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


def rotated(x: Tensor) -> Tensor:
    """A perturbed angle turns a fixed image."""
    c, s, zero = x[:, 0].cos(), x[:, 0].sin(), torch.zeros_like(x[:, 0])
    theta = torch.stack([torch.stack([c, -s, zero], -1), torch.stack([s, c, zero], -1)], -2)
    grid = F.affine_grid(theta, [x.shape[0], 1, 4, 4], align_corners=False)
    image = torch.linspace(0, 1, 16, dtype=x.dtype).reshape(1, 1, 4, 4).expand(x.shape[0], 1, 4, 4)
    return F.grid_sample(image, grid, align_corners=False)


_GRID = torch.linspace(-0.9, 0.9, 18, dtype=torch.float64).reshape(1, 3, 3, 2)

IMAGES: tuple[Case, ...] = (
    op("grid_sample of an image", lambda x: F.grid_sample(x, _GRID.expand(x.shape[0], 3, 3, 2), align_corners=False), shape=(1, 3, 3)),
    op("grid_sample with a perturbed grid", lambda x: F.grid_sample(torch.linspace(0, 1, 9, dtype=x.dtype).reshape(1, 1, 3, 3).expand(x.shape[0], 1, 3, 3), x.reshape(-1, 1, 2, 2), align_corners=False), -0.3, 0.3),
    op("rotation by a perturbed angle", rotated, -0.2, 0.2, shape=(1,)),
    op("interpolate, bilinear", lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"), shape=(1, 2, 2)),
    op("interpolate, bicubic", lambda x: F.interpolate(x, scale_factor=2, mode="bicubic"), shape=(1, 2, 2)),
    op("interpolate, nearest-exact", lambda x: F.interpolate(x, size=3, mode="nearest-exact"), shape=(1, 2, 2)),
    op("interpolate, antialias", lambda x: F.interpolate(x, size=2, mode="bilinear", antialias=True), shape=(1, 4, 4)),
    op("pixel_shuffle", lambda x: F.pixel_shuffle(x, 2), shape=(4, 1, 1)),
    op("pad, reflect", lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect"), shape=(1, 2, 2)),
    op("pad, circular", lambda x: F.pad(x, (1, 1, 1, 1), mode="circular"), shape=(1, 2, 2)),
    op("pad, replicate", lambda x: F.pad(x, (1, 1, 1, 1), mode="replicate"), shape=(1, 2, 2)),
    op("max_pool2d, padded", lambda x: F.max_pool2d(x, 3, 2, 1), shape=(1, 4, 4)),
    op("max_pool2d, dilated", lambda x: F.max_pool2d(x, 2, 1, 0, 2), shape=(1, 4, 4)),
    op("max_pool2d with positions, unpooled", lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2), shape=(1, 2, 4)),
    op("avg_pool2d, padded", lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False), shape=(1, 4, 4)),
    op("lp_pool2d", lambda x: F.lp_pool2d(x, 2, 2), 0, 1, shape=(1, 2, 4)),
    op("adaptive_avg_pool2d", lambda x: F.adaptive_avg_pool2d(x, 3), shape=(1, 4, 4)),
    op("adaptive_max_pool2d", lambda x: F.adaptive_max_pool2d(x, 3), shape=(1, 4, 4)),
    op("fold of unfold", lambda x: F.fold(F.unfold(x, 2), (3, 3), 2), shape=(1, 3, 3)),
    op("conv_transpose2d", lambda x: F.conv_transpose2d(x, torch.ones(1, 1, 2, 2, dtype=x.dtype), stride=2), shape=(1, 2, 2)),
    op("conv2d, grouped and dilated", lambda x: F.conv2d(x, torch.ones(2, 1, 2, 2, dtype=x.dtype), dilation=2, groups=2), shape=(2, 3, 3)),
    op("a perturbed kernel (dynamic filter)", lambda x: F.conv2d(x.reshape(1, -1, 3, 3), torch.ones(1, 1, 2, 2, dtype=x.dtype).expand(x.shape[0], 1, 2, 2), groups=x.shape[0]).reshape(-1, 1, 2, 2), shape=(1, 3, 3), refused="CaptureError"),
    op("channel_shuffle", lambda x: F.channel_shuffle(x, 2), shape=(4, 1, 1)),
    op("total variation", lambda x: (x.diff(dim=-1).abs().sum((1, 2, 3)) + x.diff(dim=-2).abs().sum((1, 2, 3))).unsqueeze(-1), shape=(1, 3, 3)),
)  # fmt: skip


def int8_linear(x: Tensor) -> Tensor:
    """A linear layer as PT2E exports it: quantised, dequantised, multiplied, quantised again."""
    ops = torch.ops.quantized_decomposed
    q = ops.quantize_per_tensor(x, 0.02, 3, -128, 127, torch.int8)
    x = ops.dequantize_per_tensor(q, 0.02, 3, -128, 127, torch.int8)
    weight = torch.linspace(-1, 1, 12).reshape(3, 4)
    q = ops.quantize_per_tensor(x @ weight.T, 0.05, 0, -128, 127, torch.int8)
    return ops.dequantize_per_tensor(q, 0.05, 0, -128, 127, torch.int8)


def quantised(name: str, function: Callable[[Tensor], Tensor], dtype: torch.dtype = torch.float32) -> Case:
    """A case in float32."""
    import torch.ao.quantization.fx._decomposed  # noqa: F401 - registers the operators that PT2E exports

    return Case(name, lambda: function, (4,), -1.0, 1.0, dtype)


_SCALES = torch.tensor([0.1, 0.2, 0.05, 0.3])

QUANTISED: tuple[Case, ...] = (
    quantised("fake_quantize per tensor", lambda x: torch.fake_quantize_per_tensor_affine(x, 0.1, 2, -8, 7)),
    quantised("fake_quantize per channel", lambda x: torch.fake_quantize_per_channel_affine(x, _SCALES, torch.zeros(4, dtype=torch.int32), 1, -8, 7)),
    quantised("quantize_per_tensor (PT2E)", lambda x: torch.ops.quantized_decomposed.dequantize_per_tensor(torch.ops.quantized_decomposed.quantize_per_tensor(x, 0.1, 0, -8, 7, torch.int8), 0.1, 0, -8, 7, torch.int8)),
    quantised("quantize_per_channel (PT2E)", lambda x: torch.ops.quantized_decomposed.dequantize_per_channel(torch.ops.quantized_decomposed.quantize_per_channel(x, _SCALES, torch.zeros(4), 1, -8, 7, torch.int8), _SCALES, torch.zeros(4), 1, -8, 7, torch.int8)),
    quantised("int8 linear layer (PT2E)", int8_linear),
    quantised("torch.quantize_per_tensor", lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.qint8).dequantize()),
    quantised("rounding to int8 by hand", lambda x: (x / 0.1).round().clamp(-8, 7).to(torch.int8).to(torch.float32) * 0.1),
    quantised("binarised weights and signs", lambda x: x.sign() @ torch.linspace(-1, 1, 12).reshape(3, 4).sign().T),
    quantised("float16 in the middle", lambda x: x.half().float() * 2),
    quantised("bfloat16 in the middle", lambda x: x.bfloat16().float() * 2),
)  # fmt: skip

_P = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def ensemble(x: Tensor) -> Tensor:
    return torch.func.vmap(lambda w: torch.tanh(x @ w))(_P).mean(0)


TRANSFORMS: tuple[Case, ...] = (
    op("vmap over examples", lambda x: torch.func.vmap(lambda z: (z.sin() * z).sum().unsqueeze(0))(x)),
    op("vmap ensemble", ensemble),
    op("vmap of vmap", lambda x: torch.func.vmap(torch.func.vmap(lambda z: z * z.exp()))(x)),
    op("functional_call", lambda x: torch.func.functional_call(nn.Linear(4, 2, dtype=x.dtype), {"weight": torch.ones(2, 4, dtype=x.dtype), "bias": torch.zeros(2, dtype=x.dtype)}, (x,))),
    op("checkpoint", lambda x: torch.utils.checkpoint.checkpoint(lambda z: z.tanh() * 2, x, use_reentrant=False)),
    op("torch.cond on the input", lambda x: torch.cond(x.sum() > 0, lambda z: z.sin(), lambda z: z.cos(), (x,)), refused="DataDependentBranchError"),
    op("torch.cond on a constant", lambda x: torch.cond(torch.tensor(True), lambda z: z.sin(), lambda z: z.cos(), (x,))),
    op("scan over steps", lambda x: torch.stack(list(_steps(x)), 1)),
)  # fmt: skip


def _steps(x: Tensor) -> list[Tensor]:
    h, out = x, []
    for _ in range(3):
        h = 0.5 * h + h.tanh()
        out.append(h)
    return out


def while_loop(x: Tensor) -> Tensor:
    while x.sum() > 1:
        x = x / 2
    return x


def raising(x: Tensor) -> Tensor:
    if torch.any(torch.isnan(x)):
        raise ValueError("NaN in the input")
    return x.tanh()


BAD: tuple[Case, ...] = (
    op("x[x > 0]", lambda x: x[x > 0], refused="DataDependentShapeError"),
    op("nonzero of the input", lambda x: x[:, x[0].nonzero().squeeze(-1)], refused="DataDependentShapeError"),
    op("if x.sum() > 0", lambda x: x.sin() if x.sum() > 0 else x.cos(), refused="DataDependentBranchError"),
    op("while x.sum() > 1", while_loop, refused="DataDependentBranchError"),
    op("float(x.max())", lambda x: x / float(x.max()), refused="DataDependentBranchError"),
    op("x.numpy()", lambda x: torch.from_numpy(x.numpy()), refused="DataDependentBranchError"),
    op("range(int(x[0, 0]))", lambda x: sum((x for _ in range(int(x[0, 0].abs() * 3) + 1)), torch.zeros_like(x)), refused="DataDependentBranchError"),
    op("if isnan(x).any(): raise", raising),
    op("Normal(x, 1), validated", lambda x: torch.distributions.Normal(x, torch.ones_like(x)).log_prob(torch.zeros_like(x))),
    op("Categorical(logits=x), validated", lambda x: torch.distributions.Categorical(logits=x).entropy().unsqueeze(-1)),
    op("assert x is finite", lambda x: _asserted(x)),
    op("torch._assert", lambda x: _torch_asserted(x)),
    op("torch.rand_like", lambda x: x + torch.rand_like(x), refused="CaptureError"),
    op("torch.randn", lambda x: x + torch.randn(4, dtype=x.dtype), refused="CaptureError"),
    op("dropout in training", lambda x: F.dropout(x, 0.5, training=True), refused="TrainingModeError"),
    op("bernoulli of the input", lambda x: torch.bernoulli(x.sigmoid()), refused="CaptureError"),
    op("Normal(x, 1).rsample()", lambda x: torch.distributions.Normal(x, torch.ones_like(x), validate_args=False).rsample(), refused="CaptureError"),
    op("gumbel_softmax", lambda x: F.gumbel_softmax(x, hard=True), refused="CaptureError"),
    op("mean over the batch", lambda x: x - x.mean(0), refused="ReplayError"),
    op("log of what may be negative", lambda x: x.log(), refused="DomainError"),
    op("1 / x over zero", lambda x: 1 / x, refused="DomainError"),
    op("repeat_interleave by the input", lambda x: x.repeat_interleave(x[0].long().abs() + 1, 1), refused="DataDependentShapeError"),
    op("unique of the input", lambda x: torch.unique(x), refused="DataDependentShapeError"),
    op("a list as output", lambda x: x.tolist(), refused="DataDependentBranchError"),  # type: ignore[arg-type, return-value]
    op("eigenvalues of a general matrix", lambda x: torch.linalg.eigvals(x.reshape(-1, 2, 2)).real, refused="UnsupportedOperatorError"),
)  # fmt: skip


def _asserted(x: Tensor) -> Tensor:
    assert torch.isfinite(x).all()
    return x.tanh()


def _torch_asserted(x: Tensor) -> Tensor:
    torch._assert(torch.isfinite(x).all(), "not finite")
    return x.tanh()


CASES: tuple[Case, ...] = (*MATRICES, *COMPLEX, *IMAGES, *QUANTISED, *TRANSFORMS, *BAD)
