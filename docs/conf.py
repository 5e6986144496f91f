"""Settings of Sphinx: make docs."""

import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).parents[1]))

from src import __version__

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


def setup(app: Sphinx) -> None:
    app.connect("autodoc-process-docstring", mark_examples, priority=400)  # before Napoleon, at 500
    app.add_html_math_renderer("mathml", (inline_math, None), (display_math, None))
