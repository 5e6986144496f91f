"""Settings of Sphinx: make docs."""

import sys
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx import addnodes
from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).parents[1]))

from src import __version__

REPOSITORY = Path(__file__).parents[1]
LANGUAGES = {".py": "python", ".yaml": "yaml", ".toml": "toml", ".md": "markdown"}  # of source files, by ending

project = "DeepLab V1"
author = copyright = "the DeepLab V1 contributors"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "sphinx_copybutton"]
exclude_patterns = ["_build"]
default_role = "code"  # `name` in a docstring
nitpick_ignore_regex = [("py:.*", ".*")]  # types of torch, numpy and jaxtyping have no pages here

myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist"]
myst_heading_anchors = 3  # as on GitHub: training.md#resuming
html_math_renderer = "mathml"  # needs no network

autodoc_inherit_docstrings = False
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
add_module_names = False
python_maximum_signature_line_length = 88

html_theme = "furo"
html_title = "DeepLab V1"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}
copybutton_prompt_text = "$ "


def inline_math(translator: Any, node: nodes.math) -> None:
    """Write a formula within a line as MathML, which browsers draw by themselves."""
    translator.body.append(tex2mathml(node.astext()))
    raise nodes.SkipNode


def display_math(translator: Any, node: nodes.math_block) -> None:
    """Write a formula on a line of its own."""
    translator.body.append(f'<div class="math">{tex2mathml(node.astext(), as_block=True)}</div>')
    raise nodes.SkipNode


def mark_examples(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Set the indented examples of a docstring as code; what follows a colon (Args:, Raises:) is Napoleon's."""
    marked: list[str] = []
    paragraph = ""  # the last line that is not indented
    for line in lines:
        if line.startswith("    ") and paragraph and not paragraph.endswith(":") and marked[-1] == "":
            marked += [".. code-block:: python", ""]
            paragraph = ""
        elif line and not line.startswith(" "):
            paragraph = line
        marked.append(line)
    lines[:] = marked


def link_to_source(app: Sphinx, doctree: nodes.document) -> None:
    """Make links to files of the repository open a page with the source.

    MyST makes them downloads, or, if they are Markdown outside docs/, links to a page that does not exist.
    """
    env = app.env
    links = [(link, env.relfn2path(link["reftarget"])[1]) for link in doctree.findall(addnodes.download_reference)]
    for link in doctree.findall(addnodes.pending_xref):
        if link["refdomain"] == "doc" and Path(link["reftarget"]).is_absolute():
            links.append((link, link["reftarget"] + ".md"))
    for link, file in links:
        path = Path(file).resolve().relative_to(REPOSITORY).as_posix()
        env.source_files = {*getattr(env, "source_files", ()), path}  # saved with the environment
        uri = app.builder.get_relative_uri(env.docname, f"_source/{path}")
        link.replace_self(nodes.reference("", "", *link.children, internal=True, refuri=uri))


def source_pages(app: Sphinx) -> Iterator[tuple[str, dict[str, str], str]]:
    """Yield a page for each file that a page links to."""
    for path in sorted(getattr(app.env, "source_files", ())):
        source = (REPOSITORY / path).read_text(encoding="utf-8")
        code = app.builder.highlighter.highlight_block(source, LANGUAGES.get(Path(path).suffix, "text"))
        yield f"_source/{path}", {"title": path, "body": f"<h1>{escape(path)}</h1>{code}"}, "page.html"


def setup(app: Sphinx) -> None:
    app.connect("doctree-read", link_to_source, priority=400)  # before Sphinx collects downloads, at 500
    app.connect("html-collect-pages", source_pages)
    app.connect("autodoc-process-docstring", mark_examples, priority=400)  # before Napoleon, at 500
    app.add_html_math_renderer("mathml", (inline_math, None), (display_math, None))
