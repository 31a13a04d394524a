"""`lirpa ops`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from click.testing import Result

from lirpa_core.graph import SourceLocation
from lirpa_core.plugins import Registry

KINDS = ("module", "function")


def test_the_table(lirpa: Callable[..., Result]) -> None:
    result = lirpa("ops")
    assert result.exit_code == 0
    assert [line.split() for line in result.stdout.splitlines()] == [
        ["operator", "family", "plugin", "modes"],
        ["aten.mm.default", "linear", "alpha", "interval"],
        ["aten.relu.default", "unary", "alpha", "interval", "backward", "forward"],
        ["aten.silu.default", "decomposition", "beta", "-"],
        ["aten.tanh.default", "unary", "beta", "interval"],
    ]


def test_json(lirpa: Callable[..., Result]) -> None:
    data = json.loads(lirpa("ops", "--json", "tanh").stdout)
    assert data == {
        "operators": [
            {"operator": "aten.tanh.default", "family": "unary", "plugin": "beta", "modes": ["interval"]}
        ]
    }


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (("an",), ["tanh"]),
        (("aten.*e*u.default",), ["relu"]),
        (("tan*",), []),
        (("--plugin", "beta"), ["silu", "tanh"]),
        (("--family", "unary"), ["relu", "tanh"]),
        (("--family", "decomposition"), ["silu"]),
        (("--family", "unary", "--plugin", "alpha"), ["relu"]),
        (("--plugin", "alpha", "mm"), ["mm"]),
    ],
)
def test_filters(lirpa: Callable[..., Result], arguments: tuple[str, ...], names: list[str]) -> None:
    data = json.loads(lirpa("ops", "--json", *arguments).stdout)
    assert [row["operator"] for row in data["operators"]] == [f"aten.{name}.default" for name in names]


def test_no_match_says_so(lirpa: Callable[..., Result]) -> None:
    result = lirpa("ops", "nothing_like_it")
    assert (result.exit_code, result.stdout) == (0, "no operator matches\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--plugin", "gamma"), "unknown plugin 'gamma'; there are: alpha, beta"),
        (("--family", "odd"), "unknown family 'odd'; there are: decomposition, linear, unary"),
    ],
)
def test_unknown_filters_list_the_known(
    lirpa: Callable[..., Result], arguments: tuple[str, ...], message: str
) -> None:
    result = lirpa("ops", *arguments)
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", f"Error: {message}\n")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.pt2"
    torch.export.save(torch.export.export(torch.nn.ReLU(), (torch.zeros(1, 2),)), path)
    return path


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch, registry: object) -> dict[Any, list[SourceLocation]]:
    """What the model's operators are said to be; to be filled by a test."""
    operators: dict[Any, list[SourceLocation]] = {}

    def operators_of(program: Any, given: object) -> dict[Any, list[SourceLocation]]:
        assert isinstance(program, torch.export.ExportedProgram)
        assert given is registry
        return operators

    export = ModuleType("lirpa_core.capture.export")
    export.operators_of = operators_of  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lirpa_core.capture.export", export)
    return operators


CONV = torch.ops.aten.conv2d.default
SORT = torch.ops.aten.sort.default
RELU = torch.ops.aten.relu.default
PLACE = SourceLocation("net.py", 12, "self.conv(x)", "stem.conv", "Conv2d")


def test_a_model_with_all_rules(
    lirpa: Callable[..., Result], model: Path, used: dict[Any, list[SourceLocation]]
) -> None:
    used[RELU] = [PLACE]
    result = lirpa("ops", "--model", str(model))
    assert (result.exit_code, result.stdout) == (0, f"all 1 operators of {model} have a rule\n")


def test_a_model_with_missing_rules(
    lirpa: Callable[..., Result], model: Path, used: dict[Any, list[SourceLocation]]
) -> None:
    used.update({SORT: [SourceLocation()], RELU: [PLACE], CONV: [PLACE, PLACE]})
    result = lirpa("ops", "--model", str(model))
    assert result.exit_code == 1
    place = "  at: net.py:12 `self.conv(x)` in module 'stem.conv' (Conv2d)"
    assert result.stdout.splitlines() == [
        f"2 of 3 operators of {model} have no rule:",
        "",
        "aten.conv2d.default",
        "  provider: lirpa-ops-vision, which is installed but disabled (plugin 'vision')",
        place,
        place,
        "aten.sort.default",
        "  provider: none known",
        "  at: unknown source line",
    ]


def test_json_of_a_model(
    lirpa: Callable[..., Result], model: Path, used: dict[Any, list[SourceLocation]]
) -> None:
    used.update({RELU: [PLACE], CONV: [PLACE]})
    result = lirpa("ops", "--model", str(model), "--json")
    assert result.exit_code == 1
    data = json.loads(result.stdout)
    assert data["model"] == str(model)
    assert data["missing"] == ["aten.conv2d.default"]
    location = {
        "file": "net.py",
        "line": 12,
        "code": "self.conv(x)",
        "module_path": "stem.conv",
        "module_type": "Conv2d",
    }
    assert data["operators"] == [
        {
            "operator": "aten.conv2d.default",
            "supported": False,
            "family": None,
            "plugin": None,
            "provider": "lirpa-ops-vision",
            "count": 1,
            "locations": [location],
        },
        {
            "operator": "aten.relu.default",
            "supported": True,
            "family": "unary",
            "plugin": "alpha",
            "provider": None,
            "count": 1,
            "locations": [location],
        },
    ]
    used.pop(CONV)
    assert lirpa("ops", "--model", str(model), "--json").exit_code == 0


def test_a_file_that_is_no_model(lirpa: Callable[..., Result], tmp_path: Path) -> None:
    path = tmp_path / "model.pt2"
    path.write_text("not a model")
    result = lirpa("ops", "--model", str(path))
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"Error: cannot read {path} as a model saved with torch.export.save: ")
    assert len(result.stderr.splitlines()) == 1


def test_a_file_that_is_not_there(lirpa: Callable[..., Result], tmp_path: Path) -> None:
    result = lirpa("ops", "--model", str(tmp_path / "none.pt2"))
    assert result.exit_code == 2
    assert "does not exist" in result.stderr


@pytest.mark.parametrize("extra", [["relu"], ["--plugin", "alpha"], ["--family", "unary"]], ids=str)
def test_a_model_takes_no_filters(lirpa: Callable[..., Result], model: Path, extra: list[str]) -> None:
    result = lirpa("ops", "--model", str(model), *extra)
    assert result.exit_code == 2
    assert "takes no PATTERN, --plugin or --family" in result.stderr


def test_names_are_not_cut_where_output_is_no_terminal(lirpa: Callable[..., Result], registry: Any) -> None:
    torch.library.define("lirpa_test_ops::" + "long_" * 40 + "name", "(Tensor x) -> Tensor")
    wide = registry.with_rules({"lirpa_test_ops::" + "long_" * 40 + "name": registry.rule_for(RELU)})
    result = lirpa("ops", "long_", obj=wide)
    assert "long_" * 40 + "name.default  unary" in " ".join(result.stdout.splitlines()).replace("   ", "  ")


def test_classes_and_functions_are_listed(lirpa: Callable[..., Result], registry: Registry) -> None:
    class Act(torch.nn.Module):
        pass

    def gate(x: torch.Tensor) -> torch.Tensor:
        return x

    rule = registry.rule_for(torch.ops.aten.relu.default)
    assert rule is not None
    extended = registry.with_rules({Act: lambda module: rule, gate: rule})
    rows = json.loads(lirpa("ops", "--json", obj=extended).stdout)["operators"]
    found = {row["operator"].rpartition(".")[2]: row for row in rows if row["operator"].split()[0] in KINDS}
    assert found["Act"]["family"] == "depends on the module" and found["Act"]["operator"].startswith(
        "module "
    )
    assert found["gate"]["family"] == "unary" and found["gate"]["modes"] == list(rule.modes)
