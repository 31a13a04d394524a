"""No circle of imports between files, within and across the packages; between folders, the import contract says it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[2]


def _modules() -> dict[str, Path]:
    found: dict[str, Path] = {}
    for source in sorted(ROOT.glob("lirpa_*/src")):
        for path in sorted(source.rglob("*.py")):
            name = ".".join(path.relative_to(source).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


def _imports(tree: ast.AST, modules: dict[str, Path]) -> Iterator[str]:
    """Modules that a file reads, at the top and inside of functions; annotations under `TYPE_CHECKING` too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
            for alias in node.names:
                part = f"{node.module}.{alias.name}"
                if part in modules:
                    yield part
                elif node.module in modules:
                    yield node.module


def test_files_import_in_one_direction() -> None:
    modules = _modules()
    assert len(modules) > 300, "the packages were found"
    graph = {
        name: set(_imports(ast.parse(path.read_text()), modules)) - {name} for name, path in modules.items()
    }
    TopologicalSorter(graph).prepare()  # raises a CycleError that names the circle


def test_a_circle_would_be_seen() -> None:
    tree = ast.parse("def f():\n    from lirpa_core.graph import Graph\n")
    assert list(_imports(tree, _modules())) == ["lirpa_core.graph"]
