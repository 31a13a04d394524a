"""VNN-LIB texts of both versions mean what they say."""

from __future__ import annotations

import gzip
import random
from fractions import Fraction
from pathlib import Path

import pytest
from lirpa_verify.errors import PropertyError
from lirpa_verify.vnnlib import Query, parse_vnnlib, read_vnnlib

OLD = (
    "(declare-const X_0 Real)\n(declare-const X_1 Real)\n(declare-const Y_0 Real)\n(declare-const Y_1 Real)\n"
)
NEW = "(vnnlib-version <2.0>)\n(declare-network N (declare-input X float32 [1, 2]) (declare-output Y float32 [2]))\n"
BOX = "(assert (>= X_0 -1)) (assert (<= X_0 1)) (assert (>= X_1 0.1)) (assert (<= X_1 2e-1))\n"
NEW_BOX = "(assert (>= X[0, 0] -1.0)) (assert (<= X[0, 0] 1.0)) (assert (>= X[0, 1] 0.1)) (assert (<= X[0, 1] 0.2))\n"


def reaches(query: Query, x: list[Fraction], y: list[Fraction]) -> bool:
    """Whether a point is a violation."""
    return any(
        all(low <= v <= high for low, v, high in zip(case.box.lower, x, case.box.upper, strict=True))
        and any(all(i.holds(y, x) for i in c) for c in case.property.violations)
        for case in query.cases
    )


def points() -> list[tuple[list[Fraction], list[Fraction]]]:
    rng = random.Random(0)
    grid = [Fraction(i, 4) for i in range(-6, 7)] + [Fraction(1, 10), Fraction(3, 20), Fraction(1, 5)]
    return [([rng.choice(grid) for _ in range(2)], [rng.choice(grid) for _ in range(2)]) for _ in range(400)]


def inside(x: list[Fraction]) -> bool:
    return -1 <= x[0] <= 1 and Fraction(1, 10) <= x[1] <= Fraction(1, 5)


CASES = [
    ("(assert (<= Y_0 Y_1))", "(assert (<= Y[0] Y[1]))", lambda x, y: y[0] <= y[1]),
    ("(assert (< Y_0 Y_1))", "(assert (< Y[0] Y[1]))", lambda x, y: y[0] < y[1]),
    (
        "(assert (or (and (>= Y_0 0.5) (<= X_0 0.25)) (and (> Y_1 Y_0))))",
        "(assert (or (and (>= Y[0] 0.5) (<= X[0, 0] 0.25)) (and (> Y[1] Y[0]))))",
        lambda x, y: (y[0] >= Fraction(1, 2) and x[0] <= Fraction(1, 4)) or y[1] > y[0],
    ),
    (
        "(assert (>= (+ (* 2.0 Y_0) (- X_0 Y_1) -0.25) (* -1.0 X_1)))",
        "(assert (>= (+ (* 2.0 Y[0]) (- X[0, 0] Y[1]) -0.25) (* -1.0 X[0, 1])))",
        lambda x, y: 2 * y[0] + x[0] - y[1] - Fraction(1, 4) >= -x[1],
    ),
    ("(assert (== Y_0 0.25))", "(assert (== Y[0] 0.25))", lambda x, y: y[0] == Fraction(1, 4)),
    ("(assert (>= Y_0 -2.5e-1))", "(assert (>= Y[0] -0.25))", lambda x, y: y[0] >= Fraction(-1, 4)),
    (
        "(assert (or (and (< X_0 0.5) (>= Y_0 0)) (and (>= X_0 0.5) (>= Y_1 0))))",
        "(assert (or (and (< X[0, 0] 0.5) (>= Y[0] 0.0)) (and (>= X[0, 0] 0.5) (>= Y[1] 0.0))))",
        lambda x, y: (x[0] < Fraction(1, 2) and y[0] >= 0) or (x[0] >= Fraction(1, 2) and y[1] >= 0),
    ),
]


@pytest.mark.parametrize(("old", "new", "meaning"), CASES)
def test_both_versions_mean_what_they_say(old: str, new: str, meaning: object) -> None:
    queries = [parse_vnnlib(OLD + BOX + old), parse_vnnlib(NEW + NEW_BOX + new)]
    answers = [meaning(x, y) and inside(x) for x, y in points()]  # type: ignore[operator]
    assert any(answers)
    for query in queries:
        assert [reaches(query, x, y) for x, y in points()] == answers


def test_limits_are_the_decimals_of_the_file() -> None:
    (case,) = parse_vnnlib(OLD + BOX + "(assert (<= Y_0 Y_1))").cases
    assert case.box.lower == (Fraction(-1), Fraction(1, 10))
    assert case.box.upper == (Fraction(1), Fraction(1, 5))


def test_a_disjunction_over_boxes_has_a_case_for_each() -> None:
    boxes = "(assert (or (and (>= X_0 0) (<= X_0 1) (>= Y_0 0)) (and (>= X_0 3) (<= X_0 4) (>= Y_1 0))))"
    query = parse_vnnlib(OLD + "(assert (>= X_1 0)) (assert (<= X_1 1))" + boxes)
    assert [(c.box.lower[0], c.box.upper[0]) for c in query.cases] == [(0, 1), (3, 4)]


def test_comments_and_old_function_declarations_are_read() -> None:
    text = (OLD + BOX).replace("(declare-const X_0 Real)", "; an input\n(declare-fun X_0 () Real) ; (assert")
    assert parse_vnnlib(text + "(assert (<= Y_0 Y_1))").inputs == 2


def test_gzipped_files_are_read(tmp_path: Path) -> None:
    path = tmp_path / "p.vnnlib.gz"
    path.write_bytes(gzip.compress((OLD + BOX + "(assert (<= Y_0 Y_1))").encode()))
    assert read_vnnlib(path).outputs == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (OLD + BOX + "(assert (<= Y_7 0))", r"Y\[7\]"),
        (OLD + BOX + "(assert (<= Z_0 0))", "Z_0"),
        (OLD + BOX + "(assert (<= (* Y_0 Y_1) 0))", "multiplies variables"),
        (
            OLD + "(assert (>= X_0 0)) (assert (<= Y_0 0))",
            "input 0 has no upper limit|input 1 has no lower limit",
        ),
        (OLD + BOX + "(assert (>= X_0 5)) (assert (<= Y_0 0))", "set of inputs is empty"),
        (OLD + BOX, "at least one inequality"),
        ("(declare-const A Real)", "expected inputs X_0"),
        ("not a property", "declares no input"),
        (OLD + BOX + "(assert (<= Y_0", "syntax error"),
        (OLD + BOX + "(assert (<= Y_0 1e400))", "too large for a double"),
        (OLD + BOX + "(assert (<= Y_0 1e-400))", "too small for a normal one"),
    ],
)
def test_what_cannot_be_used_is_named(text: str, message: str) -> None:
    with pytest.raises(PropertyError, match=message):
        parse_vnnlib(text)


@pytest.mark.parametrize("data", [b"\x1f\x8bnonsense", b"\xff\xfe\x00"])
def test_corrupt_files_are_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "p.vnnlib.gz"
    path.write_bytes(data)
    with pytest.raises(PropertyError, match="cannot read"):
        read_vnnlib(path)


@pytest.mark.parametrize(
    ("comparison", "turned"), [("<=", ">="), (">=", "<="), ("<", ">"), (">", "<"), ("==", "=="), ("!=", "!=")]
)
@pytest.mark.parametrize("variable", ["X_1", "Y_1"])
def test_a_variable_may_stand_on_either_side_of_its_limit(
    variable: str, comparison: str, turned: str
) -> None:
    one, other = (
        parse_vnnlib(f"{OLD}{BOX}(assert (>= Y_0 Y_1)) (assert ({c} {a} {b}))")
        for c, a, b in ((comparison, variable, "0.15"), (turned, "0.15", variable))
    )
    position = int(variable[0] == "Y")
    for point in points():
        value = point[position][1]
        meant = {"<=": value <= Fraction(3, 20), ">=": value >= Fraction(3, 20), "<": value < Fraction(3, 20),
                 ">": value > Fraction(3, 20), "==": value == Fraction(3, 20), "!=": value != Fraction(3, 20)}[comparison]  # fmt: skip
        meant = meant and inside(point[0]) and point[1][0] >= point[1][1]
        assert reaches(one, *point) == reaches(other, *point) == meant
