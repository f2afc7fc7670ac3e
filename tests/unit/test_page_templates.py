"""Pages from templates: sentences, tables and figures of a view, escaped, with nothing forgotten."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import UndefinedError
from PIL import Image

from drunet.report import words
from drunet.report.page import ReportInputs, write_page
from drunet.report.section import RenderedSection, read_section, render_section

HOSTILE = "<script>alert('x')</script>"
TEMPLATE = """# Study of {{ name }}

Mean Dice of {{ slides | plural("slide") }}: {{ dice | with_interval(*interval) }}.

{{ figure("figures/plot.png", "Every slide") }}

{{ table(scores, "Scores") }}

> A note on {{ name }}.
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "out/figures").mkdir(parents=True)
    Image.new("RGB", (60, 40), (10, 200, 30)).save(tmp_path / "out/figures/plot.png")
    (tmp_path / "page.md.j2").write_text(TEMPLATE, encoding="utf-8")
    return tmp_path


def view(**more: Any) -> dict[str, Any]:
    scores = pd.DataFrame({"model": ["a_b_c", HOSTILE], "dsc": [0.5, np.nan]})
    return {"name": "one", "slides": 1, "dice": 0.5, "interval": (0.25, 0.75), "scores": scores, **more}


def render(folder: Path, **more: Any) -> RenderedSection:
    return render_section(folder / "out", folder / "page.md.j2", view(**more))


def test_the_view_fills_sentences_tables_figures_and_notes(folder: Path) -> None:
    section = render(folder)
    assert section.title == "Study of one"
    assert "Mean Dice of 1 slide: 0.50 (0.25 to 0.75)." in section.text
    assert "<h2>Study of one</h2>" in section.html and "<h3>Scores</h3>" in section.html
    assert '<img src="figures/plot.png" alt="Every slide">' in section.html
    assert '<div class="note">\n<p>A note on one.</p>' in section.html
    assert ">a_b_c</td>" in section.html


def test_what_a_user_wrote_is_shown_and_never_carried_out(folder: Path) -> None:
    section = render(folder, name=HOSTILE)
    page = (folder / "out/report.html").read_text(encoding="utf-8")
    assert "<script" not in section.html and "<script" not in page
    assert section.title == f"Study of {HOSTILE}" and f"Study of {HOSTILE}" in section.text


def test_a_page_embeds_its_figures_and_its_file_names_them(folder: Path) -> None:
    render(folder)
    page = (folder / "out/report.html").read_text(encoding="utf-8")
    assert 'src="data:image/png;base64,' in page and "figures/plot.png" not in page
    assert str(folder) not in json.dumps(json.loads((folder / "out/section.json").read_text(encoding="utf-8")))


def test_the_main_report_shows_a_section_after_its_folder_was_moved(folder: Path) -> None:
    render(folder)
    (folder / "out").rename(folder / "there")
    section = read_section(folder / "there/section.json")
    empty = pd.DataFrame(columns=["run", "slide", "patient_id", "split", "stage", "dsc", "iou"])
    slides = pd.DataFrame({"slide_id": ["S"], "split": ["test"], "status": ["ok"]})
    tiles = pd.DataFrame(columns=["model", "slide"])
    write_page(folder / "page.html", ReportInputs("Title", slides, empty, tiles, sections=[section]))
    page = (folder / "page.html").read_text(encoding="utf-8")
    assert "<h2>Study of one</h2>" in page and page.count("data:image/png;base64,") == 1


def test_a_value_that_the_view_lacks_is_an_error(folder: Path) -> None:
    given_view = view()
    del given_view["dice"]
    with pytest.raises(UndefinedError, match="dice"):
        render_section(folder / "out", folder / "page.md.j2", given_view)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("No title.", "has no title"),
        ("# T\n\n{{ figure('figures/gone.png', 'x') }}", "gone.png is not in"),
        ("# T\n\n{{ figure('../page.md.j2', 'x') }}", "must lie inside"),
    ],
)
def test_a_template_that_cannot_be_shown_is_refused(folder: Path, template: str, message: str) -> None:
    (folder / "page.md.j2").write_text(template, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        render(folder)


@pytest.mark.parametrize("filter_", [words.number, words.signed, words.percent, words.p_value, words.duration])
@pytest.mark.parametrize("value", [None, float("nan"), pd.NA])
def test_what_is_missing_is_a_dash(filter_: Any, value: Any) -> None:
    assert filter_(value) == "–"


@given(st.lists(st.text("abc", min_size=1), max_size=6))
def test_a_list_in_words_names_all_in_order(items: list[str]) -> None:
    assert words.listed(items).replace(" and ", ", ").split(", ") == (items or [""])


@given(st.floats(-1e9, 1e9, allow_nan=False), st.integers(0, 6))
def test_a_number_reads_back_within_its_digits(value: float, digits: int) -> None:
    back = float(words.number(value, digits).replace("\u202f", "").replace("−", "-"))
    assert abs(back - value) <= 0.5 * 10**-digits * (1 + 1e-9) + 1e-6 * abs(value)
