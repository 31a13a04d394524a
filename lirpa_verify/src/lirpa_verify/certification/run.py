"""Running the examples of a question, here, in processes, or on a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from lirpa_verify.answers.accuracy import Certificate, Verdict
from lirpa_verify.certification.file import CertificatesFile
from lirpa_verify.certification.question import Example, Question
from lirpa_verify.errors import CertificationError
from lirpa_verify.running import Failed, Finished, Here, Overran, Runner, Work

#: Examples that travel to another machine together, where they are certified by one captured network.
_GROUP: Final = 8


def run_certification(
    question: Question,
    examples: Sequence[Example],
    *,
    runner: Runner | None = None,
    results: CertificatesFile | None = None,
) -> Iterator[tuple[Example, Certificate]]:
    """Certify examples, those first that a file of results has.

    Args:
        question: The question.
        examples: Which examples at which radii.
        runner: How they are run; default: here, one after the other.
        results: Where certificates go as they come; what is there already is not done again.

    Yields:
        Examples with their certificates, as they come. One whose process failed, also the second time, or was ended
        because it overran its time, is unknown and says why.

    Raises:
        LirpaError: If model, data and question do not fit one another, or a result cannot be written.
    """
    known = {} if results is None else results.certificates
    done = [example for example in examples if example in known]
    yield from [(example, known[example]) for example in done]
    if runner is None:
        runner = Here()
    else:  # a worker on another machine has another working directory
        question = replace(question, model=question.model.resolve(), data=question.data.resolve())
    work = Work(question.opened, question.limit, group=_GROUP)
    for finished in runner.run(work, [example for example in examples if example not in known]):
        certificate = _certificate(finished)
        if results is not None:
            results.append(finished.part, certificate)
        yield finished.part, certificate


def _certificate(finished: Finished) -> Certificate:
    found = finished.answer
    if isinstance(found, Certificate):
        return found
    if isinstance(found, Failed) and found.refused:  # as every other example would be
        raise CertificationError(found.reason)
    if isinstance(found, Overran):
        reason = "ended, because it did not stop by itself"
    else:
        assert isinstance(found, Failed)
        reason = found.reason
    return Certificate(finished.part.index, Verdict.UNKNOWN, finished.seconds, None, reason)
