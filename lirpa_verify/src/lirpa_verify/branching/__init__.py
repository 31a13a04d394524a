"""Branching heuristics: small interchangeable objects, found by name through a hook."""

from lirpa_verify.branching.boxes import InputBranching, OpenBoxes
from lirpa_verify.branching.registry import BranchingRegistry, hookimpl, input_branching
from lirpa_verify.branching.sensitivity import Longest, Sensitivity, Smart, halves, sensitivities

__all__ = [
    "BranchingRegistry",
    "InputBranching",
    "Longest",
    "OpenBoxes",
    "Sensitivity",
    "Smart",
    "halves",
    "hookimpl",
    "input_branching",
    "sensitivities",
]
