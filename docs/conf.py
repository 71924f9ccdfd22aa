"""The configuration of Sphinx."""

from importlib.metadata import version as version_of

project = "tenantkit"
author = "the tenantkit contributors"
release = version = version_of("tenantkit")

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
default_role = "code"  # docstrings name objects of this and of other libraries

html_theme = "furo"
html_title = f"tenantkit {release}"
html_show_sourcelink = False

myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3

autodoc_inherit_docstrings = False  # SQLAlchemy's docstrings refer to its own documentation
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "separated"
