"""Functions of one or two numbers, and activations."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.kinds.case import Case, op


def halves(x: Tensor) -> tuple[Tensor, Tensor]:
    a, b = x.chunk(2, -1)
    return a, b


ONE: tuple[Case, ...] = (
    *(
        op(function.__name__, function, low, high)
        for function, low, high in (
            (torch.exp, -2, 2), (torch.exp2, -2, 2), (torch.expm1, -2, 2), (torch.log, 0.1, 3), (torch.log2, 0.1, 3),
            (torch.log10, 0.1, 3), (torch.log1p, -0.5, 3), (torch.sqrt, 0.1, 3), (torch.rsqrt, 0.1, 3),
            (torch.reciprocal, 0.2, 3), (torch.sin, -4, 4), (torch.cos, -4, 4), (torch.tan, -1.2, 1.2), (torch.asin, -0.9, 0.9),
            (torch.acos, -0.9, 0.9), (torch.atan, -3, 3), (torch.sinh, -2, 2), (torch.cosh, -2, 2), (torch.tanh, -3, 3),
            (torch.asinh, -3, 3), (torch.acosh, 1.1, 4), (torch.atanh, -0.9, 0.9), (torch.sigmoid, -4, 4), (torch.erf, -2, 2),
            (torch.erfc, -2, 2), (torch.special.erfinv, -0.9, 0.9), (torch.lgamma, 0.3, 4), (torch.digamma, 0.5, 4),
            (torch.sinc, -2, 2), (torch.special.entr, 0.1, 2), (torch.special.ndtr, -3, 3), (torch.special.ndtri, 0.1, 0.9),
            (torch.special.log_ndtr, -3, 3), (torch.special.i0, -2, 2), (torch.special.i0e, -2, 2), (torch.special.i1, -2, 2),
            (torch.special.bessel_j0, -4, 4), (torch.special.erfcx, -1, 2), (torch.logit, 0.1, 0.9), (torch.abs, -1, 1),
            (torch.square, -1, 1), (torch.neg, -1, 1), (torch.positive, -1, 1), (torch.deg2rad, -1, 1),
        )
    ),
    op("polygamma(1)", lambda x: torch.polygamma(1, x), 0.5, 4),
    op("sinc at 0", lambda x: torch.sinc(x), -0.1, 0.1),
    op("x³", lambda x: x**3),
    op("x⁴", lambda x: x.pow(4)),
    op("x^−1", lambda x: x**-1, 0.2, 2),
    op("x^0.5", lambda x: x**0.5, 0.1, 2),
    op("x^1.5", lambda x: x**1.5, 0.1, 2),
    op("2^x", lambda x: 2**x, -2, 2),
    op("float_power", lambda x: torch.float_power(x, 3)),
    op("polyval by stack", lambda x: torch.stack([x, x**2, x**3], -1).sum(-1)),
    op("remainder by a number", lambda x: torch.remainder(x, 0.7)),
    op("fmod by a number", lambda x: torch.fmod(x, 0.7)),
    op("% by a number", lambda x: x % 0.7),
    op("// by a number", lambda x: x // 0.7),
    op("angle wrapped to (−π, π]", lambda x: (x + torch.pi) % (2 * torch.pi) - torch.pi, -4, 4),
    op("angle wrapped by atan2", lambda x: torch.atan2(x.sin(), x.cos()), -1, 1),
    op("nan_to_num of a logarithm", lambda x: x.log().nan_to_num(), 0.1, 2),
    op("hypot of 3 and x", lambda x: torch.hypot(x, x.new_tensor(3.0))),
    op("ldexp", lambda x: torch.ldexp(x, torch.tensor(2))),
)  # fmt: skip

TWO: tuple[Case, ...] = (
    op("a · b", lambda x: torch.mul(*halves(x))),
    op("a / b", lambda x: torch.div(*halves(x)), 0.5, 2),
    op("a / b, over zero in a", lambda x: (halves(x)[0] - 1) / halves(x)[1], 0.5, 2),
    op("atan2", lambda x: torch.atan2(*halves(x)), 0.2, 2),
    op("atan2, behind the cut", lambda x: torch.atan2(halves(x)[0], halves(x)[1] - 3), -1, 1),
    op("atan2, around zero", lambda x: torch.atan2(*halves(x))),
    op("hypot", lambda x: torch.hypot(*halves(x))),
    op("pow(tensor, tensor)", lambda x: torch.pow(*halves(x)), 0.5, 2),
    op("remainder of two", lambda x: torch.remainder(*halves(x)), 0.5, 2),
    op("fmod of two", lambda x: torch.fmod(*halves(x)), 0.5, 2),
    op("a // b", lambda x: halves(x)[0] // halves(x)[1], 0.5, 2),
    op("div, floor", lambda x: torch.div(*halves(x), rounding_mode="floor"), 0.5, 2),
    op("div, trunc", lambda x: torch.div(*halves(x), rounding_mode="trunc"), 0.5, 2),
    op("xlogy", lambda x: torch.xlogy(*halves(x)), 0.2, 2),
    op("xlogy at zero", lambda x: torch.xlogy(halves(x)[0] - 0.2, halves(x)[1]), 0.2, 2),
    op("xlog1py", lambda x: torch.special.xlog1py(*halves(x)), 0.2, 2),
    op("logaddexp", lambda x: torch.logaddexp(*halves(x))),
    op("logaddexp2", lambda x: torch.logaddexp2(*halves(x))),
    op("lerp", lambda x: torch.lerp(x[:, :1], x[:, 1:2], x[:, 2:3].sigmoid())),
    op("addcmul", lambda x: torch.addcmul(x[:, :1], x[:, 1:2], x[:, 2:3])),
    op("addcdiv", lambda x: torch.addcdiv(x[:, :1], x[:, 1:2], x[:, 2:3]), 0.5, 2),
    op("sub with alpha, rsub", lambda x: torch.sub(*halves(x), alpha=2) + torch.rsub(x[:, :2], 1)),
    op("true_divide", lambda x: torch.true_divide(x, 3)),
    op("squared difference", lambda x: (halves(x)[0] - halves(x)[1]) ** 2),
    op("cross", lambda x: torch.linalg.cross(x[:, :3], x[:, 3:]), shape=(6,)),
    op("dot by einsum", lambda x: torch.einsum("bi,bi->b", *halves(x)).unsqueeze(-1)),
    op("vecdot", lambda x: torch.linalg.vecdot(*halves(x)).unsqueeze(-1)),
    op("outer", lambda x: halves(x)[0].unsqueeze(-1) * halves(x)[1].unsqueeze(-2)),
    op("outer by einsum", lambda x: torch.einsum("bi,bj->bij", *halves(x))),
    op("quadratic form", lambda x: torch.einsum("bi,ij,bj->b", x, torch.eye(4, dtype=x.dtype) + 0.2, x).unsqueeze(-1)),
    op("bilinear", lambda x: F.bilinear(*halves(x), torch.ones(3, 2, 2, dtype=x.dtype))),
    op("PReLU with a perturbed slope", lambda x: torch.where(x[:, :2] > 0, x[:, :2], x[:, 2:] * x[:, :2])),
    op("gaussian kernel", lambda x: (-(halves(x)[0] - halves(x)[1]).square().sum(-1, keepdim=True)).exp()),
)  # fmt: skip

ACTIVATIONS: tuple[Case, ...] = tuple(
    op(name, function, -3, 3)
    for name, function in (
        ("relu", F.relu), ("relu6", F.relu6), ("leaky_relu", F.leaky_relu), ("elu", F.elu), ("selu", F.selu), ("celu", F.celu),
        ("gelu", F.gelu), ("gelu, tanh", lambda x: F.gelu(x, approximate="tanh")), ("silu", F.silu), ("mish", F.mish),
        ("softplus", F.softplus), ("softplus, beta 3", lambda x: F.softplus(x, 3.0)), ("softsign", F.softsign),
        ("logsigmoid", F.logsigmoid), ("hardtanh", F.hardtanh), ("hardsigmoid", F.hardsigmoid), ("hardswish", F.hardswish),
        ("hardshrink", F.hardshrink), ("softshrink", F.softshrink), ("tanhshrink", F.tanhshrink),
        ("threshold", lambda x: F.threshold(x, 0.5, -1.0)), ("rrelu, evaluation", lambda x: F.rrelu(x, training=False)),
        ("prelu", lambda x: F.prelu(x, torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=x.dtype))), ("glu", F.glu),
        ("softmax", lambda x: x.softmax(-1)), ("softmin", lambda x: F.softmin(x, -1)), ("log_softmax", lambda x: x.log_softmax(-1)),
        ("logsumexp", lambda x: x.logsumexp(-1, keepdim=True)), ("snake x + sin²", lambda x: x + x.sin() ** 2),
        ("gaussian e^(−x²)", lambda x: (-(x * x)).exp()), ("squared ReLU", lambda x: x.relu() ** 2),
        ("star sin · cos", lambda x: x.sin() * x.cos()), ("maxout", lambda x: x.reshape(-1, 2, 2).amax(-1)),
        ("CReLU", lambda x: torch.cat([x.relu(), (-x).relu()], -1)), ("swish, beta", lambda x: x * torch.sigmoid(1.5 * x)),
        ("layer_norm", lambda x: F.layer_norm(x, (4,))), ("normalize", F.normalize), ("local_response_norm", lambda x: F.local_response_norm(x.unsqueeze(-1), 2).squeeze(-1)),
        ("rms_norm", lambda x: F.rms_norm(x, (4,))), ("gumbel-free hard softmax", lambda x: (x == x.amax(-1, keepdim=True)).to(x.dtype)),
    )
)  # fmt: skip

CASES: tuple[Case, ...] = (*ONE, *TWO, *ACTIVATIONS)
