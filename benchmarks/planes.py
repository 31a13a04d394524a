"""Planes of rules against the best ones: those that lose the least on average among all that hold at samples of the box.

python -m benchmarks.planes --page docs/benchmarks/planes.md
"""

from __future__ import annotations

import argparse
import datetime
import statistics
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import torch
import torch.nn.functional as F
from scipy.optimize import linprog
from torch import Tensor

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm

#: Random boxes for each rule.
BOXES = 24
#: Samples of a box, by the number of its dimensions: of each dimension.
_GRID = {1: 401, 2: 31, 3: 13}
#: From operands `[B]` to a value `[B]`.
Function: TypeAlias = Callable[..., Tensor]


@dataclass(frozen=True)
class Rule:
    """A function, and where boxes of its operands lie.

    Attributes:
        function: From operands `[B]` to `[B]`.
        domain: Least and greatest value of each operand.
        why: Why its planes lose more than one and a half times what the best do; empty where they do not.
    """

    function: Function
    domain: tuple[tuple[float, float], ...]
    why: str = ""


def rule(function: Function, *domain: tuple[float, float], why: str = "") -> Rule:
    """A rule; without a domain, of one operand from −3 to 3."""
    return Rule(function, domain or ((-3.0, 3.0),), why)


_WIDE, _POSITIVE = (-3.0, 3.0), (0.2, 3.0)


def _largest(*x: Tensor) -> Tensor:
    return torch.stack(x, -1)


#: By name.
RULES: Mapping[str, Rule] = {
    **{
        f.__name__: rule(f)
        for f in (
            torch.exp, torch.sin, torch.cos, torch.tanh, torch.sigmoid, torch.atan, torch.erf, torch.square, torch.abs,
            torch.sinh, torch.asinh, torch.relu, F.gelu, F.silu, F.mish, F.softplus, F.elu, F.selu, F.celu, F.leaky_relu, F.softsign,
            F.logsigmoid, F.hardtanh, F.hardsigmoid, F.hardswish, F.softshrink, F.tanhshrink, F.hardshrink, torch.sign, torch.round,
        )
    },
    **{f.__name__: rule(f, _POSITIVE) for f in (torch.log, torch.sqrt, torch.rsqrt, torch.reciprocal, torch.lgamma, torch.log1p)},
    **{f.__name__: rule(f, (-0.95, 0.95)) for f in (torch.asin, torch.acos, torch.atanh, torch.special.erfinv, torch.tan)},
    "entr": rule(torch.special.entr, _POSITIVE),
    "sinc": rule(torch.sinc, _WIDE, why="a sum of 24 cosines, each with its best lines; worst over several lobes"),
    "x³": rule(lambda x: x**3),
    "remainder by 1": rule(lambda x: torch.remainder(x, 1.0)),
    "a · b": rule(torch.mul, _WIDE, _WIDE),
    "a / b": rule(torch.div, _WIDE, _POSITIVE),
    "maximum": rule(torch.maximum, _WIDE, _WIDE),
    "minimum": rule(torch.minimum, _WIDE, _WIDE),
    "largest of three": rule(lambda *x: _largest(*x).amax(-1), *[_WIDE] * 3),
    "median of three": rule(lambda *x: _largest(*x).median(-1).values, *[_WIDE] * 3, why="between a maximum and a minimum of two: no plane of its own"),
    "second of three sorted": rule(lambda *x: _largest(*x).sort(-1).values[..., 0], *[_WIDE] * 3),
    "atan2": rule(torch.atan2, _POSITIVE, _POSITIVE, why="planes of the quotient, then lines of the arc tangent; flat ones where these are better"),
    "atan2, any sign of y": rule(torch.atan2, _WIDE, _POSITIVE, why="as above"),
    "hypot": rule(torch.hypot, _WIDE, _WIDE, why="squares, their sum, and a root"),
    "pow(a, b)": rule(torch.pow, (0.5, 2.0), (0.5, 2.0), why="exp(b · log a)"),
    "xlogy": rule(torch.xlogy, _POSITIVE, _POSITIVE),
    "logaddexp": rule(torch.logaddexp, _WIDE, _WIDE, why="the mean is of one box, where almost nothing is lost"),
    "remainder": rule(torch.remainder, _POSITIVE, _POSITIVE, why="a − b · ⌊a / b⌋, of which b and the floor are one product"),
    "fmod": rule(torch.fmod, _POSITIVE, _POSITIVE, why="as above"),
    "a // b": rule(torch.floor_divide, _POSITIVE, _POSITIVE, why="planes of the quotient, then lines of a staircase"),
    "a > b": rule(lambda a, b: (a > b).to(a.dtype), _WIDE, _WIDE),
    "where(a > 0, b, −b)": rule(lambda a, b: torch.where(a > 0, b, -b), _WIDE, _WIDE),
    "PReLU": rule(torch.ops.aten._prelu_kernel.default, _WIDE, (0.0, 1.0), why="max(a, 0) + b · min(a, 0): a kink and a product, each by itself"),
    "clamp(a, max=b)": rule(lambda a, b: torch.clamp(a, max=b), _WIDE, _WIDE),
    "sigmoid(a) · tanh(b)": rule(lambda a, b: torch.sigmoid(a) * torch.tanh(b), _WIDE, _WIDE),
    "sigmoid(a) · b": rule(lambda a, b: torch.sigmoid(a) * b, _WIDE, _WIDE),
    "silu(a) · b": rule(lambda a, b: F.silu(a) * b, _WIDE, _WIDE),
    "softmax, first of two": rule(lambda *x: _largest(*x).softmax(-1)[..., 0], _WIDE, _WIDE, why="planes that hold for any number of scores"),
    "softmax, first of three": rule(lambda *x: _largest(*x).softmax(-1)[..., 0], *[_WIDE] * 3),
    "logsumexp of two": rule(lambda *x: _largest(*x).logsumexp(-1), _WIDE, _WIDE, why="as logaddexp"),
    "length one, first of two": rule(lambda *x: F.normalize(_largest(*x), dim=-1)[..., 0], _WIDE, _WIDE, why="the element times an inverse length; worst where the box reaches the origin"),
    "layer norm, first of three": rule(lambda *x: F.layer_norm(_largest(*x), (3,))[..., 0], *[_WIDE] * 3, why="likewise, of what the mean leaves"),
    "a · b · c": rule(lambda a, b, c: a * b * c, *[_WIDE] * 3),
    "complex |a + ib|": rule(lambda a, b: torch.complex(a, b).abs(), _WIDE, _WIDE, why="as hypot"),
}  # fmt: skip


def boxes(rule: Rule, count: int = BOXES) -> tuple[Tensor, Tensor]:
    """Random boxes of every width: lower and upper ends, `[count, n]`."""
    generator = torch.Generator().manual_seed(0)
    low, high = (torch.tensor(ends, dtype=torch.float64) for ends in zip(*rule.domain, strict=True))
    ends = torch.rand(2, count, len(low), generator=generator, dtype=torch.float64)
    share = torch.rand(count, 1, generator=generator, dtype=torch.float64).clamp(min=0.05)
    start = low + (high - low) * (1 - share) * ends[0]
    return start, start + (high - low) * share


def gaps(rule: Rule) -> list[tuple[float, float]]:
    """For each box the mean gap between the rule's planes, and between the best ones."""
    lower, upper = boxes(rule)
    n = lower.shape[1]

    def model(x: Tensor) -> Tensor:
        return rule.function(*x.unbind(-1)).unsqueeze(-1)

    bounded = BoundedModule(model, lower)
    ball = BoundedTensor((lower + upper) / 2, PerturbationLpNorm(x_L=lower, x_U=upper))
    with torch.no_grad():
        result = bounded.compute_bounds(x=(ball,), method="CROWN", return_A=True)
    (planes,) = [next(iter(of.values())) for of in (result.A or {}).values()]
    sides = [(planes[f"{side}A"].reshape(-1, n), planes[f"{side}bias"].reshape(-1)) for side in "lu"]
    steps = torch.linspace(0, 1, _GRID[n], dtype=torch.float64)
    unit = torch.cartesian_prod(*[steps] * n).reshape(-1, n)
    found = []
    for i, (low, up) in enumerate(zip(lower, upper, strict=True)):
        x = low + (up - low) * unit  # [N, n]
        values = model(x).squeeze(-1)
        below, above = ((x @ A[i] + b[i]).mean() for A, b in sides)
        best = float(_best(x, values, 1) - _best(x, values, -1))
        found.append((float(above - below), best))
    return found


def _best(x: Tensor, values: Tensor, side: int) -> float:
    """The mean of the plane above (1) or below (−1) all values that is least far from them, by a linear program."""
    rows = torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], 1)
    cost = rows.mean(0)
    solved = linprog(
        side * cost.numpy(),
        A_ub=(-side * rows).numpy(),
        b_ub=(-side * values).numpy(),
        bounds=(None, None),
        method="highs",
    )
    return float(side * solved.fun)


def ratio(found: list[tuple[float, float]]) -> tuple[float, float]:
    """The mean and the largest ratio of gaps, over boxes on which the best planes do not meet."""
    least = 1e-3 * max(best for _, best in found)
    ratios = [own / best for own, best in found if best > least] or [1.0]
    return statistics.fmean(ratios), max(ratios)


def rows() -> Iterator[str]:
    """The table, line by line."""
    yield "| rule | operands | mean | largest | why |"
    yield "|---|---|---|---|---|"
    for name, each in RULES.items():
        mean, most = ratio(gaps(each))
        line = f"| {name} | {len(each.domain)} | {mean:.2f} | {most:.2f} | {each.why} |"
        print(line, flush=True)
        yield line


def page() -> str:
    """The page of the documentation."""
    head = (
        f"`python -m benchmarks.planes --page docs/benchmarks/planes.md` wrote this page on {datetime.date.today()}. For "
        f"{BOXES} random boxes of every width a linear program finds the planes below and above a dense grid of values that lose the least on "
        "average; the table has the mean gap between the rule's two planes as a multiple of theirs: 1 is the best that there is "
        "(a little less is the grid, between whose points values may lie outside). These are CROWN's first planes; α-CROWN moves them."
    )
    return "\n".join(["# Planes of rules against the best", "", head, "", *rows(), ""])


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", type=Path, help="write the page here")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    text = page()
    if arguments.page is not None:
        arguments.page.write_text(text)


if __name__ == "__main__":
    main()
