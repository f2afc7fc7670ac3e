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


def templates(*folders: Path) -> Environment:
    """The pages' templates and those in other folders, with every value escaped and a forgotten one an error."""
    return Environment(
        loader=FileSystemLoader([Path(__file__).parent, *folders]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def embed_figure(figure: Figure) -> str:
    """A figure as a data address; twice the pixels of its place on the page, for sharp screens and print."""
    buffer = io.BytesIO()
    with matplotlib.rc_context(figures.STYLE):
        figure.savefig(buffer, format="png", dpi=200)
    return _data_address("png", buffer.getvalue())


def embed_picture(path: Path, longest: int) -> str:
    """A picture no larger than `longest` as a data address; made anew from its pixels, so that no metadata follows."""
    buffer = io.BytesIO()
    # Full colour resolution: halved, it would smear the thin outlines.
    _small(path, longest).save(buffer, "JPEG", quality=86, subsampling=0, optimize=True)
    return _data_address("jpeg", buffer.getvalue())


def embed_drawing(path: Path, longest: int) -> str:
    """As `embed_picture`, without loss: for the lines and letters of a figure."""
    buffer = io.BytesIO()
    _small(path, longest).save(buffer, "PNG", optimize=True)
    return _data_address("png", buffer.getvalue())


def _small(path: Path, longest: int) -> Image.Image:
    with Image.open(path) as picture:
        small = picture.convert("RGB")
    small.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    return small


def _data_address(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
