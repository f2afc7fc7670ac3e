"""Putting pictures into a page that is complete in itself."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import matplotlib
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.figure import Figure
from PIL import Image

from drunet.report import figures
from drunet.report.words import FILTERS, missing


def templates(*folders: Path) -> Environment:
    """The pages' templates, those of `folders` first, with every value escaped and a forgotten one an error."""
    environment = Environment(
        loader=FileSystemLoader([*folders, Path(__file__).parent]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= FILTERS
    environment.tests["missing"] = missing
    return environment


def embed_figure(figure: Figure) -> str:
    """A figure as a data address; twice the pixels of its place on the page, for sharp screens and print."""
    buffer = io.BytesIO()
    with matplotlib.rc_context(figures.STYLE):
        figure.savefig(buffer, format="png", dpi=200)
    return _data_address("png", buffer.getvalue())


def embed_picture(path: Path, longest: int) -> str:
    """A picture no larger than `longest` as a data address; made anew from its pixels, so that no metadata follows.

    A PNG, with the lines and letters of a drawing, stays one; anything else becomes a JPEG.
    """
    with Image.open(path, formats=("PNG", "JPEG")) as picture:
        small = picture.convert("RGB")
    small.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    if path.suffix.lower() == ".png":
        small.save(buffer, "PNG", optimize=True)
        return _data_address("png", buffer.getvalue())
    # Full colour resolution: halved, it would smear the thin outlines.
    small.save(buffer, "JPEG", quality=86, subsampling=0, optimize=True)
    return _data_address("jpeg", buffer.getvalue())


def _data_address(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
