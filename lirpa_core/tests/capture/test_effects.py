"""What only reads may be left out; what binds, writes or calls anything else may not."""

import ast
import sys

import pytest
import torch

from lirpa_core.capture.effects import meaning, only_reads


def frame_here(x, names, own):
    return sys._getframe()


FRAME = frame_here(torch.ones(2), [], lambda: True)


@pytest.mark.parametrize(
    "text",
    [
        "x > 3",
        "x.isnan().any()",
        "torch.isfinite(x).all() and not (x > 1).any().item()",
        "torch.linalg.det(x) > 0",
        "bool(x[0] < len(names))",
        "x[names] if names else x",
    ],
)
def test_what_only_reads(text):
    assert only_reads(ast.parse(text, mode="eval").body, FRAME)


@pytest.mark.parametrize(
    "text",
    [
        "(y := x.sum()) > 3",
        "x.add_(1) > 3",
        "names.sort()",
        "names.append(1)",
        "names.max()",
        "own()",
        "torch.abs(x, out=x) > 3",
        "torch.abs(x, **own) > 3",
        "torch.manual_seed(0)",
        "missing.any()",
        "own(x)(x)",
    ],
)
def test_what_may_do_more(text):
    assert not only_reads(ast.parse(text, mode="eval").body, FRAME)


def test_a_name_that_hides_one_of_pythons_own_is_not_trusted():
    def hiding(len):  # noqa: A002
        return sys._getframe()

    assert not only_reads(ast.parse("len(x)", mode="eval").body, hiding(list.append))


@pytest.mark.parametrize(
    ("text", "value"), [("torch.linalg.det", torch.linalg.det), ("ValueError", ValueError)]
)
def test_names_stand_for_what_the_frame_has(text, value):
    assert meaning(ast.parse(text, mode="eval").body, FRAME) is value


@pytest.mark.parametrize("text", ["missing", "missing.part", "torch.missing", "own()"])
def test_what_stands_for_nothing_is_no_class(text):
    assert not isinstance(meaning(ast.parse(text, mode="eval").body, FRAME), (type, torch.Tensor))
