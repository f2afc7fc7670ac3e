"""A study's part of the report, from the file that the study wrote."""

import re
from dataclasses import dataclass
from html import unescape
from pathlib import Path

from markupsafe import Markup

from drunet.files import AnyPath, read_json
from drunet.report.embedding import embed_picture

# Longest side, in px, of an embedded figure: twice its place on the page.
LONGEST = 2200
_SOURCE = re.compile(r'<img src="([^":]+)"')


@dataclass(frozen=True)
class Section:
    """A page's content as HTML from the title on, every value escaped; figures by their PNG or JPEG in `folder`."""

    title: str
    html: str
    folder: Path

    @property
    def text(self) -> str:
        """Its words alone, in one line."""
        return " ".join(unescape(re.sub(r"<[^>]+>", " ", self.html)).split())

    def embedded(self) -> Markup:
        """Its HTML with the figures in it."""

        def embed(found: re.Match[str]) -> str:
            return f'<img src="{embed_picture(self.folder / found[1], LONGEST)}"'

        return Markup(_SOURCE.sub(embed, self.html))  # noqa: S704 - escaped when it was rendered


def read_section(path: AnyPath) -> Section:
    """Read a `section.json`; its figures stand in the same folder."""
    return Section(**read_json(path), folder=Path(path).parent)
