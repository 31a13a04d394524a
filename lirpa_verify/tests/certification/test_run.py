"""Certificates are written as they come, in processes as here, and a run that was cut off goes on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lirpa_verify.answers.accuracy import Certificate, Verdict
from lirpa_verify.certification import CertificatesFile, Example, Question, run_certification
from lirpa_verify.errors import CertificationError, InstancesError
from lirpa_verify.running import Failed, Finished, Here, InProcesses, Overran, Work
from torch import nn


@pytest.fixture
def question(relu_net: nn.Module, tmp_path: Path) -> Question:
    x = torch.linspace(-1, 1, 12).reshape(6, 2)
    batch = torch.export.Dim("batch")
    torch.export.save(
        torch.export.export(relu_net, (x,), dynamic_shapes=({0: batch},)), tmp_path / "model.pt2"
    )
    labels = relu_net(x).argmax(1)
    labels[0] = (labels[0] + 1) % 3
    np.savez(tmp_path / "data.npz", x=x.numpy(), y=labels.numpy())
    return Question(tmp_path / "model.pt2", tmp_path / "data.npz", (1e-4, 3.0), torch.inf)


def examples(question: Question) -> list[Example]:
    return [Example(eps, index) for eps in question.radii for index in range(6)]


def verdicts(found: Iterator[tuple[Example, Certificate]]) -> dict[Example, str]:
    return {example: str(certificate.verdict) for example, certificate in found}


class Counting:
    """Runs parts here, and remembers them; cut off after some."""

    def __init__(self, most: int = 100) -> None:
        self.parts: list[Any] = []
        self.most = most

    def run(self, work: Work, parts: Sequence[Any]) -> Iterator[Finished]:
        for one in Here().run(work, parts):
            if len(self.parts) == self.most:
                raise KeyboardInterrupt
            self.parts.append(one.part)
            yield one


def test_processes_say_what_this_one_says(question: Question, tmp_path: Path) -> None:
    here = verdicts(run_certification(question, examples(question)))
    file = CertificatesFile(tmp_path / "out.csv", question)
    beside = verdicts(run_certification(question, examples(question), runner=InProcesses(2), results=file))
    assert beside == here
    assert {here[Example(eps, 0)] for eps in question.radii} == {"wrong"}
    assert {here[Example(1e-4, i)] for i in range(1, 6)} == {"proved"}
    assert "refuted" in {here[Example(3.0, i)] for i in range(1, 6)}
    read = CertificatesFile(tmp_path / "out.csv", question).certificates
    assert {example: str(one.verdict) for example, one in read.items()} == here


def test_a_run_that_was_cut_off_goes_on(question: Question, tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    first = Counting(most=5)
    with pytest.raises(KeyboardInterrupt):
        list(
            run_certification(
                question, examples(question), runner=first, results=CertificatesFile(path, question)
            )
        )
    before = path.read_bytes()
    path.write_bytes(before + b"3.0,2,pro")  # and the machine was cut off while it wrote
    again = Counting()
    found = verdicts(
        run_certification(
            question, examples(question), runner=again, results=CertificatesFile(path, question)
        )
    )
    assert path.read_bytes().startswith(before)
    assert first.parts + again.parts == examples(question)
    assert found == verdicts(run_certification(question, examples(question)))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"timeout": 20.0}, "timeout is 10 there and 20 here"),
        ({"norm": 2.0}, "norm is inf there and 2 here"),
        ({"radii": (1e-4,)}, r"eps is 0.0001/3.0 there and 0.0001 here"),
        (
            {"low": 0.0, "branching": "a, b"},
            "min is None there and 0.0 here; branching is auto there and a, b here",
        ),
        ({"seed": 1}, "seed is 0 there and 1 here"),
    ],
)
def test_a_file_of_another_question_is_refused(
    question: Question, tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    CertificatesFile(tmp_path / "out.csv", question).append(
        Example(1e-4, 0), Certificate(0, Verdict.PROVED, 1.0, "IBP")
    )
    before = (tmp_path / "out.csv").read_bytes()
    with pytest.raises(InstancesError, match=f"another question: {message}"):
        CertificatesFile(tmp_path / "out.csv", replace(question, **changed))
    assert (tmp_path / "out.csv").read_bytes() == before


def test_a_file_of_another_model_or_other_data_is_refused(question: Question, tmp_path: Path) -> None:
    CertificatesFile(tmp_path / "out.csv", question)
    same = tmp_path / "moved.npz"
    same.write_bytes(question.data.read_bytes())
    CertificatesFile(tmp_path / "out.csv", replace(question, data=same))
    same.write_bytes(question.data.read_bytes() + b" ")
    with pytest.raises(InstancesError, match="another question: data is"):
        CertificatesFile(tmp_path / "out.csv", replace(question, data=same))
    with pytest.raises(InstancesError, match="another question: model is"):
        CertificatesFile(tmp_path / "out.csv", replace(question, model=same))


@pytest.mark.parametrize("text", ["my notes\n", "# lirpa certify\n", "a,b/n.onnx,b/p.vnnlib,0,sat,1\n"])
def test_another_file_is_refused_and_not_touched(question: Question, tmp_path: Path, text: str) -> None:
    path = tmp_path / "notes.csv"
    path.write_text(text)
    with pytest.raises(InstancesError, match="is it a file of `lirpa certify --results`"):
        CertificatesFile(path, question)
    assert path.read_text() == text


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Failed("the process ended with code -9"), "the process ended with code -9"),
        (Overran(), "ended, because it did not stop by itself"),
    ],
)
def test_an_example_whose_process_fails_is_unknown_and_says_why(
    question: Question, tmp_path: Path, answer: Any, reason: str
) -> None:
    class Failing:
        def run(self, work: Work, parts: Sequence[Any]) -> Iterator[Finished]:
            return (Finished(part, answer, 0.0, 2.0) for part in parts)

    file = CertificatesFile(tmp_path / "out.csv", question)
    ((_, found),) = run_certification(question, [Example(1e-4, 3)], runner=Failing(), results=file)
    assert found == Certificate(3, Verdict.UNKNOWN, 2.0, None, reason)
    assert CertificatesFile(tmp_path / "out.csv", question).certificates == {Example(1e-4, 3): found}


def test_what_every_example_meets_ends_the_run(question: Question, tmp_path: Path) -> None:
    bad = replace(question, model=tmp_path / "missing.pt2")
    with pytest.raises(CertificationError, match=r"cannot read the model .*missing\.pt2"):
        list(run_certification(bad, examples(question), runner=InProcesses(1)))
