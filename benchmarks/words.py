"""IBP under word substitution: positionwise coefficients against dense ones.

Bounds the models of `examples/language/train.py` on random sentences: 32 of 24 words, width and hidden 32, about
half of the words with up to 8 substitutes, budget 6. Both sides take turns in one process; times are the
processor's, the ratio is the median of the turns', and the bounds have to agree.

    python -m benchmarks.words
    python -m benchmarks.words --repeat 9
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from lirpa_core import BoundedModule, BoundedTensor
from lirpa_core.linear.coefficients import Coefficients, DenseCoefficients, SelectedRows
from lirpa_perturbations import PerturbationSynonym

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

from language.train import MODELS  # type: ignore[import-not-found] # found by the line above

BATCH, LENGTH, SUBSTITUTES, WIDTH, BUDGET = 32, 24, 8, 32, 6


@dataclass(frozen=True, eq=False, repr=False)
class Dense(PerturbationSynonym):
    """The same set, without a look at the structure of the coefficients; that of selected elements stays."""

    def concretize(self, x: Tensor, A: Coefficients) -> Tensor:
        return super().concretize(x, A if isinstance(A, SelectedRows) else DenseCoefficients(A.to_dense()))


def compare(kind: str, repeat: int) -> tuple[float, float, float]:
    """CPU seconds of the dense and of the positionwise side, medians, and the median of their ratios."""
    torch.manual_seed(0)
    model = MODELS[kind](LENGTH, WIDTH, WIDTH).eval()
    x = 0.2 * torch.randn(BATCH, LENGTH, WIDTH)
    substitutes = x.unsqueeze(2) + 0.05 * torch.randn(BATCH, LENGTH, SUBSTITUTES, WIDTH)
    mask = (torch.rand(BATCH, LENGTH, SUBSTITUTES) < 0.7) & (torch.rand(BATCH, LENGTH, 1) < 0.5)
    padding = torch.arange(LENGTH) >= torch.randint(8, LENGTH + 1, (BATCH, 1))
    bounded = BoundedModule(model, (x, padding))

    def seconds(kind: type[PerturbationSynonym]) -> tuple[float, Tensor]:
        words = BoundedTensor(x, kind(BUDGET, substitutes, mask))
        start = time.process_time()
        with torch.no_grad():
            lower, upper = bounded.compute_bounds(x=(words, padding), method="IBP")
        return time.process_time() - start, torch.stack([lower, upper])

    turns = []
    for _ in range(repeat + 1):  # the first one warms up
        (slow, expected), (fast, found) = seconds(Dense), seconds(PerturbationSynonym)
        torch.testing.assert_close(found, expected)
        turns.append((slow, fast, slow / fast))
    dense, positionwise, ratio = (statistics.median(column) for column in zip(*turns[1:], strict=True))
    return dense, positionwise, ratio


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeat", type=int, default=5, metavar="N", help="turns (default: %(default)s)")
    settings = parser.parse_args()
    torch.set_num_threads(1)
    table = Table("model", "dense, s", "positionwise, s", "ratio", title="IBP")
    for kind in MODELS:
        dense, positionwise, ratio = compare(kind, settings.repeat)
        table.add_row(kind, f"{dense:.3f}", f"{positionwise:.3f}", f"{ratio:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
