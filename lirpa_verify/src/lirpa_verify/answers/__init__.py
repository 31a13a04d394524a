"""Answers: a status, what shows it, and how it was found."""

from lirpa_verify.answers.result import Result
from lirpa_verify.answers.statistics import Statistics, Status

__all__ = ["Result", "Statistics", "Status"]
