"""{{ cookiecutter.description }}."""

from {{ cookiecutter.module_name }}.functions import Squash, bump, differences, length, pairwise
from {{ cookiecutter.module_name }}.perturbation import PerturbationBrightness

__all__ = ["PerturbationBrightness", "Squash", "bump", "differences", "length", "pairwise"]
