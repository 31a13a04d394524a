"""Sphinx configuration. `make docs` builds with warnings as errors and without a network."""

from __future__ import annotations

from lirpa_core._version import __version__

project = "lirpa"
author = "The lirpa developers"
copyright = "The lirpa developers"
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
nitpicky = False

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

autodoc_typehints = "description"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = f"lirpa {release}"
html_static_path = ["_static"]
html_show_sourcelink = False
