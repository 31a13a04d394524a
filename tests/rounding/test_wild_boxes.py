"""What overflows on its way is never returned as a finite bound: every method on boxes up to the largest float32."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.errors import LirpaError, SoundnessError
from lirpa_testing import few_steps
from lirpa_testing.fuzz.case import Case
from lirpa_testing.fuzz.check import check_group
from lirpa_testing.fuzz.operators import OPERATORS
from lirpa_testing.fuzz.program import Program, Step
from lirpa_testing.fuzz.sets import SetSpec

SCALES = (1e12, 3e19, 1e30, 1e38)

#: Whose values are infinite at every scale.
OVERFLOWING = ("exp", "expm1", "sinh", "cosh", "power_of_number")


_ROWS = [[1.0, -1.0], [0.5, 1.0], [2.0, 0.25], [-1.0, 0.5]]


def _in_float32(values: list[float]) -> list[float]:
    found: list[float] = torch.tensor(values).tolist()
    return found


def _numbers(draw: random.Random, shape: tuple[int, ...]) -> object:
    if len(shape) == 0:
        return float(draw.choice((-2, -1, 0.5, 1, 3)))
    return [_numbers(draw, shape[1:]) for _ in range(shape[0])]


@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_every_operator_holds_or_is_refused(name: str, methods: tuple[str, ...]) -> None:
    """A layer of moderate weights before and behind the operator; the values are judged in balls of 400 bits."""
    draw = random.Random(name)
    operator = OPERATORS[name]
    inner = next(
        n for n in (3, 4) if operator.width(*[n] * operator.arity) is not None or name in ("linear", "scale")
    )
    first = Step("linear", (0,), (_ROWS[:inner], [0.5, -1.0, 0.0, 2.0][:inner]))
    parameters = tuple(_numbers(draw, shape) for shape in operator.parameters(draw, [inner] * operator.arity))
    steps = [first, Step(name, (1, 1)[: operator.arity], parameters)]  # type: ignore[arg-type]
    width = Program(2, tuple(steps)).widths()[-1]
    steps.append(Step("linear", (2,), ([[1.0 - 2 * (i % 2) for i in range(width)]], [1.0])))
    cases = []
    for scale in SCALES:
        for share in (1e-6, 1.0):
            x = _in_float32([scale * draw.uniform(-1, 1), scale * draw.uniform(0.1, 1)])
            (eps,) = _in_float32([min(scale * share, 3e38)])
            cases.append(Case(Program(2, tuple(steps)), (x[0], x[1]), SetSpec(float("inf"), eps), "float32"))
    outcomes = [outcome for found in check_group(cases, methods) for outcome in found]
    assert len(outcomes) == len(cases) * len(methods)
    assert not [outcome for outcome in outcomes if outcome.is_finding]
    held = sum(outcome.kind == "held" for outcome in outcomes)
    assert held > 0 or name in OVERFLOWING  # not everything is refused


#: Operators of plugins, on an example of a shape, with what they are in float64.
LAYERS: dict[str, tuple[Callable[[Tensor], Tensor], tuple[int, ...]]] = {
    "convolution": (lambda x: F.conv2d(x, torch.ones(2, 1, 2, 2).to(x)), (1, 3, 3)),
    "transposed": (lambda x: F.conv_transpose2d(x, torch.ones(1, 2, 2, 2).to(x)), (1, 3, 3)),
    "largest": (lambda x: F.max_pool2d(x, 2, 1), (1, 3, 3)),
    "average": (lambda x: F.avg_pool2d(x, 2, 1), (1, 3, 3)),
    "group norm": (lambda x: F.group_norm(x, 1), (2, 2, 2)),
    "resized": (lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"), (1, 2, 2)),
    "rms norm": (lambda x: F.rms_norm(x, (4,), eps=1e-5), (4,)),
    "attention": (lambda x: F.scaled_dot_product_attention(x, x, x), (2, 3)),
    "gate": (lambda x: torch.sigmoid(x[..., :2]) * torch.tanh(x[..., 2:]), (4,)),
    "gated unit": (lambda x: F.silu(x[..., :2]) * x[..., 2:], (4,)),
    "logarithm of softmax": (lambda x: torch.log_softmax(x, -1), (3,)),
    "products": (lambda x: x.unsqueeze(-1) @ x.unsqueeze(-2), (3,)),
    "running product": (lambda x: x.cumprod(-1), (3,)),
}


class _Layer(nn.Module):
    def __init__(self, f: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.f = f

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.f(x).flatten(1)
        return out


@pytest.mark.parametrize("name", LAYERS)
def test_layers_of_plugins_hold_or_are_refused(name: str, methods: tuple[str, ...]) -> None:
    function, shape = LAYERS[name]
    model = _Layer(function).eval()
    generator = torch.Generator().manual_seed(0)
    bounded = BoundedModule(model, torch.ones(1, *shape), {**few_steps(), "tripwire": False})
    for scale in SCALES:
        x = scale * (2 * torch.rand(1, *shape, generator=generator) - 1)
        for eps in (scale * 1e-6, scale * 0.5):
            moves = 2 * torch.rand(64, *shape, generator=generator, dtype=torch.float64) - 1
            moves[:32] = moves[:32].sign()
            exact = model(x.double() + eps * (1 - 1e-7) * moves)
            for method in methods:
                try:
                    found = bounded.compute_bounds(
                        x=BoundedTensor(x, PerturbationLpNorm(eps=eps)), method=method
                    )
                except SoundnessError:
                    raise
                except LirpaError:
                    continue
                lower, upper = found.lower.double(), found.upper.double()
                assert bool(lower.isfinite().all()) and bool(upper.isfinite().all())
                room = 1e-9 * exact.abs()  # the oracle is float64, not exact
                assert bool((lower <= exact + room).all()) and bool((exact - room <= upper).all()), method
