"""The suite finds everything that is registered, runs it, and says what is wrong or has no case."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from registered import BAD, BELL, GOOD, Cube, bell, plugin, registry_of, steps
from torch import Tensor

from lirpa_core import PerturbationLpNorm
from lirpa_core.errors import OptionError, PluginError
from lirpa_core.linear.coefficients import DenseCoefficients, SelectedRows
from lirpa_core.plugins import hookimpl
from lirpa_core.rules import Call, Linear, Operand, Unary
from lirpa_testing import plugin as kit
from lirpa_testing.conformance import (
    ConformanceCases,
    Outcome,
    Report,
    Suite,
    assert_conforms,
    run,
    select,
    suite_of,
)
from lirpa_testing.profiles import PROFILES, Profile, profile_of

aten = torch.ops.aten


@cache
def report_of(*modules: ModuleType, profile: str = "fast") -> Report:
    suite = Suite.of(registry_of(*modules))
    return Report(profile_of(profile), tuple(run(item, suite.registry, profile) for item in suite.items))


def test_what_is_right_passes_with_default_calls_and_declared_ones() -> None:
    report = report_of(GOOD)
    assert report.passed, report.lines()
    rows = {(row.subject.rpartition(".")[2], row.mode): row for row in report.rows()}
    assert {subject for subject, _ in rows} == {"bell", "steps", "scaled", "Cube"}
    for subject in ("bell", "steps", "scaled", "Cube"):
        for mode in ("interval", "backward, forward"):
            row = rows[subject, mode]
            assert row.examples >= PROFILES["fast"].examples and row.failed == 0
            assert row.tightest is not None and row.loosest is not None and row.tightest <= row.loosest
    assert rows["steps", "backward, forward"].loosest == pytest.approx(0, abs=1e-12)
    assert rows["bell", "interval"].loosest > 0.01


def test_what_is_wrong_or_has_no_case_fails_and_says_so() -> None:
    report = report_of(BAD)
    assert not report.passed
    wrong, bare = sorted(report.failures, key=lambda o: o.failure.check == "no case")  # type: ignore[union-attr]
    assert wrong.subject.endswith("falls") and wrong.failure is not None
    for words in ("plugin 'bad'", "falls(x=x0 [3])", "box of x0"):
        assert words in wrong.failure.message
    assert bare.failure is not None and "declare a case" in bare.failure.message
    assert "Call.of(product" in bare.failure.message
    text = "\n".join(report.lines())
    assert "2 failed, 1 of them for want of a case" in text and text.count("FAILED") >= 4


def test_an_unsound_rule_is_shown_with_its_value() -> None:
    class Below(Unary):
        def relax(self, call: Any, inputs: Any) -> Any:
            found = super().relax(call, inputs)
            return type(found)(found.lower, found.lower)

    report = report_of(plugin("upside_down", ("register", aten.tanh.default, Below(BELL.curve))))
    (failed,) = report.failures
    assert failed.failure is not None and failed.failure.mode in ("relax", "interval")
    for words in ("plugin 'upside_down'", "aten.tanh.default", "x0 [3]", "value:", "bound:"):
        assert words in failed.failure.message


def test_a_rule_that_raises_is_a_finding() -> None:
    def explode(x: Tensor) -> Tensor:
        raise RuntimeError("no interval today")

    broken = Unary(type(BELL.curve)(f=explode)) if not callable(BELL.curve) else BELL
    report = report_of(plugin("broken", ("register", aten.sin.default, broken)))
    assert not report.passed


def test_outcomes_survive_json() -> None:
    for outcome in (*report_of(BAD).outcomes, *report_of(GOOD).outcomes):
        assert Outcome.from_json(json.loads(json.dumps(outcome.to_json()))) == outcome


def test_kernels_structures_and_sets() -> None:
    def cases(cases: ConformanceCases) -> None:
        cases.add("vector", Call.of(aten.neg.default, Operand((2, 3))))
        cases.coefficients(
            "dense", DenseCoefficients, lambda shape: DenseCoefficients(torch.ones(2, 1, *shape).double())
        )

    def broken_kernel(op: Any, A: Any) -> Any:
        return A

    module = plugin(
        "kernels", ("register", aten.neg.default, Linear(("self",), sign=lambda call, slot: -1)), cases=cases
    )
    register = module.lirpa_register_operators

    @hookimpl
    def operators(registry: Any) -> None:
        register(registry)
        registry.kernel(aten.neg.default, DenseCoefficients, broken_kernel)
        registry.kernel(aten.neg.default, SelectedRows, lambda op, A: None)

    @hookimpl
    def sets(registry: Any) -> None:
        registry.register("ball", PerturbationLpNorm)

    vars(module).update(lirpa_register_operators=operators, lirpa_register_perturbations=sets)
    failed = {(o.kind, o.subject): o.failure for o in report_of(module).failures}
    assert set(failed) == {
        ("kernel", "aten.neg.default for DenseCoefficients"),
        ("kernel", "aten.neg.default for SelectedRows"),
        ("structure", "SelectedRows"),
        ("perturbation", "ball"),
    }
    assert "dense coefficients -1.0" in failed["kernel", "aten.neg.default for DenseCoefficients"].message  # type: ignore[union-attr]
    assert failed["perturbation", "ball"].check == "no case"  # type: ignore[union-attr]


def test_assert_conforms_raises() -> None:
    suite = Suite.of(registry_of(BAD)).matching("product")
    with pytest.raises(AssertionError, match="no case"):
        assert_conforms(suite.items[0], suite.registry, "fast")
    with pytest.raises(OptionError, match="nothing that is registered has 'nonsense'"):
        suite.matching("nonsense")


def test_declarations_are_checked() -> None:
    call = Call.of(bell, Operand((3,)))
    for given, says in (
        (lambda c: c.add("one", bell), "expected a Call"),
        (lambda c: (c.add("one", call), c.add("one", call)), "registered twice"),
        (lambda c: c.add("one", call, domain=[(0, 1), (0, 1)]), "expected 1 domains"),
        (lambda c: c.perturbation("one", 3, torch.ones(2)), "expected a Perturbation"),
        (lambda c: c.coefficients("one", dict, dict), "expected a Coefficients type"),
        (lambda c: c.model("one", Cube, torch.ones(1, 2)), "expected operators in `covers`"),
        (lambda c: 1 / 0, "cannot declare its conformance cases: ZeroDivisionError"),
    ):
        with pytest.raises(PluginError, match=says) as caught:
            Suite.of(registry_of(plugin("mine", ("function", bell, BELL), cases=given)))
        assert "'mine'" in str(caught.value)


def test_cases_for_what_nobody_registers_fail() -> None:
    module = plugin(
        "mine", ("function", bell, BELL), cases=lambda c: c.add("x", Call.of(steps, Operand((3,))))
    )
    assert any(
        "no rule for this operator" in o.failure.message for o in report_of(module).failures if o.failure
    )


def test_names_of_packages() -> None:
    registry = registry_of(GOOD, BAD)
    assert select(registry, ["bad"])[1] == ("bad",)
    assert select(registry)[1] == ("good", "bad")
    for name, says in (
        ("nowhere", "no plugin, distribution or module 'nowhere'; installed plugins are: good, bad"),
        ("json", "registers nothing with lirpa"),
        ("..", "no plugin, distribution or module"),
    ):
        with pytest.raises(OptionError, match=says):
            select(registry, [name])


def test_a_module_that_does_not_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "does_not_import.py").write_text("import nowhere_at_all\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(PluginError, match="does not import: No module named 'nowhere_at_all'"):
        select(registry_of(GOOD), ["does_not_import"])


def test_every_case_is_found_for_a_module_that_is_not_installed() -> None:
    suite = suite_of("lirpa_core.plugin", registry=registry_of(GOOD, kit))
    assert {item.plugin for item in suite.items} == {"lirpa_core.plugin"}
    assert not [item for item in suite.items if type(item.case).__name__ == "NoCase"]


def test_profiles(monkeypatch: pytest.MonkeyPatch) -> None:
    assert profile_of("thorough").examples == 10_000
    monkeypatch.setenv("LIRPA_PROFILE", "fast")
    assert profile_of().name == "fast" and profile_of("ci").name == "ci"
    monkeypatch.setenv("LIRPA_PROFILE", "hard")
    with pytest.raises(
        OptionError, match=r"no profile 'hard' .from the environment variable LIRPA_PROFILE.; there are"
    ):
        profile_of()
    with pytest.raises(OptionError, match="examples of a profile must be at least 1"):
        Profile("none", examples=0)
