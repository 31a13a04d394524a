"""Answers: a status, what shows it, and how it was found."""

from lirpa_verify.answers.result import Result, Statistics, Status

__all__ = ["Result", "Statistics", "Status"]
