"""Sphinx: how this site is built. `make docs` does it; a warning is an error."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))

from quantum_control import __version__

project = "quantum_control"
copyright = "the quantum_control maintainers, Apache-2.0"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "reference"]
exclude_patterns = ["_build", "results"]  # reports of runs, linked to as files

html_theme = "furo"
html_title = f"quantum_control {release}"
html_copy_source = False
html_show_sphinx = False

# `page.md#heading` finds its heading as it does where the files are read as they are.
myst_heading_anchors = 3

# Every reference of the pages has to be there. Names in signatures are left out: most are of the standard
# library, or private, and have no page here.
nitpicky = True
nitpick_ignore_regex = [(r"py:.*", r".*")]
# Names that a module imports for its annotations only are looked for by their last part: several have it.
suppress_warnings = ["ref.python"]

# `words` in docstrings are code.
default_role = "code"
napoleon_google_docstring = False
autodoc_typehints = "description"
# Modules are headings; their contents would make the site's own contents a hundred times as long.
toc_object_entries = False
autodoc_member_order = "bysource"
# Standard-library docstrings are no markup of ours.
autodoc_inherit_docstrings = False
