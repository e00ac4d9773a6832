"""Sphinx configuration: furo, MyST pages executed in the build, a reference from docstrings."""

import os
import re

from docutils import nodes
from latex2mathml.converter import convert

import linsight

os.environ.setdefault("OMP_NUM_THREADS", "1")

project = "linsight"
author = "The linsight authors"
version = release = linsight.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "**/.ipynb_checkpoints"]
html_theme = "furo"
html_title = f"linsight {version}"
html_show_copyright = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}

# A page is what its code prints: executed at every build, and an exception fails it.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 120
nb_merge_streams = True
# The default, CommonMark, has no tables.
nb_render_markdown_format = "myst"
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
html_math_renderer = "mathml"

# Single backquotes in docstrings are code, as their authors mean them.
default_role = "code"
highlight_language = "none"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autodoc_default_options = {"members": True, "imported-members": True}
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 90
napoleon_numpy_docstring = False
napoleon_use_rtype = False


def keep_equations(app, what, name, obj, options, lines: list[str]) -> None:
    """An indented paragraph of a docstring is an equation: it keeps its line breaks."""
    for index in reversed(range(1, len(lines))):
        starts = lines[index].startswith("    ") and not lines[index - 1].strip()
        before = next((text for text in reversed(lines[:index]) if text.strip()), " ")
        if starts and not before.startswith(" ") and not before.endswith("::"):
            lines[index:index] = ["::", ""]


def keep_bars(app, what, name, obj, options, lines: list[str]) -> None:
    """A bar in running text is an absolute value or a condition, no substitution of reStructuredText."""
    for index, line in enumerate(lines):
        if not line.startswith("    "):
            parts = re.split(r"(`[^`]*`)", line)
            lines[index] = "".join(part if part[:1] == "`" else part.replace("|", r"\|") for part in parts)


def write_math(writer, node) -> None:
    """TeX to MathML, which browsers draw without a script from elsewhere."""
    block = type(node).__name__ == "math_block"
    writer.body.append(convert(node.astext(), display="block" if block else "inline"))
    raise nodes.SkipNode


def setup(app) -> None:
    """Hook into autodoc before napoleon reads the sections, and into the writing of equations."""
    app.connect("autodoc-process-docstring", keep_equations, priority=400)
    app.connect("autodoc-process-docstring", keep_bars, priority=401)
    app.add_html_math_renderer("mathml", (write_math, None), (write_math, None))
