"""`python -m lirpa_testing.fuzz.rows`: specification rows over random models, judged at corners in balls of 400 bits.

The fuzz looks for what is wrong with wild numbers; this counts how often bounds of rows are right on ordinary ones. A
model is the first of its operators in a seed's stream; its parameters are exact in float32, so that it has bounds in both types.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import random
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from flint import arb, ctx

from lirpa_core import BoundedModule, BoundedTensor
from lirpa_core.errors import LirpaError, SoundnessError
from lirpa_core.methods import Method
from lirpa_testing.fuzz.attack import members
from lirpa_testing.fuzz.balls import Balls
from lirpa_testing.fuzz.case import GROUP, Case, batch, draw_case, perturbation
from lirpa_testing.fuzz.exact import ExactValues
from lirpa_testing.methods.names import few_steps, method_names

_BITS = 400


@dataclass
class Count:
    """What was asked, and what came of it.

    Attributes:
        models: Models.
        rows: Rows that were bounded below and above, by method and type.
        refused: Rows that were refused, by class of the error.
        escapes: What was wrong.
    """

    models: int = 0
    rows: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    escapes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        refused = ", ".join(f"{n} {name}" for name, n in self.refused.most_common()) or "0"
        return f"{self.models} models, {self.rows} rows bounded, escapes: {len(self.escapes)}, refused: {refused}"


def count_rows(
    models: int,
    rows: int,
    *,
    seed: int = 0,
    methods: Sequence[str | Method] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Count:
    """Bound rows over random models by every method in float32 and float64, and look at corners and other points.

    Args:
        models: How many models.
        rows: How many rows over each, for each method and type.
        seed: Of the stream.
        methods: Methods, or their names; by default all.
        say: Receives a line now and then, and each escape.
    """
    count, index, spoken = Count(), 0, time.monotonic()
    while count.models < models:
        case = draw_case(seed, index)
        index += GROUP
        if case.dtype != "float32" or case.program.widths()[-1] == 0:
            continue
        count.models += 1
        _look(case, rows, list(method_names()) if methods is None else methods, count, say)
        if time.monotonic() - spoken > 30:
            spoken = time.monotonic()
            say(str(count))
    return count


def _look(
    case: Case, rows: int, methods: Sequence[str | Method], count: Count, say: Callable[[str], None]
) -> None:
    draw = random.Random(case.to_json())  # noqa: S311 - nothing secret
    width = case.program.widths()[-1]
    C = torch.tensor([[[draw.randint(-64, 64) / 32 for _ in range(width)] for _ in range(rows)]])
    values: list[Balls] | None = None
    for dtype in (torch.float32, torch.float64):
        typed = dataclasses.replace(case, dtype=str(dtype).removeprefix("torch."))
        x = batch([typed], dtype)
        try:
            bounded = BoundedModule(
                dataclasses.replace(typed, own=False, weight=None).model(dtype), x, few_steps()
            )
        except LirpaError as error:  # values that overflow, say
            count.refused[type(error).__name__] += rows * len(methods)
            continue
        for method in methods:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    ball = BoundedTensor(x, perturbation([typed], dtype))
                    lower, upper = bounded.compute_bounds(x=(ball,), C=C.to(dtype), method=method)
            except SoundnessError as error:
                count.escapes.append(f"{typed.to_json()} {method}: {error}")
                say(count.escapes[-1])
                continue
            except LirpaError as error:
                count.refused[type(error).__name__] += rows
                continue
            count.rows += rows
            if values is None:
                plain = dataclasses.replace(case, own=False, weight=None)
                found = members([plain], 0)
                exact = ExactValues([plain], found)
                values = [exact.ball(i) for i in range(len(found))]
            wrong = _outside(lower.detach()[0].tolist(), upper.detach()[0].tolist(), C[0].tolist(), values)
            if wrong is not None:
                count.escapes.append(f"{typed.to_json()} {method}: {wrong}")
                say(count.escapes[-1])


def _outside(
    lower: list[float], upper: list[float], rows: list[list[float]], values: Sequence[Balls]
) -> str | None:
    with ctx.workprec(_BITS):
        for value in values:
            for low, up, row in zip(lower, upper, rows, strict=True):
                exact = sum((arb(c) * v for c, v in zip(row, value, strict=True)), arb(0))
                # Comparisons of balls are true where they are true of all their numbers.
                if exact < arb(low) or exact > arb(up) or math.isnan(low) or math.isnan(up):
                    return f"row {row}: {exact.str(25)} is outside [{low!r}, {up!r}]"
    return None


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 1 if anything was wrong.

    Args:
        arguments: Of the command line; by default the program's.
    """
    parser = argparse.ArgumentParser(
        prog="python -m lirpa_testing.fuzz.rows", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--models", type=int, default=200, help="default: %(default)s")
    parser.add_argument(
        "--rows", type=int, default=60, help="for each model, method and type (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)

    def say(line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    count = count_rows(options.models, options.rows, seed=options.seed, say=say)
    say(str(count))
    return 1 if count.escapes else 0


if __name__ == "__main__":
    raise SystemExit(main())
