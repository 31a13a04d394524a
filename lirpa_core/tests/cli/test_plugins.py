"""`lirpa plugins`."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from click.testing import Result

from lirpa_core.errors import PluginConflictError
from lirpa_core.plugins import PluginWarning


def test_the_table(lirpa: Callable[..., Result]) -> None:
    result = lirpa("plugins")
    assert result.exit_code == 0
    head, *rows = (line.split() for line in result.stdout.splitlines()[:5])
    assert head == ["name", "version", "distribution", "API", "operators", "perturbations", "status"]
    assert rows == [
        ["alpha", "1.2", "-", "1", "2", "1", "ok"],
        ["beta", "-", "-", "1", "1", "0", "ok"],
        ["broken", "0.3", "dist-broken", "-", "0", "0", "failed"],
        ["vision", "0.1", "lirpa-ops-vision", "-", "0", "0", "disabled"],
    ]
    assert result.stdout.endswith("\nbroken failed at stage 'import': ImportError: no [bold]luck[/]\n")


def test_json(lirpa: Callable[..., Result]) -> None:
    result = lirpa("plugins", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    data = json.loads(result.stdout)
    assert data["lirpa_api_version"] == 1
    alpha, beta, broken, vision = data["plugins"]
    assert alpha == {
        "name": "alpha",
        "version": "1.2",
        "distribution": None,
        "source": "alpha",
        "api_version": 1,
        "status": "ok",
        "operators": 2,
        "decompositions": 0,
        "kernels": 0,
        "perturbations": 1,
        "stage": None,
        "error": None,
    }
    assert (beta["operators"], beta["decompositions"]) == (1, 2)
    assert (broken["status"], broken["stage"], broken["error"]) == (
        "failed",
        "import",
        "ImportError: no [bold]luck[/]",
    )
    assert vision["status"] == "disabled"
    assert all(row.keys() == alpha.keys() for row in data["plugins"])


@pytest.fixture
def default(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Replaces the default registry, which the command takes where no other is given."""

    def replace(function: Callable[[], object]) -> None:
        monkeypatch.setattr("lirpa_core.cli.report.default_registry", function)

    return replace


def test_failures_are_told_once_other_warnings_stay(
    lirpa: Callable[..., Result], registry: object, default: Callable[..., None]
) -> None:
    import warnings

    def load() -> object:
        warnings.warn("plugin 'broken' was not loaded, it failed", PluginWarning, stacklevel=1)
        warnings.warn("no plugin called 'x' is installed", PluginWarning, stacklevel=1)
        return registry

    default(load)
    result = lirpa("plugins", "--json", obj=None)
    assert len(json.loads(result.stdout)["plugins"]) == 4
    assert result.stderr == "Warning: no plugin called 'x' is installed\n"


def test_a_conflict_is_one_line_and_exit_code_two(
    lirpa: Callable[..., Result], default: Callable[..., None]
) -> None:
    def load() -> object:
        raise PluginConflictError("plugins 'a' and 'b' both want it")

    default(load)
    result = lirpa("plugins", obj=None)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "Error: plugins 'a' and 'b' both want it\n"
