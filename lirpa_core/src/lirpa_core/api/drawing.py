"""The captured graph as a picture, in Graphviz' language."""

from __future__ import annotations

import math
import shutil
import subprocess
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from lirpa_core.errors import OptionError
from lirpa_core.graph import Graph, Node, NodeKind

_SHAPES = {
    NodeKind.INPUT: "shape=oval, style=filled, fillcolor=lightblue",
    NodeKind.PARAMETER: "shape=note, color=gray",
    NodeKind.BUFFER: "shape=note, color=gray",
    NodeKind.CONSTANT: "shape=note, color=gray",
    NodeKind.OPERATOR: "shape=box",
}


def draw(graph: Graph, path: str | Path, widths: Mapping[str, float] | None = None) -> Path:
    """Write a picture of the graph.

    Args:
        graph: The graph.
        widths: Mean widths by node name; those nodes say theirs, and are the darker the wider they are.
        path: Where to; `.dot` (and no suffix) is text, any other suffix is a format that Graphviz'
            `dot` program renders, such as `.svg` or `.png`.

    Returns:
        The file written.

    Raises:
        OptionError: If the format needs `dot` and there is none, or `dot` does not know it.
    """
    path = Path(path)
    text = "\n".join(_lines(graph, widths or {})) + "\n"
    if path.suffix in ("", ".dot"):
        path = path.with_suffix(".dot")
        path.write_text(text, encoding="utf-8")
        return path
    program = shutil.which("dot")
    if program is None:
        raise OptionError(
            f"visualize({str(path)!r}): rendering needs Graphviz' `dot` program, which is not on the PATH. "
            f"Install Graphviz, or write {str(path.with_suffix('.dot'))!r}, which is text."
        )
    command = [program, f"-T{path.suffix[1:]}", "-o", str(path)]
    done = subprocess.run(command, input=text, text=True, capture_output=True, check=False)  # noqa: S603 - no shell, and the user names only the file
    if done.returncode:
        raise OptionError(f"visualize({str(path)!r}): `dot` failed: {done.stderr.strip()}")
    return path


def _lines(graph: Graph, widths: Mapping[str, float]) -> Iterator[str]:
    yield "digraph {"
    yield '  rankdir=TB; node [fontname="Helvetica", fontsize=10];'
    outputs = {name for name in graph.outputs if name is not None}
    for node in graph.nodes:
        border = ", peripheries=2" if node.name in outputs else ""
        label, colour = _label(node), ""
        if node.name in widths:
            label += f"\\nmean width {widths[node.name]:.3g}"
            colour = f', style=filled, fillcolor="{_colour(widths[node.name], widths.values())}"'
        yield f'  "{node.name}" [label="{label}", {_SHAPES[node.kind]}{border}{colour}];'
    for node in graph.nodes:
        for source in dict.fromkeys(node.inputs):
            yield f'  "{source}" -> "{node.name}";'
    yield "}"


def _colour(width: float, all_widths: Collection[float]) -> str:
    """From white for the narrowest to orange for the widest, by the logarithm, in Graphviz' HSV."""
    logs = [math.log(w) for w in all_widths if 0 < w < math.inf]
    if width <= 0 or not logs:
        return "white"
    span = max(logs) - min(logs)
    share = 1.0 if width == math.inf or span == 0 else (math.log(width) - min(logs)) / span
    return f"0.08 {0.1 + 0.7 * share:.3f} 1.0"


def _label(node: Node) -> str:
    what = str(node.target or node.path or node.kind.value)
    where = node.source.module_path
    lines = [node.name, what, f"{list(node.shape)}", *([where] if where else [])]
    return "\\n".join(line.replace("\\", "\\\\").replace('"', '\\"') for line in lines)
