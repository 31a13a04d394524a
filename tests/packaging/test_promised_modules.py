"""What other packages import from the core is promised to all authors of plugins: in the contract and in the docs."""

from __future__ import annotations

import ast
import importlib
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("lirpa_ops_vision", "lirpa_ops_nlp", "lirpa_perturbations", "lirpa_training", "lirpa_testing")


def promised() -> set[str]:
    """The modules that the import contract lets other packages import."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (contract,) = [c for c in contracts if c["id"] == "promised-modules"]
    assert set(PACKAGES) <= set(contract["source_modules"])
    return {line.removeprefix("** -> ") for line in contract["ignore_imports"]}


def imports(source: str) -> Iterator[tuple[str, str]]:
    """Module and name of every `from lirpa_… import …` in a program."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("lirpa_"):
            yield from ((node.module, alias.name) for alias in node.names)


def is_public(module: str, name: str) -> bool:
    """Whether a module promises a name."""
    found = importlib.import_module(module)
    return name in getattr(found, "__all__", (name,)) and not name.startswith("_") and hasattr(found, name)


def test_the_page_lists_the_modules_of_the_contract() -> None:
    page = (ROOT / "docs/authors/promised_modules.md").read_text()
    assert set(re.findall(r"^\| `(lirpa_core[\w.]*)` \|", page, re.MULTILINE)) == promised()


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_public_names_of_promised_modules(package: str) -> None:
    modules = promised()
    wrong = [
        f"{path.relative_to(ROOT)}: from {module} import {name}"
        for path in (ROOT / package / "src").rglob("*.py")
        for module, name in imports(path.read_text())
        if module.startswith("lirpa_core") and not (module in modules and is_public(module, name))
    ]
    assert not wrong, wrong


@pytest.mark.parametrize("package", ["lirpa_core", *PACKAGES])
def test_no_package_imports_private_names_of_another(package: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}: from {module} import {name}"
        for path in (ROOT / package / "src").rglob("*.py")
        for module, name in imports(path.read_text())
        if not module.startswith(package) and any(part.startswith("_") for part in (*module.split("."), name))
    ]
    assert not wrong, wrong


@pytest.mark.parametrize("folder", ["docs/authors", "plugins_template"])
def test_what_authors_copy_from_imports_promised_modules(folder: str) -> None:
    text = "\n".join(p.read_text() for kind in ("*.md", "*.py") for p in (ROOT / folder).rglob(kind))
    found = set(re.findall(r"^\s*from (lirpa_core[\w.]*) import", text, re.MULTILINE))
    assert found
    assert found <= promised(), found - promised()
