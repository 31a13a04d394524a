"""Elementwise functions, with the places where they bend, jump or end."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lirpa_core.rules import Call, Operand
from lirpa_testing.conformance.declarations import ConformanceCases

aten = torch.ops.aten
inf = math.inf

#: Boxes of these may come close to zero, but not reach it.
OPEN = (
    "log",
    "log2",
    "log10",
    "rsqrt",
    "reciprocal",
    "pow-1",
    "pow-2",
    "pow-0.5",
    "pow-1.7",
    "lgamma",
    "digamma",
    "entr",
    "zeta",
    "zeta by a number",
    "polygamma0",
    "polygamma2",
    "polygamma3",
)
_NEAR_ZERO = 1e-6
_FAR = 1e3


@dataclass(frozen=True)
class UnaryCase:
    """One operator with its parameters.

    Attributes:
        name: What is particular about it.
        op: The operator.
        args: What follows the perturbed operand, or surrounds it, where `"x"` stands among them.
        special: Kinks, inflections, extrema and other points worth a box.
        domain: Where boxes may lie.
        reach: No box reaches further from zero: beyond, the function overflows.
        kwargs: Arguments by name.
    """

    name: str
    op: Any
    args: tuple[Any, ...] = ()
    special: tuple[float, ...] = (0.0,)
    domain: tuple[float, float] = (-inf, inf)
    reach: float = _FAR
    kwargs: tuple[tuple[str, Any], ...] = ()

    def call(self, dtype: torch.dtype = torch.float64, shape: tuple[int, ...] = (1, 1)) -> Call:
        """The call on one example of a shape."""

        def typed(value: Any) -> Any:
            return value.to(dtype) if isinstance(value, Tensor) else value

        args = [typed(a) for a in self.args]
        position = args.index("x") if "x" in args else None
        if position is None:
            args.insert(0, Operand(shape, dtype))
        else:
            args[position] = Operand(shape, dtype)
        return Call.of(self.op, *args, **dict(self.kwargs))

    @property
    def limits(self) -> tuple[float, float]:
        """Where boxes are drawn from."""
        low, high = self.domain
        if self.reach < _FAR:
            low, high = max(low, -self.reach), min(high, self.reach)
        return (max(low, _NEAR_ZERO) if low == 0 and self.name in OPEN else low), high


def _case(name: str, *args: Any, **options: Any) -> UnaryCase:
    op = options.pop("op", None)
    if op is None:
        op = getattr(aten, name).default
    return UnaryCase(name, op, args, **options)


def _power(p: float, **options: Any) -> UnaryCase:
    return UnaryCase(f"pow{p:g}", aten.pow.Tensor_Scalar, (p,), **options)


_STEPS = torch.tensor([-1.0, 0.5, 0.75, 4.0])

positive: dict[str, Any] = {"domain": (0.0, inf), "special": (0.0, 1e-6, 1e-3, 1.0)}
CASES = [
    _case("relu"),
    _case("leaky_relu", 0.2),
    UnaryCase("leaky_relu>1", aten.leaky_relu.default, (3.0,)),
    UnaryCase("leaky_relu<0", aten.leaky_relu.default, (-0.5,)),
    _case("prelu", torch.tensor([0.25])),
    UnaryCase("prelu>1", aten.prelu.default, (torch.tensor([1.75]),)),
    _case("_prelu_kernel", torch.tensor([[-0.25]])),
    _case("relu6", special=(0.0, 6.0)),
    _case("hardtanh", -0.5, 2.0, special=(-0.5, 2.0)),
    _case("clamp", -1, 2, special=(-1.0, 2.0)),
    UnaryCase("clamp-low", aten.clamp.default, (0.5,), special=(0.5,)),
    UnaryCase("clamp-high", aten.clamp.default, (None, 0.5), special=(0.5,)),
    UnaryCase("clamp-crossed", aten.clamp.default, (2.0, -1.0), special=(-1.0, 2.0)),
    UnaryCase(
        "clamp.Tensor",
        aten.clamp.Tensor,
        (torch.tensor([[-1.0]]), torch.tensor([[0.5]])),
        special=(-1.0, 0.5),
    ),
    UnaryCase("clamp.Tensor-high", aten.clamp.Tensor, (None, torch.tensor(0.5)), special=(0.5,)),
    _case("clamp_min", 0.3, special=(0.3,)),
    _case("clamp_max", 0.3, special=(0.3,)),
    UnaryCase("clamp_min.Tensor", aten.clamp_min.Tensor, (torch.tensor([[0.3]]),), special=(0.3,)),
    UnaryCase("clamp_max.Tensor", aten.clamp_max.Tensor, (torch.tensor([[0.3]]),), special=(0.3,)),
    _case("hardsigmoid", special=(-3.0, 3.0)),
    _case("hardswish", special=(-3.0, -1.5, 3.0)),
    _case("abs"),
    _case("softshrink", 0.7, special=(-0.7, 0.7)),
    _case("hardshrink", 0.7, special=(-0.7, 0.7)),
    UnaryCase("hardshrink<0", aten.hardshrink.default, (-0.7,)),
    _case("threshold", 0.1, 20.0, special=(0.1,)),
    UnaryCase("threshold-up", aten.threshold.default, (0.1, -20.0), special=(0.1,)),
    _case("exp", reach=500.0),
    _case("expm1", reach=500.0),
    _case("exp2", reach=500.0),
    UnaryCase("base0.3", aten.pow.Scalar, (0.3, "x"), reach=300.0),
    UnaryCase("base3", aten.pow.Scalar, (3, "x"), reach=300.0),
    UnaryCase("base1", aten.pow.Scalar, (1, "x")),
    _case("softplus", special=(0.0, 20.0)),
    UnaryCase("softplus-beta", aten.softplus.default, (3, 6), special=(0.0, 2.0)),
    UnaryCase("softplus-negative", aten.softplus.default, (-2.0, 1.0), special=(0.0, -0.5)),
    _case("log_sigmoid"),
    _case("elu"),
    UnaryCase("elu-steep", aten.elu.default, (2.0, 0.7, 1.5)),
    UnaryCase("elu-negative", aten.elu.default, (-0.5,)),
    UnaryCase("elu-zero", aten.elu.default, (0.0,)),
    _case("celu", 1.7),
    UnaryCase("celu<0", aten.celu.default, (-1.7,), reach=300.0),
    _case("selu"),
    _case("log", **positive),
    _case("log2", **positive),
    _case("log10", **positive),
    _case("log1p", domain=(-0.999999, inf), special=(-0.999999, 0.0, -0.99)),
    _case("sqrt", **positive),
    _case("rsqrt", **positive),
    UnaryCase("reciprocal", aten.reciprocal.default, **positive),
    UnaryCase("reciprocal<0", aten.reciprocal.default, domain=(-inf, -1e-6), special=(-1e-6, -1e-3, -1.0)),
    _case("acosh", domain=(1.0, inf), special=(1.0, 1.001)),
    _case("cosh", reach=500.0),
    _case("square"),
    *[_power(p, reach=100.0) for p in (0, 1, 2, 3, 4, 5, 8, 11)],
    *[_power(p, **positive) for p in (0.5, 1.5, 2.5, 0.1, -1, -2, -0.5, -1.7)],
    *[
        UnaryCase(
            f"pow{p}<0", aten.pow.Tensor_Scalar, (p,), domain=(-inf, -1e-6), special=(-1e-6, -1e-3, -1.0)
        )
        for p in (-1, -2)
    ],
    _case("sigmoid"),
    _case("tanh"),
    _case("erf"),
    _case("erfc"),
    _case("atan"),
    _case("asinh"),
    _case("sinh", reach=500.0),
    _case("asin", domain=(-1.0, 1.0), special=(-1.0, 0.0, 1.0)),
    _case("acos", domain=(-1.0, 1.0), special=(-1.0, 0.0, 1.0)),
    _case("atanh", domain=(-0.999999, 0.999999), special=(-0.999999, 0.0, 0.999999)),
    _case("gelu", special=(-(2**0.5), 2**0.5, 0.0, -0.7517915246935645)),
    UnaryCase(
        "gelu-tanh",
        aten.gelu.default,
        special=(-1.418504008790828, 1.418504008790828, 0.0, -0.7524614220710163),
        kwargs=(("approximate", "tanh"),),
    ),
    _case("silu", special=(-2.3993572805154677, 2.3993572805154677, 0.0, -1.278464542761074)),
    _case("mish", special=(-2.2563763963607931, 1.4905711794854285, 0.0, -1.1924312145154952)),
    _case("sin", special=(0.0, math.pi / 2, -math.pi / 2, math.pi, 3 * math.pi / 2)),
    _case("cos", special=(0.0, math.pi / 2, -math.pi / 2, math.pi, 3 * math.pi / 2)),
    _case("tan", domain=(-1.57, 1.57), special=(0.0, 1.57, -1.57)),
    UnaryCase(
        "tan-shifted",
        aten.tan.default,
        domain=(-1.57 + 5 * math.pi, 1.57 + 5 * math.pi),
        special=(5 * math.pi,),
    ),
    _case("erfinv", domain=(-0.999, 0.999), special=(-0.999, 0.0, 0.999)),
    _case("lgamma", domain=(0.0, inf), special=(1.0, 2.0, 1.4616321449683623)),
    UnaryCase("entr", aten.special_entr.default, domain=(0.0, inf), special=(1.0, math.exp(-1))),
    _case("digamma", domain=(0.0, inf), special=(1.0, 1.4616321449683623)),
    *[
        UnaryCase(f"polygamma{n}", aten.polygamma.default, (n, "x"), domain=(0.0, inf), special=(1.0,))
        for n in (0, 2, 3)
    ],
    UnaryCase("zeta", aten.special_zeta.default, (torch.tensor(2.0), "x"), domain=(0.0, inf), special=(1.0,)),
    UnaryCase(
        "zeta by a number", aten.special_zeta.self_scalar, (3.5, "x"), domain=(0.0, inf), special=(1.0,)
    ),
    UnaryCase("log_ndtr", aten.special_log_ndtr.default, special=(0.0, -1.0)),
    UnaryCase("erfcx", aten.special_erfcx.default, domain=(-2.0, inf)),
    _case("i0", reach=500.0),
    UnaryCase("special_i0", aten.special_i0.default, reach=500.0),
    UnaryCase("i0e", aten.special_i0e.default),
    UnaryCase("i1", aten.special_i1.default, reach=500.0),
    UnaryCase("bucketize", aten.bucketize.Tensor, (_STEPS,), special=tuple(_STEPS.tolist())),
    UnaryCase(
        "searchsorted",
        aten.searchsorted.Tensor,
        (_STEPS, "x"),
        special=tuple(_STEPS.tolist()),
        kwargs=(("right", True),),
    ),
    _case("floor", special=(0.0, -1.0, 1.0, 3.0)),
    _case("ceil", special=(0.0, -1.0, 1.0, 3.0)),
    _case("round", special=(-0.5, 0.5, 1.5, 2.5)),
    _case("trunc", special=(0.0, -1.0, 1.0, 3.0)),
    _case("sign"),
    _case("sgn"),
    _case("heaviside", torch.tensor([[0.25]])),
    *[
        UnaryCase(n, getattr(aten, n).Scalar, (0.5,), special=(0.5,))
        for n in ("gt", "ge", "lt", "le", "eq", "ne")
    ],
    *[
        UnaryCase(f"{n}-left", getattr(aten, n).Tensor, (torch.tensor([[0.5]]), "x"), special=(0.5,))
        for n in ("gt", "ge", "lt", "le", "eq", "ne")
    ],
]


def declare(cases: ConformanceCases) -> None:
    """Declare every function."""
    for case in CASES:
        call = case.call(shape=(1, 3))
        cases.add(case.name, call, domain=case.limits, kinks=case.special)
    # PyTorch's kernel of this one is off by 4.9e-10, which bounds of single points and the proofs, to rounding, are not.
    trigamma = UnaryCase("polygamma1", aten.polygamma.default, (1, "x"), domain=(_NEAR_ZERO, inf))
    cases.add(
        trigamma.name, trigamma.call(shape=(1, 3)), domain=trigamma.domain, without=("degenerate", "proof")
    )
