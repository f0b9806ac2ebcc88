"""Settings of the documentation site: `make docs` builds it from the pages that GitHub shows, with Sphinx and MyST."""

import re
from pathlib import Path
from typing import Any

from cosmogan import __version__

# The pages in the order of the site's sidebar; README.md, its front page, stands before them.
NAVIGATION = {
    "Start": ("docs/tutorial", "docs/data", "docs/clusters", "docs/workflows", "docs/troubleshooting"),
    "The stages": ("docs/simulations", "docs/training", "docs/selection", "docs/sampling", "docs/validation"),
    "More": (
        "docs/gallery",
        "docs/conditions",
        "docs/boxes",
        "docs/reproduction",
        "docs/scaling",
        "cosmogan/data/README",
    ),
    "Reference": ("docs/settings", "docs/api", "docs/conventions", "docs/glossary"),
    "Project": ("CONTRIBUTING", "CHANGELOG"),
}

project = "cosmogan"
author = "the cosmogan developers"
copyright = author
version = release = __version__
language = "en"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode", "numpydoc"]
root_doc = "README"
exclude_patterns = [".*", "build", "runs"]  # folders that are not looked through
include_patterns = [f"{page}.md" for page in (root_doc, *sum(NAVIGATION.values(), ()))]
myst_heading_anchors = 4  # the anchors that GitHub gives to headings
highlight_language = "none"  # of code blocks that name no language
pygments_style, pygments_dark_style = "tango", "monokai"
default_role = "py:obj"  # `name` in docstrings
python_maximum_signature_line_length = 88
numpydoc_show_class_members = False

html_theme = "furo"
html_title = f"cosmogan {release}"
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}

PARAMETER = re.compile(r"^(\w+(?:, \w+)*) : (.*)$")
CONTENTS = "\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{pages}\n```\n"
FORWARD = '<!doctype html><meta http-equiv="refresh" content="0; url={page}"><a href="{page}">{project}</a>\n'


def add_navigation(app: Any, page: str, source: list[str]) -> None:
    """Add the sidebar's contents to the front page, which GitHub shows without them."""
    if page == root_doc:
        groups = {**NAVIGATION, "Start": ("Quick start <self>", *NAVIGATION["Start"])}
        source[0] += "".join(CONTENTS.format(caption=c, pages="\n".join(pages)) for c, pages in groups.items())


def adapt_docstring(app: Any, what: str, name: str, thing: object, options: Any, lines: list[str]) -> None:
    """Put descriptions, `name : description`, where numpydoc expects them, on the next line; the | of |k| is itself."""
    lines[:] = [part for line in lines for part in PARAMETER.sub(r"\1\n    \2", line).split("\n")]
    lines[:] = [line if "`" in line else line.replace("|", r"\|") for line in lines]


def forward(app: Any, error: Exception | None) -> None:
    """Write index.html, which leads to the front page."""
    (Path(app.outdir) / "index.html").write_text(FORWARD.format(page=f"{root_doc}.html", project=project))


def setup(app: Any) -> None:
    """Connect the functions above to Sphinx."""
    app.connect("source-read", add_navigation)
    app.connect("autodoc-process-docstring", adapt_docstring, priority=400)  # before numpydoc's own, 500
    app.connect("build-finished", forward)
