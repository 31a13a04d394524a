"""The file of a run of certification: the question, and a row for each example at each radius."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote

from lirpa_verify.answers.accuracy import Certificate, Verdict
from lirpa_verify.certification.question import Example, Question
from lirpa_verify.errors import InstancesError
from lirpa_verify.running import RowsFile

_COLUMNS: Final = ["eps", "example", "verdict", "seconds", "decided_by", "error"]

#: What the first row begins with; the question follows, a word for each part of it.
_TITLE: Final = "# lirpa certify"


class CertificatesFile:
    """A file of certificates, each on the disk before the next is computed.

    Args:
        path: The file; it is made where it does not exist.
        question: The question whose answers it has.

    Attributes:
        certificates: What it has.

    Raises:
        InstancesError: If it cannot be read or written, is no such file, or answers another question.
    """

    def __init__(self, path: str | Path, question: Question) -> None:
        self._file = RowsFile(path)
        asked = question.described()
        rows = self._file.rows
        if rows:
            self._refuse_others(rows[0], asked)
        found = [self._parse(number, row) for number, row in enumerate(rows[2:], 3)]
        self.certificates: dict[Example, Certificate] = dict(found)
        self._file.begin()
        if not rows:
            self._file.append(
                [" ".join([_TITLE, *(f"{key}={quote(v, safe='/')}" for key, v in asked.items())])]
            )
        if len(rows) < 2:
            self._file.append(_COLUMNS)

    def _refuse_others(self, first: Sequence[str], asked: Mapping[str, str]) -> None:
        text = first[0] if len(first) == 1 else ""
        if not text.startswith(f"{_TITLE} "):
            raise InstancesError(
                f"{self._file.path} does not begin with '{_TITLE}'; is it a file of `lirpa certify --results`?"
            )
        words = dict(word.partition("=")[::2] for word in text.removeprefix(_TITLE).split())
        other = {key: unquote(value) for key, value in words.items()}
        differences = [
            f"{key} is {other.get(key)} there and {asked.get(key)} here"
            for key in dict.fromkeys([*asked, *other])
            if other.get(key) != asked.get(key)
        ]
        if differences:
            raise InstancesError(
                f"{self._file.path} has the answers to another question: {'; '.join(differences)}. Give another file, "
                f"or ask the question that it answers."
            )

    def _parse(self, number: int, row: Sequence[str]) -> tuple[Example, Certificate]:
        try:
            eps, index, verdict, seconds, decided_by, error = row
            certificate = Certificate(
                int(index), Verdict(verdict), float(seconds), decided_by or None, error or None
            )
            return Example(float(eps), int(index)), certificate
        except ValueError as error:
            raise InstancesError(
                f"{self._file.path}, line {number}: expected {', '.join(_COLUMNS)}, got {row}"
            ) from error

    def append(self, example: Example, certificate: Certificate) -> None:
        """Add a certificate, and see it on the disk.

        Raises:
            InstancesError: If it cannot be written; the certificates before stay whole.
        """
        self._file.append(
            [
                repr(example.eps),
                str(example.index),
                certificate.verdict.value,
                f"{certificate.seconds:.3f}",
                certificate.decided_by or "",
                certificate.error or "",
            ]
        )
        self.certificates[example] = certificate
