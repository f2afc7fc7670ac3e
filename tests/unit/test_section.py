"""A study's section: written, read again, and shown on its own page and in the main report."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from drunet.report.page import ReportInputs, write_page
from drunet.report.section import Section, read_section, shown_table, shown_tests, write_section
from drunet.report.words import p_value
from drunet.statistics import paired_tests

HOSTILE = "<script>alert('x')</script>"


def make_section(folder: Path) -> Section:
    (folder / "figures").mkdir(parents=True)
    drawing, picture = folder / "figures/plot.png", folder / "figures/photo.jpg"
    Image.new("RGB", (60, 40), (10, 200, 30)).save(drawing)
    Image.new("RGB", (60, 40), (200, 10, 30)).save(picture)
    table = pd.DataFrame(
        {
            "arm": ["with", f"without {HOSTILE}", "neither"],
            "n": np.array([1234, 2, 3]),
            "dsc": [0.91234, np.nan, 1.0],
            "p_holm": [0.0000123, 0.0421, np.nan],
            "published": ["0.90", "", "0.5"],
            "kept": [True, False, True],
        }
    )
    return Section(
        title=f"Study {HOSTILE}",
        lead="What was asked.\n\nWhat came out.",
        tables=[("Scores", table)],
        figures=[("Every slide", drawing), ("A picture", picture)],
        notes=["Mind the gap."],
    )


def words(html: str) -> str:
    return unescape(re.sub(r"[ \n]+", " ", re.sub(r"<[^>]+>", " ", html)))


def test_a_section_reads_back_as_it_was_written(tmp_path: Path) -> None:
    section = make_section(tmp_path)
    write_section(tmp_path, section)
    again = read_section(tmp_path / "section.json")
    assert (again.title, again.lead, again.notes) == (section.title, section.lead, section.notes)
    assert list(again.figures) == list(section.figures)
    (caption, table), (_, original) = again.tables[0], section.tables[0]
    assert caption == "Scores"
    pd.testing.assert_frame_equal(table, original, check_exact=True)


def test_the_file_holds_no_path_from_outside_its_folder(tmp_path: Path) -> None:
    write_section(tmp_path / "study", make_section(tmp_path / "study"))
    content = (tmp_path / "study/section.json").read_text(encoding="utf-8")
    assert str(tmp_path) not in content
    assert [f["file"] for f in json.loads(content)["figures"]] == ["figures/plot.png", "figures/photo.jpg"]


def test_a_moved_folder_still_shows_its_figures(tmp_path: Path) -> None:
    write_section(tmp_path / "here", make_section(tmp_path / "here"))
    (tmp_path / "here").rename(tmp_path / "there")
    section = read_section(tmp_path / "there/section.json")
    assert all(path.is_file() for _, path in section.figures)


def test_a_figure_outside_the_folder_is_refused(tmp_path: Path) -> None:
    section = make_section(tmp_path / "here")
    with pytest.raises(ValueError, match=r"plot\.png must lie inside"):
        write_section(tmp_path / "elsewhere", section)


def test_the_page_is_complete_in_itself_and_escapes_what_it_is_given(tmp_path: Path) -> None:
    write_section(tmp_path, make_section(tmp_path))
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page and HOSTILE in words(page)
    sources = re.findall(r'<img src="([^"]+)"', page)
    assert [source[:15] for source in sources] == ["data:image/png;", "data:image/jpeg"]
    assert not re.search(r"(?:href|src)=\"(?!data:|#)", page)
    shown = words(page)
    assert shown.index("What was asked.") < shown.index("What came out.") < shown.index("Mind the gap.")


def test_the_main_report_shows_the_sections_that_it_is_given(tmp_path: Path) -> None:
    slides = pd.DataFrame({"slide_id": ["A"], "split": ["test"], "status": ["ok"]})
    metrics = pd.DataFrame(columns=["run", "slide", "patient_id", "split", "stage", "dsc", "iou"])
    tiles = pd.DataFrame(columns=["model", "slide", "split"])
    section = make_section(tmp_path / "study")
    inputs = ReportInputs("T", slides, metrics, tiles, sections=[section, section])
    write_page(tmp_path / "report.html", inputs)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count("What was asked.") == 2
    targets = re.findall(r'href="#(study-\d)"', page)
    assert targets == ["study-1", "study-2"]
    assert all(f'<section id="{target}">' in page for target in targets)
    assert "data:image/jpeg" in page and "<script" not in page


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


def test_a_long_table_is_folded_away(tmp_path: Path) -> None:
    tmp_path.joinpath("figures").mkdir()
    long = pd.DataFrame({"n": range(40)})
    write_section(tmp_path, Section("T", "L", tables=[("Short", long.head(3)), ("Long", long)]))
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<h3>Short</h3>" in page and "<summary>Long</summary>" in page


@pytest.mark.parametrize(
    ("value", "shown"), [(0.0421, "0.042"), (0.0009, "< 0.001"), (1.0, "1.000"), (np.nan, "–"), (None, "–")]
)
def test_a_p_value_is_printed_as_papers_do(value: float | None, shown: str) -> None:
    assert p_value(value) == shown


def test_tests_are_shown_by_what_decides_and_keep_a_note_where_there_is_one() -> None:
    values = {"few": [0.1, 0.2, 0.3], "same": [0.1, 0.2, 0.3], "other": [0.4, 0.1, 0.5]}
    long = [{"slide": str(i), "arm": arm, "value": v} for arm, column in values.items() for i, v in enumerate(column)]
    tests = paired_tests(pd.DataFrame(long))
    shown = shown_tests(tests)
    assert list(shown) == ["arm", "against", "n", "median_difference", "effect", "p", "p_holm", "note"]
    assert shown["note"].tolist() == tests["note"].tolist()
    assert shown.loc[0, ["arm", "against", "n"]].tolist() == ["few", "same", 3]
    assert "note" not in shown_tests(tests.assign(note=""))
