"""The fuzz passes what is right, and catches a method and a rule that are wrong by little."""

from __future__ import annotations

import dataclasses
import itertools
import random
import runpy
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import flint
import pytest
import torch

from lirpa_core.methods import CROWN, IBP, RowBounds
from lirpa_testing.fuzz import log
from lirpa_testing.fuzz.__main__ import main
from lirpa_testing.fuzz.attack import points
from lirpa_testing.fuzz.case import Case, draw_case
from lirpa_testing.fuzz.check import Outcome, check_case
from lirpa_testing.fuzz.operators import OPERATORS
from lirpa_testing.fuzz.plugin_sets import KINDS, PluginSet
from lirpa_testing.fuzz.program import Program, Step
from lirpa_testing.fuzz.rows import count_rows
from lirpa_testing.fuzz.run import run
from lirpa_testing.fuzz.sets import SetSpec
from lirpa_testing.fuzz.shrink import script, shrink

pytestmark = pytest.mark.slow

LINE = Case(
    Program(2, (Step("linear", (0,), ([[1.0, -2.0], [0.5, 3.0]], [0.25, -1.0])), Step("tanh", (1,)))),
    (0.5, -0.25),
    SetSpec(float("inf"), 0.125),
    "float64",
)


@dataclass(frozen=True)
class SlightlyTooTight(CROWN):
    """Moves bounds inward by far less than what float32 shows."""

    def bound_rows(self, *arguments: Any, **options: Any) -> RowBounds:
        found = super().bound_rows(*arguments, **options)
        assert found.lower is not None and found.upper is not None
        return dataclasses.replace(found, lower=found.lower + 1e-12, upper=found.upper - 1e-12)


@dataclass(frozen=True)
class Breaks(IBP):
    """Raises what no user should see."""

    def bound_rows(self, *arguments: Any, **options: Any) -> RowBounds:
        raise IndexError("out of range")


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("seed", range(3))
def test_both_meanings_of_an_operator_are_one(name: str, seed: int) -> None:
    """PyTorch's function and that of balls, at random points."""
    draw = random.Random(seed)
    operator, width = OPERATORS[name], 4
    shapes = operator.parameters(draw, [width])
    generator = torch.Generator().manual_seed(seed)
    parameters = tuple(torch.randn(*s, generator=generator, dtype=torch.float64).tolist() for s in shapes)
    first = Step("linear", (0,), (torch.eye(width).tolist(), [0.25, -1.5, 3.0, 0.5]))
    program = Program(width, (first, Step(name, (1, 0)[: operator.arity], parameters)))
    x = torch.randn(1, width, generator=generator, dtype=torch.float64) * 2
    value = program.module(torch.float64)(x)[0]
    with flint.ctx.workprec(200):
        exact = program.exact([Fraction(v) for v in x[0].tolist()])
    assert program.widths()[-1] == len(exact) == len(value)
    for v, e in zip(value.tolist(), exact, strict=True):
        assert v == pytest.approx(float(e), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("index", range(12))
def test_points_belong_to_the_ball(index: int) -> None:
    case = next(c for c in _stream(7 + index) if isinstance(c.region, SetSpec))
    region = case.region
    assert isinstance(region, SetSpec)
    for point in points(case, 0):
        if region.lower is not None and region.upper is not None:
            assert all(
                Fraction(a) <= v <= Fraction(b)
                for a, v, b in zip(region.lower, point, region.upper, strict=True)
            )
        if region.eps is not None:
            with flint.ctx.workprec(200):
                moves = [abs(v - Fraction(c)) for v, c in zip(point, case.x, strict=True)]
                assert max(moves) <= Fraction(region.eps)
                if region.norm in (1.0, 2.0):
                    assert sum(m ** int(region.norm) for m in moves) <= Fraction(region.eps) ** int(
                        region.norm
                    )


def _stream(seed: int) -> Iterator[Case]:
    """One network of each structure of a stream."""
    return (draw_case(seed, 16 * i) for i in itertools.count())


@pytest.mark.parametrize("name", KINDS)
def test_points_belong_to_the_set_of_a_plugin(name: str) -> None:
    """As the set itself says, in float64; and there is more than the nominal point."""
    several = 0
    for case in itertools.islice((c for c in _stream(5) if getattr(c.region, "name", "") == name), 4):
        assert isinstance(case.region, PluginSet)
        x = case.batch(torch.float64)
        found = points(case, 0)
        several += len(set(found)) > 1
        z = torch.tensor([[float(v) for v in point] for point in found], dtype=torch.float64)
        assert bool(case.region.perturbation(torch.float64).contains(x, z.reshape(-1, *x.shape)).all())
    assert several


def test_ellipsoids_and_polytopes_hold_their_members_exactly() -> None:
    """In rational numbers, as the definition says."""
    matrix, x, z = [[2.0, 1.0], [1.0, 3.0]], (Fraction(1), Fraction(0)), (Fraction(5), Fraction(-4))
    inside = KINDS["ellipsoid"].inside
    assert inside is not None
    a, b = (v - c for v, c in zip(inside({"covariance": matrix, "eps": 0.5}, x, z), x, strict=True))
    # The inverse is [[3, −1], [−1, 2]] / 5.
    size = (3 * a * a - 2 * a * b + 2 * b * b) / 5
    assert Fraction(0.5) ** 2 * (1 - Fraction(1, 2**30)) < size <= Fraction(0.5) ** 2
    cut = KINDS["linear_constraints"].inside
    assert cut is not None
    options = {"A": [[1.0, 1.0]], "b": [1.25], "low": [0.5, -1.0], "up": [2.0, 2.0]}
    assert cut(options, x, (Fraction(3), Fraction(3))) == (1 + Fraction(1, 12), Fraction(1, 6))


@pytest.mark.parametrize("kind", [*KINDS, "batch", "weight"])
def test_a_wrong_method_escapes_on_every_set(kind: str) -> None:
    """Bounds that are a tenth of their width too tight."""
    for case in _stream(5):
        found = {
            getattr(case.region, "name", ""),
            "batch" * bool(case.more),
            "weight" * (case.weight is not None),
        }
        if kind not in found:
            continue
        (right,), (wrong,) = check_case(case, ["CROWN"]), check_case(case, [Inward()])
        assert right.kind in ("held", "refused")
        if wrong.kind == "escape":
            return


def test_a_case_is_text_and_back() -> None:
    for index in range(200):
        case = draw_case(3, index)
        assert Case.from_json(case.to_json()) == case


def test_right_methods_hold() -> None:
    assert [o.kind for o in check_case(LINE, ["IBP", "CROWN"])] == ["held", "held"]


def test_a_wrong_method_escapes_and_a_crash_is_seen() -> None:
    escaped, crashed = check_case(LINE, [SlightlyTooTight(), Breaks()])
    assert escaped.kind == "escape" and crashed.kind == "crash"
    assert crashed.what == "IndexError"


def test_a_wrong_rounding_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Intervals that do not move outward at all, as if float64 were exact."""
    monkeypatch.setattr(
        "lirpa_core.methods.traversal.outward_interval",
        lambda problem, name, inputs: problem.rules[name].interval(problem.calls[name], inputs),
    )
    outcomes = [o for index in range(12) for o in check_case(draw_case(1, index), ["IBP"])]
    assert any(o.kind == "escape" for o in outcomes)


def test_refusals_are_no_findings() -> None:
    wrong = dataclasses.replace(LINE, x=(float("nan"), 0.0))
    (outcome,) = check_case(wrong, ["IBP"])
    assert outcome.kind == "refused" and not outcome.is_finding


def test_shrinking_leaves_what_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    long = Program(2, (*LINE.program.steps, Step("sin", (2,)), Step("exp", (3,)), Step("add", (4, 1))))
    small = shrink(
        dataclasses.replace(LINE, program=long), lambda c: any(s.operator == "exp" for s in c.program.steps)
    )
    assert [s.operator for s in small.program.steps] == ["exp"]
    path = tmp_path / "found.py"
    path.write_text(script(small, "IBP", "what was found"))
    runpy.run_path(str(path))
    assert "held" in capsys.readouterr().out


def test_a_run_resumes_and_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "log.jsonl"
    for _ in range(2):
        assert run(path, seed=5, seconds=60, methods=["IBP"], cases=2) == 0
    with path.open("a") as file:
        file.write('{"seed": 5, "ind')  # a run that was killed
    assert [line["index"] for line in log.lines(path)] == [0, 1, 2, 3]
    assert log.next_index(path, 5) == 4 and log.next_index(path, 6) == 0
    assert log.summary(path).startswith("4 cases (4 networks")
    with pytest.raises(SystemExit):
        main(["--minutes", "0", "--seed", "5", "--log", str(path)])
    assert main(["--minutes", "0", "--seed", "5", "--log", str(path), "--resume"]) == 0
    assert "escape: 0" in capsys.readouterr().out


def test_findings_are_written_beside_the_log(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    found = run(path, seed=5, seconds=60, methods=[Breaks()], cases=1, say=lambda _: None)
    assert found == 1 and (tmp_path / "log-5-0.py").exists()
    log.append(path, 5, 1, "float32", [Outcome("IBP", "refused", "DomainError", "")])
    assert "DomainError" in log.summary(path)


def test_rows_are_counted_and_judged() -> None:
    right = count_rows(2, 5, seed=3, methods=["IBP", "CROWN"])
    assert (right.models, right.rows, right.escapes) == (2, 2 * 5 * 2 * 2, [])
    said: list[str] = []
    wrong = count_rows(2, 5, seed=3, methods=[Inward()], say=said.append)
    assert wrong.escapes and said == wrong.escapes
    assert "escapes: 0" in str(right) and "escapes: 0" not in str(wrong)


@dataclass(frozen=True)
class Inward(CROWN):
    """Moves bounds inward by a tenth of their width."""

    def bound_rows(self, *arguments: Any, **options: Any) -> RowBounds:
        found = super().bound_rows(*arguments, **options)
        assert found.lower is not None and found.upper is not None
        share = (found.upper - found.lower) * 0.45
        return dataclasses.replace(found, lower=found.lower + share, upper=found.upper - share)
