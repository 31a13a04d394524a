"""Names of classes and functions in running text lead to their place in the reference, as names in docstrings do."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.nodes import make_refnode

_NAME = re.compile(r"(?P<name>(?:lirpa_\w+\.)?(?:\w+\.)*\w+)(?P<call>\(.*\))?$")


def _by_last_name(objects: Mapping[str, Any]) -> dict[str, Any]:
    """What is listed once under its last name."""
    found = defaultdict(list)
    for name, entry in objects.items():
        if entry.objtype in ("class", "exception", "function") and not entry.aliased:
            found[name.rpartition(".")[2]].append((name, entry))
    return {last: entries[0] for last, entries in found.items() if len(entries) == 1}


def _means_it(text: re.Match[str], entry: Any) -> bool:
    """Whether a name in the text can be no ordinary word, such as the `forward` of a module."""
    last = text["name"].rpartition(".")[2]
    return (
        entry.objtype != "function"
        or "_" in last
        or bool(text["call"])
        or text["name"].startswith("lirpa_")
    )


def link(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Put links around literals that name what another page lists."""
    if app.builder.format != "html":
        return
    known = _by_last_name(app.env.get_domain("py").objects)
    for literal in list(doctree.findall(nodes.literal)):
        text = _NAME.fullmatch(literal.astext())
        if text is None or isinstance(
            literal.parent, (nodes.reference, nodes.title, nodes.term)
        ):
            continue
        name, entry = known.get(text["name"].rpartition(".")[2], ("", None))
        path = text["name"].rpartition(".")[0]
        if entry is None or entry.docname == docname or not _means_it(text, entry):
            continue
        if path and not name.startswith(
            path.partition(".")[0]
        ):  # `torch.nn.Linear` is another one
            continue
        reference = make_refnode(
            app.builder, docname, entry.docname, entry.node_id, literal.deepcopy(), name
        )
        literal.replace_self(reference)


def setup(app: Sphinx) -> dict[str, Any]:
    """Sphinx calls this."""
    app.connect("doctree-resolved", link)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
