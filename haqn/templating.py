"""Jinja2 for configuration files: strict about what is undefined, no HTML escaping.

Knows where the templates are. Callers validate every value before it gets here.
"""

from __future__ import annotations

import sys
from pathlib import Path

import jinja2


def default_directory() -> Path:
    """The templates of a source tree, else those that the package installed."""
    source = Path(__file__).resolve().parent.parent / "templates"
    return source if source.is_dir() else Path(sys.prefix) / "share" / "haqn" / "templates"


def environment(directory: Path | None = None) -> jinja2.Environment:
    """An environment that loads from `directory` (default: `default_directory()`)."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(directory or default_directory()),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 - these are configuration files, not HTML
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
