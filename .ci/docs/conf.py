"""Sphinx: the API from the docstrings, the guide from the Markdown pages, strictly (`make docs`)."""

from importlib.metadata import version as installed_version
from types import GenericAlias

from sphinx.application import Sphinx

project = "LiRA"
author = "the LiRA contributors"
release = version = installed_version("modeling-lira")
extensions = ["sphinx.ext.autodoc", "sphinx.ext.autosummary", "numpydoc", "myst_parser"]
myst_heading_anchors = 4
autosummary_generate = True
autodoc_typehints = "none"  # signatures carry them; numpydoc's sections say what they mean
autodoc_default_options = {"members": True, "show-inheritance": False}
numpydoc_show_class_members = False
exclude_patterns = ["_build"]
html_theme = "alabaster"


def setup(app: Sphinx) -> None:
    """Leave type aliases out: autodoc takes them for functions and fails on their signatures."""
    app.connect(
        "autodoc-skip-member", lambda app, kind, name, value, skip, options: skip or isinstance(value, GenericAlias)
    )
