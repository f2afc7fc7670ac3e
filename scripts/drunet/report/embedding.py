"""Putting pictures into a page that is complete in itself."""

import base64
import io
import math
import shutil
from pathlib import Path
from typing import Any

import matplotlib
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.figure import Figure
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from drunet.files import whole_file
from drunet.report import figures
from drunet.report.words import FILTERS, missing

# Longest side, in px, below which no embedded picture shrinks.
SMALLEST = 240


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


def embed_picture(path: Path, longest: int, most: float = math.inf) -> str:
    """A picture no larger than `longest` as a data address; made anew from its pixels where metadata would follow.

    A JPEG that is small enough stays as it is. A PNG, with the lines and letters of a drawing, stays one; anything else
    becomes a JPEG. The picture shrinks until its address has no more than `most` characters, or `SMALLEST` pixels.
    """
    if _plain(path, longest) and len(address := _data_address("jpeg", path.read_bytes())) <= most:
        return address
    picture, kind = _pixels(path), "png" if path.suffix.lower() == ".png" else "jpeg"
    # What pictures of slides take: 0.3 characters per pixel of a square around them.
    side = int(min(longest, max(SMALLEST, (most / 0.3) ** 0.5)))
    while len(address := _data_address(kind, _encoded(picture, side, kind))) > most and side > SMALLEST:
        side = max(SMALLEST, int(side * min(0.9, 0.97 * (most / len(address)) ** 0.5)))
    return address


def write_picture(source: Path, target: Path, longest: int) -> None:
    """Put a JPEG that is its pixels alone into a folder as it is, linked where the file system can.

    Anything else becomes a JPEG no larger than `longest`, made anew from its pixels, so that no metadata follows.
    """
    with whole_file(target) as temporary:
        if not _plain(source):
            temporary.write_bytes(_encoded(_pixels(source), longest, "jpeg"))
            return
        try:
            temporary.hardlink_to(source)
        except OSError:
            shutil.copyfile(source, temporary)


def _plain(path: Path, longest: float = math.inf) -> bool:
    """Whether a file is an RGB JPEG no larger than `longest`, without metadata."""
    with Image.open(path, formats=("PNG", "JPEG")) as picture:
        small = picture.mode == "RGB" and max(picture.size) <= longest
        return small and isinstance(picture, JpegImageFile) and {name for name, _ in picture.applist} <= {"APP0"}


def _pixels(path: Path) -> Image.Image:
    with Image.open(path, formats=("PNG", "JPEG")) as picture:
        return picture.convert("RGB")


def _encoded(picture: Image.Image, longest: int, kind: str) -> bytes:
    small = picture.copy()
    small.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    # Full colour resolution: halved, it would smear the thin outlines.
    options: dict[str, Any] = {} if kind == "png" else {"quality": 86, "subsampling": 0}
    small.save(buffer, kind.upper(), optimize=True, **options)
    return buffer.getvalue()


def _data_address(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
