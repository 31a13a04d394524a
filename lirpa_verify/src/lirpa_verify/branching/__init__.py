"""Branching heuristics: small interchangeable objects, found by name through a hook."""

from lirpa_verify.branching.babsr import FSB, BaBSR
from lirpa_verify.branching.boxes import InputBranching, OpenBoxes
from lirpa_verify.branching.gain import Gain, Widest
from lirpa_verify.branching.neurons import NeuronBranching, OpenNeurons
from lirpa_verify.branching.registry import BranchingRegistry, Heuristics, heuristics, hookimpl
from lirpa_verify.branching.sensitivity import Longest, Sensitivity, Smart, halves, sensitivities

__all__ = [
    "FSB",
    "BaBSR",
    "BranchingRegistry",
    "Gain",
    "Heuristics",
    "InputBranching",
    "Longest",
    "NeuronBranching",
    "OpenBoxes",
    "OpenNeurons",
    "Sensitivity",
    "Smart",
    "Widest",
    "halves",
    "heuristics",
    "hookimpl",
    "sensitivities",
]
