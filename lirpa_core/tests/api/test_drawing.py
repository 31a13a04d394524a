"""Pictures of graphs: everything is in them, and they can be rendered or say why not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from lirpa_core import BoundedModule, BoundedTensor, PerturbationLpNorm
from lirpa_core.errors import OptionError


@pytest.fixture
def bounded() -> BoundedModule:
    return BoundedModule(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), torch.zeros(1, 3))


@pytest.mark.parametrize("name", ["graph.dot", "graph"])
def test_text_names_every_node_and_edge(bounded: BoundedModule, tmp_path: Path, name: str) -> None:
    written = bounded.visualize(tmp_path / name)
    text = written.read_text()
    assert written.name == "graph.dot"
    for node in bounded.graph.nodes:
        assert f'"{node.name}" [label=' in text
        for source in node.inputs:
            assert f'"{source}" -> "{node.name}"' in text
    assert text.count("{") == text.count("}")


def test_rendering_without_graphviz_says_what_to_do(
    bounded: BoundedModule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(OptionError, match=r"Graphviz.*graph\.dot"):
        bounded.visualize(tmp_path / "graph.svg")


def test_rendering_hands_the_text_to_dot(
    bounded: BoundedModule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "dot"
    program.write_text('#!/bin/sh\n[ "$1" = -Tsvg ] || { echo "no format" >&2; exit 1; }\ncat > "$3"\n')
    program.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda _: str(program))
    assert bounded.visualize(tmp_path / "graph.svg").read_text().startswith("digraph")
    with pytest.raises(OptionError, match="no format"):
        bounded.visualize(tmp_path / "graph.xyz")


def test_nodes_are_coloured_by_width(bounded: BoundedModule, tmp_path: Path) -> None:
    x = torch.rand(2, 3)
    result = bounded.compute_bounds(BoundedTensor(x, PerturbationLpNorm(eps=0.1)), method="CROWN")
    plain = bounded.visualize(tmp_path / "plain.dot").read_text()
    text = bounded.visualize(tmp_path / "widths.dot", result=result).read_text()
    assert "mean width" not in plain and text.count("mean width") == len(result.intermediate)
    widest = max(result.intermediate, key=lambda name: float(result.intermediate[name].width.detach().mean()))
    (line,) = (line for line in text.splitlines() if line.startswith(f'  "{widest}" ['))
    assert 'fillcolor="0.08 0.800 1.0"' in line
