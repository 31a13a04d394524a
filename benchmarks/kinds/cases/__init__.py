"""The cases, a file for each kind."""

from collections.abc import Mapping

from benchmarks.kinds.case import Case
from benchmarks.kinds.cases import (
    bad_input,
    complex_numbers,
    constants,
    control,
    derivatives,
    elementwise,
    images,
    matrices,
    networks,
    order,
    quantised,
    transforms,
    written,
)

#: By title.
KINDS: Mapping[str, tuple[Case, ...]] = {
    "Derivatives inside of the model": derivatives.CASES,
    "Constants": constants.CASES,
    "Functions of numbers": elementwise.CASES,
    "Order, scattering, comparisons": order.CASES,
    "Matrices and norms": matrices.CASES,
    "Complex numbers and Fourier transforms": complex_numbers.CASES,
    "Images": images.CASES,
    "Quantised numbers": quantised.CASES,
    "Transforms of functions": transforms.CASES,
    "Written by hand": written.CASES,
    "Control, reinforcement learning, dynamics": control.CASES,
    "Graphs, vision, language, signals": networks.CASES,
    "Bad input": bad_input.CASES,
}

__all__ = ["KINDS"]
