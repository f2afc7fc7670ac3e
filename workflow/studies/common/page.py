"""Pages of the studies: a template's sentences, tables and figures, kept as a file that the main report reads again.

A template is Markdown with Jinja2 in it. Its first line is the title, `# …`; a quoted paragraph (`> …`) is a note. It
has the filters of `studies.common.words`, the test `missing`, `frame` (DataFrame), and `table(frame, caption)` and
`figure(file, caption)`, each on a line of its own. Every value is escaped, and one that the view lacks is an error.
"""

import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from html import unescape
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment
from markdown_it import MarkdownIt
from markupsafe import Markup

from drunet.files import write_json, write_text
from drunet.report import embedding
from drunet.report.section import Section
from drunet.report.tables import Column, html_table, number
from drunet.report.words import NOTHING, text
from studies.common.words import FILTERS, p_value

# Above these counts a table is folded away, and a cell's words take several lines.
MANY_ROWS, MANY_LETTERS = 30, 26
# What a table's letters cannot say: names of the columns that the studies share.
HEADINGS = {"p_holm": "p (Holm)", "dsc": "Dice", "iou": "IoU", "auc": "AUC", "f1": "F1"}
HEADINGS |= {"hd_um": "HD (µm)", "hd95_um": "HD95 (µm)"}

_MARKDOWN = MarkdownIt("commonmark", {"html": True})


def templates(*folders: Path) -> Environment:
    """The templates of a study's `folders`, with all filters; as `drunet.report.embedding.templates`."""
    environment = embedding.templates(*folders)
    environment.filters |= FILTERS
    return environment


def by_name(files: Sequence[str], names: Iterable[str]) -> dict[str, list[str]]:
    """Files by name, as many of each, from a list in the order of `expand("{name}/{slide}", …)`: first name first.

    >>> by_name(["a/1", "a/2", "b/1", "b/2"], ["a", "b"])
    {'a': ['a/1', 'a/2'], 'b': ['b/1', 'b/2']}
    """
    wanted = list(names)
    each, rest = divmod(len(files), max(1, len(wanted)))
    if rest or (files and not wanted):
        raise ValueError(f"{len(files)} files are not as many of each of {len(wanted)} names")
    return {name: list(files[i * each : (i + 1) * each]) for i, name in enumerate(wanted)}


def render_section(folder: str | os.PathLike[str], template: Path, view: Mapping[str, Any]) -> Section:
    """Fill in a template and write `section.json`, for the main report, and `report.html`, for a reader, into `folder`.

    The template may include others from its own folder and from those beside it; `view` has the numbers, words and
    tables (DataFrame) that it names. Raises ValueError if a figure is not in the folder, or the template has no title.
    """
    home = Path(folder)
    environment = templates(template.parent, template.parent.parent)
    environment.globals |= {"table": shown_table, "frame": pd.DataFrame, "figure": partial(_figure, home)}
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
    heading = unescape(re.sub(r"<[^>]+>", "", _MARKDOWN.renderInline(title.content)))
    section = Section(heading, _MARKDOWN.renderer.render(tokens, _MARKDOWN.options, {}), home)
    # One for the main report, one for a reader.
    write_json(home / "section.json", {"title": section.title, "html": section.html})
    write_text(home / "report.html", environment.get_template("section_page.html").render(section=section))
    return section


def shown_table(frame: pd.DataFrame, caption: str = "") -> Markup:
    """A table of any make as HTML: digits chosen by column, p-values as p-values, long words on several lines.

    It stands under its caption; a long one is folded away.
    """
    shown = html_table(frame, [_column(str(key), frame[key]) for key in frame.columns])
    if len(frame) > MANY_ROWS:
        return Markup("<details><summary>{}</summary>{}</details>").format(caption, shown)
    return Markup("<h3>{}</h3>{}").format(caption, shown) if caption else shown


def _figure(folder: Path, file: str, caption: str) -> Markup:
    if not (folder / file).is_file():
        raise ValueError(f"the figure {file} is not in the page's folder")
    image = Markup('<img src="{}" alt="{}">').format(file, caption)
    return Markup('<figure class="plot">{}<figcaption>{}</figcaption></figure>').format(image, caption)


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
