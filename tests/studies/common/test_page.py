"""A study's page from its template: escaped, with nothing forgotten, on its own and in the main report."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from jinja2 import UndefinedError
from PIL import Image

from drunet.report.page import ReportInputs, write_page
from drunet.report.section import Section, read_section
from studies.common.page import render_section, shown_table

HOSTILE = "<script>alert('x')</script>"
TEMPLATE = """# Study of {{ name }}

Mean Dice of {{ slides | plural("slide") }}: {{ dice | with_interval(*interval) }}.

{{ figure("figures/plot.png", "Every slide") }}

{{ table(scores, "Scores") }}

> A note on {{ name }}.
"""


def words(html: str) -> str:
    return unescape(re.sub(r"[ \n]+", " ", re.sub(r"<[^>]+>", " ", html)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "out/figures").mkdir(parents=True)
    Image.new("RGB", (60, 40), (10, 200, 30)).save(tmp_path / "out/figures/plot.png")
    (tmp_path / "page.md.j2").write_text(TEMPLATE, encoding="utf-8")
    return tmp_path


def view(**more: Any) -> dict[str, Any]:
    scores = pd.DataFrame({"model": ["a_b_c", HOSTILE], "dsc": [0.5, np.nan]})
    return {"name": "one", "slides": 1, "dice": 0.5, "interval": (0.25, 0.75), "scores": scores, **more}


def render(folder: Path, **more: Any) -> Section:
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


@pytest.mark.slow
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
    ],
)
def test_a_template_that_cannot_be_shown_is_refused(folder: Path, template: str, message: str) -> None:
    (folder / "page.md.j2").write_text(template, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        render(folder)


def test_a_drawing_is_embedded_without_loss_and_a_picture_as_jpeg(folder: Path) -> None:
    Image.new("RGB", (60, 40), (200, 10, 30)).save(folder / "out/figures/photo.jpg")
    (folder / "page.md.j2").write_text(TEMPLATE + '\n{{ figure("figures/photo.jpg", "A picture") }}\n', "utf-8")
    section = render(folder, name=HOSTILE)
    again = read_section(folder / "out/section.json")
    assert again == section
    page = (folder / "out/report.html").read_text(encoding="utf-8")
    sources = re.findall(r'<img src="([^"]+)"', page)
    assert [source[:15] for source in sources] == ["data:image/png;", "data:image/jpeg"]
    assert not re.search(r"(?:href|src)=\"(?!data:|#)", page)


def test_the_main_report_shows_the_sections_that_it_is_given(folder: Path) -> None:
    section = render(folder, name=HOSTILE)
    slides = pd.DataFrame({"slide_id": ["A"], "split": ["test"], "status": ["ok"]})
    metrics = pd.DataFrame(columns=["run", "slide", "patient_id", "split", "stage", "dsc", "iou"])
    tiles = pd.DataFrame(columns=["model", "slide", "split"])
    write_page(folder / "page.html", ReportInputs("T", slides, metrics, tiles, sections=[section, section]))
    page = (folder / "page.html").read_text(encoding="utf-8")
    assert page.count("Mean Dice of 1 slide") == 2 and "<script" not in page
    targets = re.findall(r'href="#(study-\d)"', page)
    assert targets == ["study-1", "study-2"]
    assert all(f'<section id="{target}">' in page for target in targets)


def test_a_table_shows_numbers_in_digits_that_suit_them() -> None:
    frame = make_numbers()
    shown = words(str(shown_table(frame)))
    for expected in ("1\u202f234", "0.912", "< 0.001", "0.042", "0.90", "yes", "123.5", "12\u202f346"):
        assert expected in shown, expected
    assert "1234.0" not in shown and "0.91234" not in shown


def make_numbers() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "n": [1234, 5],
            "dsc": [0.91234, np.nan],
            "p": [0.0000123, 0.0421],
            "published": ["0.90", ""],
            "kept": [True, False],
            "seconds": [123.456, 2.0],
            "um2": [12345.6, 1.0],
        }
    )


def test_numbers_stand_right_and_words_left_and_long_words_wrap() -> None:
    frame = pd.DataFrame(
        {"dsc": [0.5], "published": ["0.90"], "arm": ["with"], "note": ["a sentence that runs on and on"]}
    )
    heads = re.findall(r'<th scope="col"([^>]*)>', str(shown_table(frame)))
    assert heads == [' class="n"', ' class="n"', "", ' class="wrap"']


def test_a_long_table_is_folded_away(folder: Path) -> None:
    long = pd.DataFrame({"n": range(40)})
    (folder / "page.md.j2").write_text("# T\n\n{{ table(short, 'Short') }}\n\n{{ table(long, 'Long') }}\n", "utf-8")
    html = render_section(folder / "out", folder / "page.md.j2", {"short": long.head(3), "long": long}).html
    assert "<h3>Short</h3>" in html and "<summary>Long</summary>" in html
