"""Sphinx: `make docs`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "haqn"
author = "haqn's authors"
extensions = ["myst_parser", "reference"]
exclude_patterns = ["_build", "_ext"]
html_theme = "alabaster"
html_theme_options = {"description": "HA-first network service", "page_width": "1080px"}
html_show_copyright = False
myst_heading_anchors = 3
