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
import numpy as np
import pytest
import torch

from lirpa_core import BoundedModule, BoundedTensor
from lirpa_core.methods import CROWN, IBP, RowBounds
from lirpa_testing.fuzz import log
from lirpa_testing.fuzz.__main__ import main
from lirpa_testing.fuzz.attack import Member, members
from lirpa_testing.fuzz.case import (
    GROUP,
    Case,
    batch,
    draw_case,
    draw_group,
    parameters,
    perturbation,
)
from lirpa_testing.fuzz.check import Outcome, check_case, check_group
from lirpa_testing.fuzz.enclosures import Enclosure
from lirpa_testing.fuzz.exact import ExactValues
from lirpa_testing.fuzz.methods import Drawn, DrawnSlopes, fuzzed_methods, method_of
from lirpa_testing.fuzz.operators import OPERATORS
from lirpa_testing.fuzz.plugin_sets import KINDS, PluginSet
from lirpa_testing.fuzz.program import Program, Step
from lirpa_testing.fuzz.rows import count_rows
from lirpa_testing.fuzz.run import run
from lirpa_testing.fuzz.sets import SetSpec
from lirpa_testing.fuzz.shrink import fewest, script, shrink

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


@dataclass(frozen=True)
class WrongInABatch(IBP):
    """Bounds are right of one example alone, and of others those of the first."""

    def bound_rows(self, *arguments: Any, **options: Any) -> RowBounds:
        found = super().bound_rows(*arguments, **options)
        assert found.lower is not None and found.upper is not None
        return dataclasses.replace(
            found,
            lower=found.lower[:, :1].expand_as(found.lower),
            upper=found.upper[:, :1].expand_as(found.upper),
        )


def points(case: Case) -> list[tuple[Fraction, ...]]:
    return [member.point for member in members([dataclasses.replace(case, weight=None)], 0)]


@pytest.mark.parametrize("name", OPERATORS)
def test_all_meanings_of_an_operator_are_one(name: str) -> None:
    """PyTorch's function, with shared parameters and with own ones, that of balls, and enclosures, at random points."""
    operator, width = OPERATORS[name], 4
    generator = torch.Generator().manual_seed(len(name))

    def drawn(*shape: int) -> Any:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).tolist()

    first = Step("linear", (0,), (torch.eye(width).tolist(), [0.25, -1.5, 3.0, 0.5]))
    shapes = operator.parameters(random.Random(0), [width] * operator.arity)
    program = Program(width, (first, Step(name, (1, 0)[: operator.arity], tuple(drawn(*s) for s in shapes))))
    cases = [
        Case(program, tuple(2 * v for v in drawn(width)), SetSpec(float("inf"), 0.1), "float64")
        for _ in range(6)
    ]
    exact = ExactValues(cases, [Member(i, tuple(map(Fraction, case.x))) for i, case in enumerate(cases)])
    x = batch(cases, torch.float64)
    values = [program.module(torch.float64)(x)]
    if program.may_own:
        values.append(program.module(torch.float64, own=True)(x, *parameters(cases, torch.float64)))
    for i in range(len(cases)):
        balls = exact.ball(i)
        assert program.widths()[-1] == len(balls)
        for k, ball in enumerate(balls):
            assert exact.lower[i, k] <= ball <= exact.upper[i, k]
            assert exact.upper[i, k] - exact.lower[i, k] <= 1e-11 * (1 + abs(float(ball)))
            for value in values:
                assert value[i, k].item() == pytest.approx(float(ball), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("index", range(30))
def test_enclosures_hold_what_balls_say_of_wild_networks(index: int) -> None:
    cases = draw_group(11, index)[:8]
    found = members(cases, 0)
    exact = ExactValues(cases, found)
    for i in range(0, len(found), 5):
        for k, ball in enumerate(exact.ball(i)):
            assert not ball < exact.lower[i, k] and not ball > exact.upper[i, k]


def test_what_enclosures_decide_balls_decide_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds that are too tight by little and by much, judged with enclosures, and by balls alone."""
    methods = [SlightlyTooTight(), Inward(), "CROWN"]
    groups = [draw_group(13, place)[:6] for place in range(1, 4)]
    fast = [check_group(cases, methods) for cases in groups]

    def nothing(self: ExactValues) -> tuple[Any, Any]:
        n, outputs = len(self._members), self._cases[0].program.widths()[-1]
        return np.full((n, outputs), -np.inf), np.full((n, outputs), np.inf)

    monkeypatch.setattr(ExactValues, "_enclosed", nothing)
    assert fast == [check_group(cases, methods) for cases in groups]
    kinds = [one.kind for outcomes in fast for one in itertools.chain(*outcomes)]
    assert kinds.count("escape") > 4 and kinds.count("held") > 4


def test_enclosures_say_nothing_where_nothing_is_known() -> None:
    across, large = Enclosure.of([-1.0]).union([1.0]), Enclosure.of([1e300])
    with np.errstate(all="ignore"):
        for unknown in (1 / across, across.log(), across.sqrt(), (large * large - large * large).sin() * 0):
            assert unknown.lower[0] <= -1 and unknown.upper[0] >= 1
        assert (large * large).upper[0] == float("inf") and (large * large).lower[0] > 1e300
    tiny = Enclosure.of([1e-300])
    assert (tiny * tiny).lower[0] < 0 < (tiny * tiny).upper[0]
    third = Enclosure.of_fractions([Fraction(1, 3)])
    assert Fraction(third.lower[0]) < Fraction(1, 3) < Fraction(third.upper[0])


@pytest.mark.parametrize("index", range(12))
def test_points_belong_to_the_ball(index: int) -> None:
    case = next(c for c in _stream(7 + index) if isinstance(c.region, SetSpec))
    region = case.region
    assert isinstance(region, SetSpec)
    for point in points(case):
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
    return (draw_case(seed, GROUP * i) for i in itertools.count())


@pytest.mark.parametrize("name", KINDS)
def test_points_belong_to_the_set_of_a_plugin(name: str) -> None:
    """As the set itself says, in float64; and there is more than the nominal point."""
    several = 0
    for case in itertools.islice((c for c in _stream(5) if getattr(c.region, "name", "") == name), 8):
        assert isinstance(case.region, PluginSet)
        x = batch([case], torch.float64)
        found = points(case)
        several += len(set(found)) > 1
        z = torch.tensor([[float(v) for v in point] for point in found], dtype=torch.float64)
        assert bool(perturbation([case], torch.float64).contains(x, z.reshape(-1, *x.shape)).all())
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


@pytest.mark.parametrize("kind", [*KINDS, "own", "weight"])
def test_a_wrong_method_escapes_on_every_set(kind: str) -> None:
    """Bounds of four linear layers together that are a tenth of their width too tight; those of CROWN are exact."""
    for place in itertools.count():
        case = draw_case(5, place * GROUP)
        if kind not in {
            getattr(case.region, "name", ""),
            "own" * case.own,
            "weight" * (case.weight is not None and case.weight[0] == 0),
        }:
            continue
        cases = [
            dataclasses.replace(c, program=Program(c.program.width, c.program.steps[:1]))
            for c in (draw_case(5, place * GROUP + i) for i in range(4))
        ]
        right, wrong = zip(*check_group(cases, ["CROWN", Inward()]), strict=True)
        assert all(one.kind in ("held", "refused") for one in right)
        if any(one.kind == "escape" for one in wrong):
            return


@pytest.mark.parametrize("name", ["", *KINDS])
def test_sets_of_a_batch_are_those_of_its_examples(name: str) -> None:
    """Linear forms have the same minima over them."""
    for place in itertools.count():
        if getattr(draw_case(5, place * GROUP).region, "name", "") != name:
            continue
        cases = [dataclasses.replace(draw_case(5, place * GROUP + i), dtype="float64") for i in range(4)]
        x, ptb = batch(cases, torch.float64), perturbation(cases, torch.float64)
        ptb = ptb.aligned(0, x.dim())
        try:
            hull = ptb.hull(x)
        except RuntimeError:  # a covariance that is singular in float64
            continue
        for i, case in enumerate(cases):
            alone = perturbation([case], torch.float64).aligned(0, x.dim()).hull(x[i : i + 1])
            torch.testing.assert_close(alone.lower[0], hull.lower[i])
            torch.testing.assert_close(alone.upper[0], hull.upper[i])
        return


def test_cases_of_a_group_have_the_same_operators() -> None:
    alone = 0
    for place in range(40):
        cases = draw_group(2, place)
        alone += len(cases) == 1
        steps = [(s.operator, s.operands) for s in cases[0].program.steps]
        for case in cases[1:]:
            assert [(s.operator, s.operands) for s in case.program.steps] == steps
            assert case.own or case.program == cases[0].program
            assert case != cases[0] and case.dtype == cases[0].dtype
        if len(cases) > 1:
            assert draw_case(2, place * GROUP + 1) == cases[1]
    assert 0 < alone < 20


def test_what_is_wrong_in_a_batch_only_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each example alone is right; the script then has few of them."""
    monkeypatch.setattr("lirpa_testing.fuzz.run._SHRUNK", 1)
    path = tmp_path / "log.jsonl"
    said: list[str] = []
    found = run(path, seed=5, seconds=60, methods=[WrongInABatch()], groups=1, say=said.append)
    assert found > 10 and said
    script = next(iter(sorted(tmp_path.glob("log-5-*.py")))).read_text()
    assert 2 <= script.count("Case.from_json") < 6


def test_an_attack_that_fails_is_a_finding_and_does_not_end_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> object:
        raise RuntimeError("singular")

    monkeypatch.setattr("lirpa_testing.fuzz.check.members", fails)
    for outcomes in check_group([LINE, LINE], ["IBP"]):
        assert [one.kind for one in outcomes] == ["crash"] and "singular" in outcomes[0].detail


def test_one_refusal_does_not_hide_the_others() -> None:
    cases = [dataclasses.replace(LINE, x=(v, 0.25)) for v in (0.5, float("nan"), -1.0)]
    outcomes = check_group(cases, ["IBP", SlightlyTooTight()])
    assert [one.kind for one, _ in outcomes] == ["held", "refused", "held"]
    assert [one.kind for _, one in outcomes] == ["escape", "refused", "escape"]


def test_drawn_slopes_are_anywhere_in_their_ranges() -> None:
    """They differ by seed, and hold."""
    summed = Program(2, (*LINE.program.steps, Step("sum", (2,))))
    steep = dataclasses.replace(LINE, program=summed, region=SetSpec(float("inf"), 1.0))
    assert [o.kind for o in check_case(steep, [Drawn(DrawnSlopes(seed)) for seed in range(8)])] == [
        "held"
    ] * 8
    assert set(fuzzed_methods()) > {"CROWN", Drawn.name}
    assert method_of("CROWN") == "CROWN" and isinstance(method_of(Drawn.name, 3), Drawn)
    model = BoundedModule(steep.model(torch.float64), batch([steep], torch.float64))
    ball = BoundedTensor(batch([steep], torch.float64), perturbation([steep], torch.float64))
    other = dataclasses.replace(steep, x=(0.25, 0.5))
    sets = [other, steep]
    both = model.compute_bounds(
        x=(BoundedTensor(batch(sets, torch.float64), perturbation(sets, torch.float64)),), method=Drawn()
    )
    torch.testing.assert_close(both.upper[1:], model.compute_bounds(x=(ball,), method=Drawn()).upper)
    methods = [*map(Drawn, map(DrawnSlopes, range(5))), "CROWN"]
    assert len({float(model.compute_bounds(x=(ball,), method=method).upper) for method in methods}) > 3


def test_a_case_is_text_and_back() -> None:
    for index in range(0, 6400, 33):
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
    outcomes = [o for place in range(4) for (o,) in check_group(draw_group(1, place), ["IBP"])]
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
    path.write_text(script([small], "IBP", "what was found"))
    runpy.run_path(str(path))
    assert "held" in capsys.readouterr().out


def test_few_of_a_group_are_left() -> None:
    cases = [dataclasses.replace(LINE, x=(float(i), 0.0)) for i in range(32)]
    left = fewest(cases, lambda some: {5.0, 17.0} <= {case.x[0] for case in some})
    assert [case.x[0] for case in left] == [5.0, 17.0]


def test_a_run_resumes_and_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "log.jsonl"
    for _ in range(2):
        assert run(path, seed=5, seconds=60, methods=["IBP"], groups=2) == 0
    sizes = [len(draw_group(5, place)) for place in range(4)]
    with path.open("a") as file:
        file.write('{"seed": 5, "ind')  # a run that was killed
    indices = [line["index"] for line in log.lines(path)]
    assert indices == [place * GROUP + i for place, size in enumerate(sizes) for i in range(size)]
    assert log.next_index(path, 5) == indices[-1] + 1 and log.next_index(path, 6) == 0
    assert log.summary(path).startswith(f"{sum(sizes)} cases ({sum(sizes)} networks")
    with pytest.raises(SystemExit):
        main(["--minutes", "0", "--seed", "5", "--log", str(path)])
    assert main(["--minutes", "0", "--seed", "5", "--log", str(path), "--resume"]) == 0
    assert "escape: 0" in capsys.readouterr().out


def test_findings_are_written_beside_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lirpa_testing.fuzz.shrink._ATTEMPTS", 4)
    path = tmp_path / "log.jsonl"
    found = run(path, seed=5, seconds=60, methods=[Breaks()], groups=1, say=lambda _: None)
    assert found == len(draw_group(5, 0)) and (tmp_path / "log-5-0.py").exists()
    log.append(path, 5, 64, "float32", [[Outcome("IBP", "refused", "DomainError", "")]])
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
