"""Formulas as MathML, which browsers draw by themselves: the pages need no script from elsewhere, and no network."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx


def _inline(translator: Any, node: Any) -> None:
    translator.body.append(convert(node.astext()))
    raise nodes.SkipNode


def _display(translator: Any, node: Any) -> None:
    latex = node.astext().replace("{aligned}", "{align*}")  # the same table
    translator.body.append(
        f'<div class="math">{convert(latex, display="block")}</div>\n'
    )
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    """Sphinx calls this."""
    app.add_html_math_renderer(
        "mathml", inline_renderers=(_inline, None), block_renderers=(_display, None)
    )
    return {"parallel_read_safe": True, "parallel_write_safe": True}
