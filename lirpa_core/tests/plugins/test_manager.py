"""Installed plugins: entry points with real metadata, disabling, the default registry."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

import lirpa_core
from lirpa_core.errors import PluginConflictError, PluginError
from lirpa_core.plugins import PluginInfo, PluginWarning, build_registry, default_registry

RELU = torch.ops.aten.relu.default

GOOD = """
from lirpa_core.plugins import hookimpl

LIRPA_API_VERSION = 1

@hookimpl
def lirpa_register_perturbations(registry):
    registry.register(__name__, dict)
"""


def names(registry: Any) -> list[str]:
    return [info.name for info in registry.plugins]


def test_installed_plugins_are_found_with_their_metadata(site: Any) -> None:
    site.install("zz-good", GOOD, name="first", version="2.3")
    site.install("aa-good", GOOD, name="second")
    registry = default_registry()
    assert registry.plugins == (
        PluginInfo("core", None, "lirpa-core", "lirpa_core.plugin", 1),
        PluginInfo("first", "2.3", "zz-good", "zz_good", 1),
        PluginInfo("second", "1.0", "aa-good", "aa_good", 1),
    )
    assert sorted(registry.perturbations) == ["aa_good", "zz_good"]
    assert registry.operators[RELU].plugin == "core"


def test_the_core_is_loaded_once_with_its_metadata_where_there_is_any(site: Any) -> None:
    site.declare("lirpa-core", "core = lirpa_core.plugin", version="9.9")
    registry = build_registry()
    assert registry.plugins == (PluginInfo("core", "9.9", "lirpa-core", "lirpa_core.plugin", 1),)


def test_without_entry_points_there_is_nothing(site: Any) -> None:
    site.install("aa-good", GOOD, name="good")
    assert build_registry(entry_points=False).plugins == ()


def test_the_name_of_the_core_is_reserved(site: Any) -> None:
    site.install("aa-good", GOOD, name="core")
    with pytest.raises(PluginConflictError, match="distribution 'aa-good' calls its plugin 'core'"):
        build_registry()


def test_a_plugin_that_does_not_import_is_left_out(site: Any) -> None:
    site.install("aa-bad", "LIRPA_API_VERSION = 1\nimport no_such_module_at_all\n", name="bad", version="0.7")
    site.declare("bb-gone", "gone = bb_gone")
    site.install("cc-good", GOOD, name="good")
    with pytest.warns(PluginWarning) as caught:
        registry = build_registry()
    assert names(registry) == ["core", "good"]
    bad, gone = registry.failures
    assert (bad.name, bad.distribution, bad.version, bad.stage) == ("bad", "aa-bad", "0.7", "import")
    assert bad.error.startswith("ModuleNotFoundError: No module named 'no_such_module_at_all' (")
    assert bad.error.endswith("aa_bad.py:2)")
    assert gone.error == "ModuleNotFoundError: No module named 'bb_gone'"
    assert [str(w.message) for w in caught] == [bad.message, gone.message]
    assert bad.message.startswith("plugin 'bad' of distribution 'aa-bad' was not loaded")


def test_two_distributions_with_one_name_are_refused(site: Any) -> None:
    site.install("aa-good", GOOD, name="good")
    site.install("bb-good", GOOD, name="good")
    with pytest.raises(PluginConflictError) as caught:
        build_registry()
    assert "called 'good': aa_good of distribution 'aa-good' and bb_good of dist" in str(caught.value)
    assert build_registry(disabled=["good"]).plugins == build_registry(disabled="good").plugins


def test_conflicts_name_the_distributions(site: Any) -> None:
    source = """
        import torch
        from lirpa_core.plugins import hookimpl
        LIRPA_API_VERSION = 1
        @hookimpl
        def lirpa_register_operators(registry):
            registry.decompose("aten.relu", torch.relu)
    """
    site.install("aa-one", source, name="one")
    site.install("bb-two", source, name="two")
    with pytest.raises(
        PluginConflictError, match=r"plugins 'one' \(aa-one\) and 'two' \(bb-two\) both register"
    ):
        build_registry()


def test_disabling_by_the_environment(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two", "three"):
        site.install(f"dist-{name}", GOOD, name=name)
    monkeypatch.setenv("LIRPA_DISABLE_PLUGINS", " two , three,")
    registry = default_registry()
    assert names(registry) == ["core", "one"]
    assert [(info.name, info.distribution, info.api_version) for info in registry.disabled] == [
        ("three", "dist-three", None),
        ("two", "dist-two", None),
    ]
    assert "dist_two" not in sys.modules
    assert names(build_registry(disabled=())) == ["core", "one", "three", "two"]


def test_the_environment_does_not_reach_registries_without_entry_points(
    make_plugin: Callable[..., ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIRPA_DISABLE_PLUGINS", "alpha,nobody")
    assert names(build_registry([make_plugin("alpha")], entry_points=False)) == ["alpha"]


def test_an_unknown_name_is_a_warning_that_lists_the_known_ones(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.install("aa-good", GOOD, name="good")
    monkeypatch.setenv("LIRPA_DISABLE_PLUGINS", "goood")
    with pytest.warns(PluginWarning, match=r"no plugin called 'goood' .*can be disabled: good$"):
        assert names(build_registry()) == ["core", "good"]
    with pytest.warns(PluginWarning, match="can be disabled: none$"):
        build_registry(entry_points=False, disabled=["x"])


def test_the_core_cannot_be_disabled(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIRPA_DISABLE_PLUGINS", "core")
    with pytest.raises(PluginError, match="'core' cannot be disabled"):
        default_registry()


def test_a_broken_core_is_an_error(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lirpa_core.plugin", ModuleType("lirpa_core.plugin"))
    with pytest.raises(PluginError, match="plugin 'core' of distribution 'lirpa-core' was not loaded"):
        build_registry()


def test_modules_passed_in_that_are_installed_as_well_count_once(site: Any) -> None:
    site.install("aa-good", GOOD, name="good")
    import aa_good  # type: ignore[import-not-found]

    core = sys.modules["lirpa_core.plugin"]
    assert names(build_registry([aa_good, core])) == ["core", "good"]
    assert names(build_registry([aa_good, core], entry_points=False)) == ["aa_good", "core"]


def test_the_default_registry_is_read_once_and_pickles_as_itself(
    site: Any, monkeypatch: pytest.MonkeyPatch, fake_rule: Callable[..., Any]
) -> None:
    registry = default_registry()
    site.install("aa-good", GOOD, name="good")
    assert default_registry() is registry
    assert pickle.loads(pickle.dumps(registry)) is registry
    derived = pickle.loads(pickle.dumps(registry.with_rules({RELU: fake_rule("mine")})))
    assert derived.rule_for(RELU) == fake_rule("mine")


def test_in_a_fresh_process(site: Any, tmp_path: Path) -> None:
    """No patches: the interpreter's own search for entry points, and the environment variable."""
    site.install("aa-good", GOOD, name="lirpa_test_good")
    site.install("bb-bad", "1 / 0", name="lirpa_test_bad")
    site.install("cc-good", GOOD, name="lirpa_test_blocked")
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, types, warnings\n"
        "core = types.ModuleType('lirpa_core.plugin')\n"
        "core.LIRPA_API_VERSION = 1\n"
        "sys.modules['lirpa_core.plugin'] = core\n"
        "warnings.simplefilter('ignore')\n"
        "from lirpa_core.plugins import default_registry\n"
        "registry = default_registry()\n"
        "mine = lambda infos: [i.name for i in infos if 'lirpa_test' in i.name]\n"
        "print(registry.plugins[0].name, mine(registry.plugins), mine(registry.failures), mine(registry.disabled))\n"
    )
    source = str(Path(lirpa_core.__file__).parents[1])
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(site.folder), source]),
        "LIRPA_DISABLE_PLUGINS": "lirpa_test_blocked",
    }
    done = subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "core ['lirpa_test_good'] ['lirpa_test_bad'] ['lirpa_test_blocked']\n"
