"""Branching heuristics: small interchangeable objects, found by name through a hook."""

from lirpa_verify.branching.boxes import InputBranching, OpenBoxes
from lirpa_verify.branching.neurons import Gain, NeuronBranching, OpenNeurons, Widest
from lirpa_verify.branching.registry import BranchingRegistry, hookimpl, input_branching
from lirpa_verify.branching.sensitivity import Longest, Sensitivity, Smart, halves, sensitivities

__all__ = [
    "BranchingRegistry",
    "Gain",
    "InputBranching",
    "Longest",
    "NeuronBranching",
    "OpenBoxes",
    "OpenNeurons",
    "Sensitivity",
    "Smart",
    "Widest",
    "halves",
    "hookimpl",
    "input_branching",
    "sensitivities",
]
