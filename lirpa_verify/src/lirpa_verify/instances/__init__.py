"""Benchmarks: many instances from a list, their results into a file, resumed where a run was cut off."""

from lirpa_verify.instances.files import Instance, Outcome, ResultsFile, read_instances
from lirpa_verify.instances.run import run_instances

__all__ = ["Instance", "Outcome", "ResultsFile", "read_instances", "run_instances"]
