"""Certified accuracy of a data set: every example at every radius a question of its own."""

from lirpa_verify.certification.examples import certify_examples
from lirpa_verify.certification.file import CertificatesFile
from lirpa_verify.certification.question import Example, Question
from lirpa_verify.certification.run import run_certification
from lirpa_verify.certification.sources import load_data, load_model

__all__ = [
    "CertificatesFile",
    "Example",
    "Question",
    "certify_examples",
    "load_data",
    "load_model",
    "run_certification",
]
