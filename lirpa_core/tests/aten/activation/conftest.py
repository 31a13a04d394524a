"""Every unary operator with the boxes to try it on. The oracle is the operator itself, sampled densely."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from lirpa_core.aten import activation
from lirpa_core.bounds.interval import Interval
from lirpa_core.rules.call import Call, Operand
from lirpa_core.rules.unary import Unary

aten = torch.ops.aten
inf = math.inf

#: Units in the last place of the largest number involved, `|f| + |kx| + |b|`, by which a line may be
#: on the wrong side of the operator's own rounded value.
ULP = 8.0

SHAPE = (1, 1)


class Rules(dict[Any, Unary]):
    """A registry for tests."""

    def register(self, op: Any, rule: Any, *, override: bool = False) -> None:
        assert override or op not in self
        self[op] = rule


RULES = Rules()
activation.register(RULES)


@dataclass(frozen=True)
class Case:
    """One operator with its parameters.

    Attributes:
        name: For the test's id.
        op: The operator.
        args: What follows (or, as `Operand` stands among them, surrounds) the perturbed operand.
        special: Kinks, inflections, extrema and other places worth a box.
        domain: Where boxes may lie.
        reach: No box reaches further from zero: beyond, the function overflows.
        smooth: Whether the widest allowed slope has been found by an exact method, so that no other
            slope may lose less area.
    """

    name: str
    op: Any
    args: tuple[Any, ...] = ()
    special: tuple[float, ...] = (0.0,)
    domain: tuple[float, float] = (-inf, inf)
    reach: float = 1e3
    kwargs: tuple[tuple[str, Any], ...] = ()

    @property
    def rule(self) -> Unary:
        return RULES[self.op]

    def call(self, dtype: torch.dtype = torch.float64) -> Call:
        operand = Operand(SHAPE, dtype)

        def typed(value: Any) -> Any:
            return value.to(dtype) if isinstance(value, Tensor) else value

        args = [typed(a) for a in self.args]
        if "x" in args:
            args[args.index("x")] = operand
        else:
            args.insert(0, operand)
        return Call.of(self.op, *args, **dict(self.kwargs))

    def value(self, x: Tensor) -> Tensor:
        """The operator at `[N]` points."""
        return self.call(x.dtype).evaluate([x.reshape(-1, *SHAPE)]).reshape(x.shape).to(x.dtype)

    def boxes(self, n: int = 400, dtype: torch.dtype = torch.float64, seed: int = 0) -> Interval:
        """Random boxes `[N, *SHAPE]`: wide, thin, degenerate, and all of these at special points."""
        g = torch.Generator().manual_seed(seed)
        low, high = max(self.domain[0], -self.reach), min(self.domain[1], self.reach)

        def uniform(k: int) -> Tensor:
            return torch.rand(k, generator=g, dtype=torch.float64)

        magnitude = 10 ** (uniform(n) * 6 - 3)
        center = magnitude * torch.where(uniform(n) < 0.5, -1.0, 1.0)
        at = torch.tensor(self.special, dtype=torch.float64)[(uniform(n) * len(self.special)).long()]
        center = torch.where(uniform(n) < 0.4, at, center)
        widths = torch.tensor([0.0, 1e-300, 1e-12, 1e-6, 1e-2, 0.5, 2.0, 6.0, 30.0, 2e3], dtype=torch.float64)
        width = widths[(uniform(n) * len(widths)).long()] * (0.5 + uniform(n))
        share = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)[(uniform(n) * 3).long()]
        share = torch.where(uniform(n) < 0.5, share, uniform(n))
        lower, upper = center - share * width, center + (1 - share) * width
        lower, upper = lower.clamp(low, high).to(dtype), upper.clamp(low, high).to(dtype)
        if self.domain[0] == 0 and self.name in OPEN:
            tiny = torch.tensor(1e-6, dtype=dtype)
            lower, upper = lower.maximum(tiny), upper.maximum(tiny)
        lower, upper = lower.minimum(upper), lower.maximum(upper)
        return Interval(lower.reshape(-1, *SHAPE), upper.reshape(-1, *SHAPE))

    def samples(self, box: Interval, n: int = 257) -> Tensor:
        """Points `[n, N]` of each box: a grid, its ends, and what is special, both sides of it."""
        lower, upper = box.lower.flatten(), box.upper.flatten()
        t = torch.linspace(0, 1, n, dtype=lower.dtype)[:, None]
        grid = lower * (1 - t) + upper * t
        special = torch.tensor(self.special, dtype=lower.dtype)[:, None].expand(-1, len(lower))
        near = [special, torch.nextafter(special, special + 1), torch.nextafter(special, special - 1)]
        geometric = [lower + (upper - lower) * 10.0**-e for e in range(1, 16, 2)]
        geometric += [upper - (upper - lower) * 10.0**-e for e in range(1, 16, 2)]
        points = torch.cat([grid, *near, torch.stack(geometric)])
        return points.maximum(lower).minimum(upper)


OPEN = ("log", "log2", "log10", "rsqrt", "reciprocal", "pow-1", "pow-2", "pow-0.5", "pow-1.7")


def _case(name: str, *args: Any, **options: Any) -> Case:
    op = options.pop("op", None)
    if op is None:
        op = getattr(aten, name).default
    return Case(name, op, args, **options)


def _power(p: float, **options: Any) -> Case:
    return Case(f"pow{p:g}", aten.pow.Tensor_Scalar, (p,), **options)


positive: dict[str, Any] = {"domain": (0.0, inf), "special": (0.0, 1e-6, 1e-3, 1.0)}
CASES = [
    _case("relu"),
    _case("leaky_relu", 0.2),
    Case("leaky_relu>1", aten.leaky_relu.default, (3.0,)),
    Case("leaky_relu<0", aten.leaky_relu.default, (-0.5,)),
    _case("prelu", torch.tensor([0.25])),
    Case("prelu>1", aten.prelu.default, (torch.tensor([1.75]),)),
    _case("_prelu_kernel", torch.tensor([[-0.25]])),
    _case("relu6", special=(0.0, 6.0)),
    _case("hardtanh", -0.5, 2.0, special=(-0.5, 2.0)),
    _case("clamp", -1, 2, special=(-1.0, 2.0)),
    Case("clamp-low", aten.clamp.default, (0.5,), special=(0.5,)),
    Case("clamp-high", aten.clamp.default, (None, 0.5), special=(0.5,)),
    Case("clamp-crossed", aten.clamp.default, (2.0, -1.0), special=(-1.0, 2.0)),
    Case(
        "clamp.Tensor",
        aten.clamp.Tensor,
        (torch.tensor([[-1.0]]), torch.tensor([[0.5]])),
        special=(-1.0, 0.5),
    ),
    Case("clamp.Tensor-high", aten.clamp.Tensor, (None, torch.tensor(0.5)), special=(0.5,)),
    _case("clamp_min", 0.3, special=(0.3,)),
    _case("clamp_max", 0.3, special=(0.3,)),
    Case("clamp_min.Tensor", aten.clamp_min.Tensor, (torch.tensor([[0.3]]),), special=(0.3,)),
    Case("clamp_max.Tensor", aten.clamp_max.Tensor, (torch.tensor([[0.3]]),), special=(0.3,)),
    _case("hardsigmoid", special=(-3.0, 3.0)),
    _case("hardswish", special=(-3.0, -1.5, 3.0)),
    _case("abs"),
    _case("softshrink", 0.7, special=(-0.7, 0.7)),
    _case("hardshrink", 0.7, special=(-0.7, 0.7)),
    Case("hardshrink<0", aten.hardshrink.default, (-0.7,)),
    _case("threshold", 0.1, 20.0, special=(0.1,)),
    Case("threshold-up", aten.threshold.default, (0.1, -20.0), special=(0.1,)),
    _case("exp", reach=500.0),
    _case("expm1", reach=500.0),
    _case("exp2", reach=500.0),
    Case("base0.3", aten.pow.Scalar, (0.3, "x"), reach=300.0),
    Case("base3", aten.pow.Scalar, (3, "x"), reach=300.0),
    Case("base1", aten.pow.Scalar, (1, "x")),
    _case("softplus", special=(0.0, 20.0)),
    Case("softplus-beta", aten.softplus.default, (3, 6), special=(0.0, 2.0)),
    Case("softplus-negative", aten.softplus.default, (-2.0, 1.0), special=(0.0, -0.5)),
    _case("log_sigmoid"),
    _case("elu"),
    Case("elu-steep", aten.elu.default, (2.0, 0.7, 1.5)),
    Case("elu-negative", aten.elu.default, (-0.5,)),
    Case("elu-zero", aten.elu.default, (0.0,)),
    _case("celu", 1.7),
    Case("celu<0", aten.celu.default, (-1.7,), reach=300.0),
    _case("selu"),
    _case("log", **positive),
    _case("log2", **positive),
    _case("log10", **positive),
    _case("log1p", domain=(-0.999999, inf), special=(-0.999999, 0.0, -0.99)),
    _case("sqrt", **positive),
    _case("rsqrt", **positive),
    Case("reciprocal", aten.reciprocal.default, **positive),
    Case("reciprocal<0", aten.reciprocal.default, domain=(-inf, -1e-6), special=(-1e-6, -1e-3, -1.0)),
    _case("acosh", domain=(1.0, inf), special=(1.0, 1.001)),
    _case("cosh", reach=500.0),
    _case("square"),
    *[_power(p, reach=100.0) for p in (0, 1, 2, 3, 4, 5, 8, 11)],
    *[_power(p, **positive) for p in (0.5, 1.5, 2.5, 0.1, -1, -2, -0.5, -1.7)],
    *[
        Case(f"pow{p}<0", aten.pow.Tensor_Scalar, (p,), domain=(-inf, -1e-6), special=(-1e-6, -1e-3, -1.0))
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
    Case(
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
    Case(
        "tan-shifted",
        aten.tan.default,
        domain=(-1.57 + 5 * math.pi, 1.57 + 5 * math.pi),
        special=(5 * math.pi,),
    ),
    _case("floor", special=(0.0, -1.0, 1.0, 3.0)),
    _case("ceil", special=(0.0, -1.0, 1.0, 3.0)),
    _case("round", special=(-0.5, 0.5, 1.5, 2.5)),
    Case("round.decimals", aten.round.decimals, kwargs=(("decimals", 1),), special=(0.05, 0.15, -0.25, 0.3)),
    Case("round.decimals<0", aten.round.decimals, kwargs=(("decimals", -1),), special=(5.0, 15.0, -25.0)),
    _case("trunc", special=(0.0, -1.0, 1.0, 3.0)),
    _case("sign"),
    _case("sgn"),
    _case("heaviside", torch.tensor([[0.25]])),
    *[Case(n, getattr(aten, n).Scalar, (0.5,), special=(0.5,)) for n in ("gt", "ge", "lt", "le", "eq", "ne")],
    *[
        Case(f"{n}-left", getattr(aten, n).Tensor, (torch.tensor([[0.5]]), "x"), special=(0.5,))
        for n in ("gt", "ge", "lt", "le", "eq", "ne")
    ],
]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" in metafunc.fixturenames:
        metafunc.parametrize("case", CASES, ids=lambda c: c.name)


@pytest.fixture
def rules() -> Rules:
    return RULES


@pytest.fixture
def find() -> Callable[[str], Case]:
    return lambda name: next(c for c in CASES if c.name == name)
