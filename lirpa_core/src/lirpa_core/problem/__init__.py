"""The bound problem: a graph with its perturbed inputs and its constants bound, which every method works on."""

from lirpa_core.problem.evaluation import evaluate_node
from lirpa_core.problem.problem import Problem

__all__ = [
    "Problem",
    "evaluate_node",
]
