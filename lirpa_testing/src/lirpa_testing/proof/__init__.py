"""Proofs for unary rules, in ball arithmetic."""

from lirpa_testing.proof.jets import Jet
from lirpa_testing.proof.oracle import Joined, Oracle, Piece, Piecewise, Smooth, Stairs, constant, line
from lirpa_testing.proof.prove import (
    ALLOWED_ULPS,
    Finding,
    GivenOracle,
    UnaryProof,
    bounds_of,
    prove_bounds,
    prove_unary,
    resolve,
)
from lirpa_testing.proof.subdivide import Line, Proved, Refuted, Undecided
from lirpa_testing.proof.table import ORACLES, Arguments

__all__ = [
    "ALLOWED_ULPS",
    "ORACLES",
    "Arguments",
    "Finding",
    "GivenOracle",
    "Jet",
    "Joined",
    "Line",
    "Oracle",
    "Piece",
    "Piecewise",
    "Proved",
    "Refuted",
    "Smooth",
    "Stairs",
    "UnaryProof",
    "Undecided",
    "bounds_of",
    "constant",
    "line",
    "prove_bounds",
    "prove_unary",
    "resolve",
]
