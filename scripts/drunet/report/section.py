"""Pages beside the main report: a template's sentences, tables and figures, kept as a file that the report reads again.

A template is Markdown (CommonMark) with Jinja2 in it. Its first line is the title, `# …`; a quoted paragraph (`> …`) is
a note. It has the filters of `drunet.report.words`, the test `missing`, and `table(frame, caption)` and
`figure(file, caption)`, each on a line of its own between empty lines. Every value is escaped, and one that the view
lacks is an error.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from html import unescape
from pathlib import Path
from typing import Any

import pandas as pd
from markdown_it import MarkdownIt
from markupsafe import Markup

from drunet.files import read_json, write_json, write_text
from drunet.report.embedding import embed_drawing, embed_picture, templates
from drunet.report.tables import Column, html_table, number
from drunet.report.words import NOTHING, p_value, text

# Longest side, in px, of an embedded figure: twice its place on the page.
LONGEST = 2200
# Above these counts a table is folded away, and a cell's words take several lines.
MANY_ROWS, MANY_LETTERS = 30, 26
# What a table's letters cannot say: names of the columns that the studies share.
HEADINGS = {
    "p_holm": "p (Holm)",
    "dsc": "Dice",
    "iou": "IoU",
    "auc": "AUC",
    "f1": "F1",
    "hd_um": "HD (µm)",
    "hd95_um": "HD95 (µm)",
    "sd": "sd",
}
# For the notes of every page that tests slide by slide.
SLIDES_AS_INDEPENDENT = (
    "The tests take slides as independent, as the paper did; several slides of one patient are not, so that p is then "
    "rather too small."
)

_MARKDOWN = MarkdownIt("commonmark", {"html": True})
_SOURCE = re.compile(r'<img src="([^":]+)"')


@dataclass(frozen=True)
class Section:
    """What a study tells its reader, in this order.

    Attributes
    ----------
    title : str
    lead : str
        What was asked, how, and the answer, in a few sentences; an empty line starts another paragraph.
    tables : sequence of (caption, DataFrame)
        Shown as they are: columns by their names, numbers in digits that suit their size, text as text.
    figures : sequence of (caption, Path)
        PNG (drawings) or JPEG (pictures), inside the folder that the section is written to.
    notes : sequence of str
        What a reader must know to judge the above.
    """

    title: str
    lead: str
    tables: Sequence[tuple[str, pd.DataFrame]] = ()
    figures: Sequence[tuple[str, Path]] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class RenderedSection:
    """A page's content as HTML.

    Attributes
    ----------
    title : str
    html : str
        From the title on; figures by their file in `folder`.
    folder : Path
    """

    title: str
    html: str
    folder: Path

    @property
    def text(self) -> str:
        """Its words alone, in one line."""
        return " ".join(unescape(re.sub(r"<[^>]+>", " ", self.html)).split())


def render_section(folder: str | os.PathLike[str], template: Path, view: Mapping[str, Any]) -> RenderedSection:
    """Fill in a template and write `section.json`, for the main report, and `report.html`, for a reader.

    Parameters
    ----------
    folder : path
        Where both are written, and where the figures are.
    template : Path
        May include others from its own folder and from those beside it.
    view : mapping
        Numbers, words and tables (DataFrame) that the template names.

    Raises
    ------
    ValueError
        If a figure is not there or lies outside the folder, or the template has no title.
    """
    home = Path(folder)
    environment = templates(template.parent, template.parent.parent)
    environment.globals |= {"table": _table, "figure": partial(_figure, home)}
    tokens = _MARKDOWN.parse(environment.get_template(template.name).render(view))
    title = next((tokens[i + 1] for i, token in enumerate(tokens) if token.tag == "h1" and token.nesting == 1), None)
    if title is None:
        raise ValueError(f"{template.name} has no title: its first line must begin with #")
    for token in tokens:
        # A page is one section of the main report, whose own title stands above.
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{int(token.tag[1]) + 1}"
        elif token.type in ("blockquote_open", "blockquote_close"):
            token.tag = "div"
            if token.nesting == 1:
                token.attrSet("class", "note")
    section = RenderedSection(
        unescape(re.sub(r"<[^>]+>", "", _MARKDOWN.renderInline(title.content))),
        _MARKDOWN.renderer.render(tokens, _MARKDOWN.options, {}),
        home,
    )
    write_json(home / "section.json", {"title": section.title, "html": section.html})
    page = templates().get_template("section_page.html").render(section=section_view(section))
    write_text(home / "report.html", page)
    return section


def _table(frame: pd.DataFrame, caption: str = "") -> Markup:
    """A table under its caption; a long one is folded away."""
    shown = shown_table(frame)
    if len(frame) > MANY_ROWS:
        return Markup("<details><summary>{}</summary>{}</details>").format(caption, shown)
    return Markup("<h3>{}</h3>{}").format(caption, shown) if caption else shown


def _figure(folder: Path, file: str, caption: str) -> Markup:
    path = folder / file
    if not path.is_file():
        raise ValueError(f"the figure {file} is not in the page's folder")
    image = Markup('<img src="{}" alt="{}">').format(_inside(folder, path), caption)
    return Markup('<figure class="plot">{}<figcaption>{}</figcaption></figure>').format(image, caption)


def write_section(folder: str | os.PathLike[str], section: Section) -> None:
    """Write `section.json`, for the main report, and `report.html`, for a reader, into a study's folder.

    Raises
    ------
    ValueError
        A figure lies outside the folder: the file would not survive its being moved or copied.
    """
    home = Path(folder)
    write_json(
        home / "section.json",
        {
            "title": section.title,
            "lead": section.lead,
            "tables": [{"caption": caption, **_plain_table(frame)} for caption, frame in section.tables],
            "figures": [{"caption": caption, "file": _inside(home, path)} for caption, path in section.figures],
            "notes": list(section.notes),
        },
    )
    page = templates().get_template("section_page.html").render(section=section_view(section))
    write_text(home / "report.html", page)


def read_section(path: str | os.PathLike[str]) -> Section | RenderedSection:
    """Read a `section.json` that `write_section` wrote; figures come with the folder of the file before them."""
    home, content = Path(path).parent, read_json(path)
    if "html" in content:
        return RenderedSection(content["title"], content["html"], home)
    return Section(
        title=content["title"],
        lead=content["lead"],
        tables=[(t["caption"], pd.DataFrame(t["rows"], columns=t["columns"])) for t in content["tables"]],
        figures=[(f["caption"], home / f["file"]) for f in content["figures"]],
        notes=content["notes"],
    )


def section_view(section: Section | RenderedSection) -> dict[str, Any]:
    """What the template shows: title, and HTML with the figures embedded."""
    if isinstance(section, RenderedSection):
        html = _SOURCE.sub(lambda found: f'<img src="{_embedded(section.folder / found[1])}"', section.html)
        return {"title": section.title, "html": Markup(html)}  # noqa: S704 - escaped when it was rendered
    return {
        "title": section.title,
        "paragraphs": [words for words in section.lead.split("\n\n") if words.strip()],
        "tables": [(caption, shown_table(frame), len(frame) > MANY_ROWS) for caption, frame in section.tables],
        "figures": [(caption, _embedded(path)) for caption, path in section.figures],
        "notes": list(section.notes),
    }


def shown_table(frame: pd.DataFrame) -> Markup:
    """A table of any make as HTML: digits chosen by column, p-values as p-values, long words on several lines."""
    return html_table(frame, [_column(str(key), frame[key]) for key in frame.columns])


def shown_tests(tests: pd.DataFrame) -> pd.DataFrame:
    """What a page shows of `drunet.statistics.paired_tests`: which arms, how many pairs, how much, how sure.

    The rest (means, what was left out, statistic, method) stands in the study's tests.tsv, and would push p off the
    page. A column of notes that are all empty goes too.
    """
    columns = ["arm_a", "arm_b", "n", "median_difference", "effect", "p", "p_holm"]
    noted = ["note"] if tests["note"].astype(bool).any() else []
    return tests[[*columns, *noted]].rename(columns={"arm_a": "arm", "arm_b": "against"})


def _column(key: str, values: pd.Series) -> Column:
    heading = HEADINGS.get(key, key.replace("_", " "))
    if key == "p" or key.startswith("p_"):
        return Column(key, heading, p_value, numeric=True)
    if pd.api.types.is_bool_dtype(values):
        return Column(key, heading, lambda flag: "yes" if flag else "no")
    if pd.api.types.is_numeric_dtype(values):
        return Column(key, heading, number(_digits(values)), numeric=True)
    words = [text(value) for value in values]
    style = "wrap" if max(map(len, words), default=0) > MANY_LETTERS else ""
    return Column(key, heading, text, numeric=_numbers_in_print(words), style=style)


def _digits(values: pd.Series) -> int:
    """Decimals that leave about three figures to the column's largest number; none where all are whole."""
    known = values.dropna().astype(float)
    known = known[known.abs() < math.inf]
    if known.empty or (known == known.round()).all():
        return 0
    largest = float(known.abs().max())
    return 3 if largest < 10 else 1 if largest < 1000 else 0


def _numbers_in_print(words: Sequence[str]) -> bool:
    """Whether a column of text holds printed numbers (a published 0.90), possibly with gaps."""
    printed = [w for w in words if w != NOTHING]
    return bool(printed) and all(w.lstrip("<≤-−+ ").replace(".", "", 1).isdigit() for w in printed)


def _plain_table(frame: pd.DataFrame) -> dict[str, Any]:
    rows = [[_plain(value) for value in row] for row in frame.itertuples(index=False, name=None)]
    return {"columns": [str(key) for key in frame.columns], "rows": rows}


def _plain(value: Any) -> Any:
    """A cell as JSON has it: numpy's numbers as Python's, what is missing or infinite as null."""
    value = value.item() if hasattr(value, "item") else value
    if value is None or value is pd.NA or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value if isinstance(value, (bool, int, float, str)) else str(value)


def _inside(folder: Path, path: Path) -> str:
    try:
        return path.resolve().relative_to(folder.resolve()).as_posix()
    except ValueError:
        raise ValueError(f"the figure {path.name} must lie inside the study's folder") from None


def _embedded(path: Path) -> str:
    return (embed_drawing if path.suffix.lower() == ".png" else embed_picture)(path, LONGEST)
