"""Sphinx configuration. `make docs` builds with warnings as errors and without a network."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

from lirpa_core._version import __version__

sys.path.insert(0, str(Path(__file__).parent))  # the files beside this one

project = "lirpa"
author = "The lirpa developers"
copyright = "The lirpa developers"
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_gallery.gen_gallery",
    "linked_names",
    "mathml",
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build"]
# A name that a package re-exports has two homes; either will do as the target of a link.
suppress_warnings = ["ref.python"]
# Every reference has to lead somewhere, except hints of types: of other projects, which are not linked without a network; and
# internals of lirpa and names of unions, which the reference does not list.
nitpicky = True
nitpick_ignore_regex = [
    (
        r"py:.*",
        r"(torch|collections|pathlib|fractions|abc|types|enum|contextlib|hypothesis|st|nn|np|numpy)\..*",
    ),
    (r"py:class", r"lirpa_(?!core\.errors)\w+\.\S+"),
    (
        r"py:class",
        r"OperatorLike|Limit|GivenOracle|Range|Number|Domain|_Names|RuleSource|Reduction|Objective|Kernel|Fusion",
    ),
    (r"py:class", r"Tensor|Axes|Figure|InitVar|Path"),
]

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

autodoc_typehints = "description"
autodoc_member_order = "bysource"
autodoc_default_options = {"show-inheritance": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

# The programs of examples/gallery, run once at each build: an error in one of them ends the build.
sphinx_gallery_conf = {
    "examples_dirs": "../examples/gallery",
    "gallery_dirs": "gallery",
    "filename_pattern": r"\.py$",
    "within_subsection_order": "gallery_order.GalleryOrder",
    "abort_on_example_error": True,
    "plot_gallery": True,
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "write_computation_times": False,
    "min_reported_time": 0,
    "image_scrapers": ("matplotlib",),
    "reset_modules": ("matplotlib",),
    "image_srcset": ["2x"],
}

html_theme = "furo"
html_math_renderer = "mathml"
html_title = f"lirpa {release}"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_show_sourcelink = False


# Docstrings are plain prose with code between single backticks, as in Markdown. Autodoc reads
# reStructuredText, where `this`s and |that| mean something else.
CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)(?=(\w?))")
SPECIAL = re.compile(r"\||(?<=\w)_(?!\w)|(?<=\S)\*(?=\w)")


def prose_to_rst(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Rewrite the docstring in `lines`, before napoleon reads its sections."""
    if callable(obj) and not str(getattr(obj, "__module__", "")).startswith("lirpa"):
        lines.clear()  # an attribute that holds a function of torch is not described by torch's docstring
    for number, line in enumerate(lines):
        if line.lstrip().startswith((">>>", ".. ", "|")):
            continue
        pieces = []
        end = 0
        for match in CODE.finditer(line):
            pieces.append(SPECIAL.sub(r"\\\g<0>", line[end : match.start()]))
            pieces.append(f"``{match[1]}``" + ("\\ " if match[2] else ""))
            end = match.end()
        pieces.append(SPECIAL.sub(r"\\\g<0>", line[end:]))
        lines[number] = "".join(pieces)


def link_by_last_name(app: Sphinx, env: Any, node: Any, shown: Any) -> Any:
    """Where a reference names an object without its module, as `Raises:` and hints of types do, link to the one of that name."""
    if node.get("refdomain") != "py":
        return None
    domain = env.get_domain("py")
    target = node["reftarget"].rpartition(".")[2]
    found = sorted(
        {
            n
            for n in domain.objects
            if n.rpartition(".")[2] == target and n.startswith("lirpa_")
        },
        key=len,
    )
    if not found or node["reftarget"].partition(".")[0] not in (
        target,
        found[0].partition(".")[0],
    ):
        return None
    return domain.resolve_xref(
        env, node["refdoc"], app.builder, "obj", found[0], node, shown
    )


OPERATORS = """# Operators

What the plugins of the workspace bound, as their registry has it. `lirpa ops` prints the same for what is
installed where you are. A mode that an operator lacks is an error that names the operator. Operators marked
*falls apart* have no rule; capture replaces them by others. So it does with many more, by PyTorch's own
decompositions.

"""
MODES = {"interval": "intervals", "backward": "backward", "forward": "forward"}


def write_operators(app: Sphinx) -> None:
    """A table of every operator, its rule's family and modes, and its plugin, made anew at each build."""
    from lirpa_core.cli.ops import operator_rows
    from lirpa_core.plugins import default_registry

    registry = default_registry()
    lines = [
        f"| operator | family | {' | '.join(MODES.values())} | plugin |",
        f"|---|---|{'---|' * len(MODES)}---|",
    ]
    for row in operator_rows(registry):
        apart = not row.modes
        modes = [
            "*falls apart*" if apart else "✓" if mode in row.modes else "–"
            for mode in MODES
        ]
        lines.append(
            f"| `{row.operator}` | {row.family} | {' | '.join(modes)} | {row.plugin} |"
        )
    lines += ["", "## Perturbations", "", "| name | class | plugin |", "|---|---|---|"]
    for name, entry in sorted(registry.perturbations.items()):
        lines.append(
            f"| `{name}` | `{entry.cls.__module__.partition('.')[0]}.{entry.cls.__name__}` | {entry.plugin} |"
        )
    target = Path(app.srcdir) / "api" / "generated" / "operators.md"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(OPERATORS + "\n".join(lines) + "\n", encoding="utf-8")


def draw_pictures(app: Sphinx) -> None:
    """The pictures of the pages, for light and dark, made anew at each build by the functions that users call."""
    root = Path(app.srcdir).parent
    drawing = runpy.run_path(str(root / "scripts" / "draw_pictures.py"))
    drawing["draw"](Path(app.srcdir) / "_static" / "pictures")


def setup(app: Sphinx) -> None:
    """Sphinx calls this."""
    app.connect("builder-inited", draw_pictures)
    app.connect("builder-inited", write_operators)
    app.connect("missing-reference", link_by_last_name)
    app.connect("autodoc-process-docstring", prose_to_rst, priority=400)
