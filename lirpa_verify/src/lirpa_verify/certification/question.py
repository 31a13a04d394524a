"""What a run of certification asks: of which files, in which norm, at which radii, with which settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lirpa_core import PerturbationLpNorm
from lirpa_core.errors import InputError
from lirpa_verify.answers.accuracy import Certificate
from lirpa_verify.certification.examples import Certifier
from lirpa_verify.certification.sources import load_data, load_model
from lirpa_verify.digests import digest_of
from lirpa_verify.ladder.standard import AUTO


@dataclass(frozen=True)
class Example:
    """A part of the question: one example at one radius."""

    eps: float
    index: int


@dataclass(frozen=True)
class Question:
    """Which examples keep their class when they move within a ball.

    Attributes:
        model: File of the model.
        data: File of the data set.
        radii: The radii, ascending.
        norm: The norm of the ball.
        low: Least value of valid inputs.
        high: Greatest value of valid inputs.
        timeout: Seconds for an example.
        seed: Fixes everything that is random.
        branching: Name of a branching heuristic.
    """

    model: Path
    data: Path
    radii: tuple[float, ...]
    norm: float
    low: float | None = None
    high: float | None = None
    timeout: float = 10.0
    seed: int = 0
    branching: str = AUTO

    def ball(self, eps: float) -> PerturbationLpNorm:
        """The ball of a radius around each example, cut to the limits of valid inputs."""
        return PerturbationLpNorm(eps=eps, norm=self.norm, x_L=self.low, x_U=self.high)

    def opened(self) -> Callable[[Example], Certificate]:
        """Load the model and the data, and give the function that certifies an example.

        Raises:
            LirpaError: If they cannot be read, or do not fit one another or the question.
        """
        for eps in self.radii:
            self.ball(eps)  # refuses a wrong one before anything runs
        x, y = load_data(self.data)
        model = load_model(self.model)
        certifier = Certifier(model, x, y, timeout=self.timeout, seed=self.seed, branching=self.branching)
        return lambda example: certifier.certify(example.index, self.ball(example.eps))

    def limit(self, _: Example) -> float:
        """Seconds for an example."""
        return self.timeout

    def described(self) -> Mapping[str, str]:
        """The question in words by which files of results tell questions apart: files by what is in them.

        Raises:
            InputError: If a file cannot be read.
        """
        return {
            "model": _digest(self.model),
            "data": _digest(self.data),
            "norm": f"{self.norm:g}",
            "eps": "/".join(repr(eps) for eps in self.radii),
            "min": str(self.low),
            "max": str(self.high),
            "timeout": f"{self.timeout:g}",
            "seed": str(self.seed),
            "branching": self.branching,
        }


def _digest(path: Path) -> str:
    try:
        return digest_of(path)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error}") from error
