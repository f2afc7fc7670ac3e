"""The sample sheet: every mistake is one message that says where it is, and no patient is divided."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drunet.cohort import (
    NAMES_OF_A_RUN,
    REQUIRED,
    SheetRow,
    check_files,
    few,
    patient_folds,
    read_sheets,
    remarks,
    twin_slides,
)
from drunet.errors import SheetError
from drunet.files import ID_PATTERN, is_safe_id

HEADER = "\t".join(REQUIRED)
GOOD = {
    "slide_id": "case_1",
    "patient_id": "p1",
    "path": "slides/case_1.tif",
    "split": "train",
    "annotation": "case_1.geojson",
    "annotation_kind": "wta",
}
ROOT = Path(__file__).parents[2]


def line(**values: str) -> str:
    """A row; of a slide file named after the slide, if nothing is said of it."""
    slide = {"path": f"slides/{values.get('slide_id', GOOD['slide_id'])}.tif"}
    return "\t".join((GOOD | slide | values).values())


def write(folder: Path, *lines: str, header: str = HEADER, name: str = "slides.tsv") -> str:
    (folder / name).write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return str(folder / name)


def refused(path: str | list[str]) -> SheetError:
    with pytest.raises(SheetError) as caught:
        read_sheets(path)
    assert "\n" not in str(caught.value)
    assert caught.value.mend
    return caught.value


# What is read


def test_a_row_is_read_with_its_paths_from_the_sheets_own_folder(tmp_path: Path) -> None:
    row = read_sheets(write(tmp_path, line()))["case_1"]
    assert (row.slide_id, row.patient_id, row.split, row.annotation_kind, row.mpp) == (
        "case_1",
        "p1",
        "train",
        "wta",
        None,
    )
    assert row.path == str(tmp_path / "slides" / "case_1.tif")
    assert row.annotation == str(tmp_path / "case_1.geojson")


def test_relative_paths_start_at_the_root_and_absolute_ones_stay(tmp_path: Path) -> None:
    sheet = write(tmp_path, line(path="a/../b.tif"), line(slide_id="case_2", path="/data/c.tif", annotation="../c.xml"))
    rows = read_sheets(sheet, root="some/folder")
    assert rows["case_1"].path == "some/folder/b.tif"
    assert rows["case_2"].path == "/data/c.tif"
    assert rows["case_2"].annotation == "some/c.xml"


def test_several_sheets_are_one_cohort_in_their_order_each_with_its_own_folder(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one = write(tmp_path / "a", line(slide_id="z"), line(slide_id="y"))
    two = write(tmp_path / "b", line(slide_id="x", patient_id="p2", split="test"))
    rows = read_sheets([one, two])
    assert list(rows) == ["z", "y", "x"]
    assert rows["x"].path == str(tmp_path / "b" / "slides" / "x.tif")


def test_comments_blank_lines_blanks_and_a_byte_order_mark_are_no_matter(tmp_path: Path) -> None:
    path = tmp_path / "slides.tsv"
    text = f"# our cohort\n{HEADER}\textra\r\n\n  # not here\n".replace("  # not here\n", "# here\n")
    path.write_bytes(b"\xef\xbb\xbf" + (text + " case_1 \tp1\t a.tif\ttrain\t\t\tseen twice\r\n").encode())
    row = read_sheets(str(path))["case_1"]
    assert row.path == str(tmp_path / "a.tif")
    assert row.split == "train"


def test_a_number_sign_within_a_row_is_part_of_its_value(tmp_path: Path) -> None:
    row = read_sheets(write(tmp_path, line(path="slides/case #3.tif", patient_id="p#1")))["case_1"]
    assert row.path.endswith("case #3.tif")
    assert (row.patient_id, row.split) == ("p#1", "train")


def test_empty_cells_at_the_end_of_a_line_may_be_left_out(tmp_path: Path) -> None:
    row = read_sheets(write(tmp_path, "case_1\tp1\ta.tif"))["case_1"]
    assert (row.split, row.annotation, row.annotation_kind) == ("", "", "")


def test_words_that_tables_take_for_nothing_are_kept(tmp_path: Path) -> None:
    rows = read_sheets(write(tmp_path, line(slide_id="NA", patient_id="null"), line(slide_id="007", patient_id="nan")))
    assert {s: r.patient_id for s, r in rows.items()} == {"NA": "null", "007": "nan"}


@pytest.mark.parametrize(("text", "value"), [("0.25", 0.25), ("", None), (" 5e-1 ", 0.5), ("1", 1.0)])
def test_the_resolution_is_read_from_its_column(tmp_path: Path, text: str, value: float | None) -> None:
    sheet = write(tmp_path, f"{line()}\t{text}", header=f"{HEADER}\tmpp")
    assert read_sheets(sheet)["case_1"].mpp == value


def test_the_demo_sheet_is_a_good_one() -> None:
    rows = read_sheets(str(ROOT / "resources" / "demo" / "slides.tsv"))
    assert {r.split for r in rows.values()} == {"train", "val", "test"}
    assert {r.annotation_kind for r in rows.values()} == {"wta", "psa"}


# What is refused


@pytest.mark.parametrize("column", REQUIRED)
def test_a_missing_column_is_named(tmp_path: Path, column: str) -> None:
    header = "\t".join(c for c in REQUIRED if c != column)
    error = refused(write(tmp_path, header=header))
    assert error.what == f"the sheet lacks the column {column}"


@pytest.mark.parametrize("column", ["slide_id", "patient_id", "path"])
def test_an_empty_cell_that_is_needed_is_named_with_its_line(tmp_path: Path, column: str) -> None:
    error = refused(write(tmp_path, line(slide_id="a"), "", "# note", line(**{column: " "})))
    assert column in error.what
    assert error.where.endswith("slides.tsv, line 5")


def test_a_slide_given_twice_is_refused_within_a_sheet_and_across_sheets(tmp_path: Path) -> None:
    error = refused(write(tmp_path, line(), line()))
    assert (error.what, error.found) == ("a slide_id is given twice", "case_1")
    assert error.where.endswith("line 3")
    sheets = [write(tmp_path, line(), name=f"{n}.tsv") for n in "ab"]
    assert refused(sheets).where.endswith("b.tsv, line 2")


UNSAFE = [
    "../../x",
    "a..b",
    "..",
    ".",
    ".hidden",
    "a/b",
    "a\\b",
    "-rf",
    "_a",
    "a b",
    "ä",
    "a\u2024b",
    "a*",
    "{x}",
    "a:b",
]


@pytest.mark.parametrize("slide_id", [*UNSAFE, "a."])
def test_an_id_that_could_leave_its_folder_or_is_no_plain_name_is_refused(tmp_path: Path, slide_id: str) -> None:
    error = refused(write(tmp_path, line(slide_id=slide_id)))
    assert "safe" in error.what
    assert error.found == slide_id


@given(st.text(alphabet="aZ9._-/\\ \n", max_size=8))
def test_a_safe_id_is_one_plain_folder_name_and_one_wildcard(value: str) -> None:
    plain = bool(value) and value[0] in "aZ9" and not set(value) & set("/\\ \n")
    expected = plain and ".." not in value and not value.endswith(".")
    assert is_safe_id(value) == expected
    # Snakemake embeds the pattern in a longer one.
    assert (re.fullmatch(f"results/(?P<slide>{ID_PATTERN})/t", f"results/{value}/t") is not None) == expected


@pytest.mark.parametrize(
    ("column", "value", "legal"),
    [
        ("split", "Train", "train, val, test"),
        ("split", "validation", "train, val, test"),
        ("annotation_kind", "whole", "wta, psa"),
    ],
)
def test_an_unknown_word_is_refused_with_the_known_ones(tmp_path: Path, column: str, value: str, legal: str) -> None:
    error = refused(write(tmp_path, line(**{column: value})))
    assert column in error.what
    assert error.found == value
    assert legal in error.mend


@pytest.mark.parametrize("values", [{"annotation": ""}, {"annotation_kind": ""}])
def test_an_annotation_and_its_kind_go_together(tmp_path: Path, values: dict[str, str]) -> None:
    assert "go together" in refused(write(tmp_path, line(**values))).what


@pytest.mark.parametrize("mpp", ["0", "-0.25", "0,25", "nan", "inf", "40x", "0.25 um"])
def test_a_resolution_that_is_no_positive_number_is_refused(tmp_path: Path, mpp: str) -> None:
    error = refused(write(tmp_path, f"{line()}\t{mpp}", header=f"{HEADER}\tmpp"))
    assert "µm/px" in error.what
    assert error.found == mpp


def test_a_patient_in_two_splits_is_refused_with_both_slides(tmp_path: Path) -> None:
    one = write(tmp_path, line(), line(slide_id="case_2"), name="a.tsv")
    two = write(tmp_path, line(slide_id="case_9", split="test"), name="b.tsv")
    error = refused([one, two])
    assert "both sides" in error.what
    assert error.found == "case_1 in train, case_9 in test"


def test_slides_without_a_split_bind_no_patient(tmp_path: Path) -> None:
    rows = read_sheets(write(tmp_path, line(), line(slide_id="b", split=""), line(slide_id="c", split="")))
    assert len(rows) == 3


@pytest.mark.parametrize("text", [HEADER, f"{HEADER}\n\n# nothing\n"])
def test_a_sheet_without_rows_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "s.tsv").write_text(text)
    assert refused(str(tmp_path / "s.tsv")).what == "the sheet lists no slide"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n\n",
        b"PK\x03\x04\x14\x00\xff\xfe\x80\x81",
        "slide_id\tpatient_id".encode("utf-16"),
        (HEADER + "\n" + line()).replace("\t", ",").encode(),
        (HEADER + "\n" + line()).replace("\t", "  ").encode(),
    ],
)
def test_what_is_no_table_with_tabs_is_refused_and_tabs_are_asked_for(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "s.tsv").write_bytes(data)
    assert "tab" in refused(str(tmp_path / "s.tsv")).mend


def test_a_row_longer_than_the_header_is_refused_also_when_all_are(tmp_path: Path) -> None:
    error = refused(write(tmp_path, f"{line()}\t0.25", f"{line(slide_id='b')}\t0.25"))
    assert "more values" in error.what
    assert error.where.endswith("line 2")
    assert len(read_sheets(write(tmp_path, f"{line()}\t\t"))) == 1


def test_a_column_given_twice_is_refused(tmp_path: Path) -> None:
    assert refused(write(tmp_path, f"{line()}\ttest", header=f"{HEADER}\tsplit")).found == "split"


@pytest.mark.parametrize(
    ("column", "meant"),
    [
        ("MPP", "mpp"),
        ("mp", "mpp"),
        ("Cohort", "cohort"),
        ("cohorts", "cohort"),
        ("chort", "cohort"),
        ("Annotation", "annotation"),
    ],
)
def test_a_column_that_would_be_passed_over_for_its_spelling_is_refused(
    tmp_path: Path, column: str, meant: str
) -> None:
    error = refused(write(tmp_path, f"{line()}\t0.25", header=f"{HEADER}\t{column}"))
    assert "passed over" in error.what
    assert (error.found, error.mend.split("?")[0]) == (column, f"Did you mean {meant}")


@pytest.mark.parametrize(
    "column", ["stain", "scanner", "annotator", "patient_age", "site", "comment", "colour", "date"]
)
def test_a_column_of_the_users_own_is_no_matter(tmp_path: Path, column: str) -> None:
    assert list(read_sheets(write(tmp_path, f"{line()}\tx", header=f"{HEADER}\t{column}"))) == ["case_1"]


def test_a_slide_file_in_two_rows_is_refused_by_whatever_path(tmp_path: Path) -> None:
    (tmp_path / "other").symlink_to(tmp_path / "slides")
    for path in ("slides/case_1.tif", "slides/../slides/case_1.tif", "other/case_1.tif"):
        twin = line(slide_id="twin", patient_id="p2", split="test", path=path)
        error = refused(write(tmp_path, line(), twin))
        assert (error.what, error.found) == ("a slide file stands in two rows", "case_1 and twin")


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        ('"margin, see letter\ttest', "quotation mark"),
        ('"', "quotation mark"),
        ('a "b\t"c', "quotation mark"),
    ],
)
def test_a_mark_that_swallows_other_cells_is_refused_with_its_line(tmp_path: Path, cells: str, told: str) -> None:
    error = refused(write(tmp_path, line(), f"{line(slide_id='b')}\t{cells}", header=f"{HEADER}\tnote\tmore"))
    assert told in error.what and error.where.endswith("line 3")


@pytest.mark.parametrize("cell", ["P\x002", "\x1b[2J", "a\x07", "\x7f", "\x9b2J", "a\u2028b", "\u202eb"])
def test_control_characters_in_a_sheet_are_refused(tmp_path: Path, cell: str) -> None:
    error = refused(write(tmp_path, line(), line(slide_id="b", patient_id=cell)))
    assert "control character" in error.what and error.where.endswith("line 3")


def test_a_patient_is_named_in_no_message(tmp_path: Path) -> None:
    for row in (line(slide_id="b", patient_id="Kari Nordmann", split="test"), line(patient_id='"Kari Nordmann')):
        error = refused(write(tmp_path, line(patient_id="Kari Nordmann"), row))
        assert "Kari" not in str(error)


@pytest.mark.parametrize("note", ['"5 mm" core', 'a 5" core of 6"', '"all of it"', 'said ""so""', ""])
def test_marks_within_a_text_swallow_nothing(tmp_path: Path, note: str) -> None:
    rows = read_sheets(write(tmp_path, f"{line()}\t{note}\tbreast", header=f"{HEADER}\tnote\tcohort"))
    assert rows["case_1"].cohort == "breast" and rows["case_1"].annotation_kind == "wta"


def test_a_cell_with_a_line_break_is_refused(tmp_path: Path) -> None:
    assert "quotation mark" in refused(write(tmp_path, f'{line()}\t"two\nlines"', header=f"{HEADER}\tnote")).what


LOOPING = ["a" * 20, "x" + "ab" * 25, "b" + "0" * 20, "a.b" * 21]
IN_THE_WAY = [
    "metrics.tsv",
    "summary.tsv",
    "tile_metrics.TSV",
    "slides.tsv",
    "metrics.json",
    "a.parquet",
    "a" + "bc0" * 40,
]


@pytest.mark.parametrize("slide_id", [*LOOPING, *IN_THE_WAY])
def test_an_id_that_snakemake_takes_for_a_loop_or_that_is_a_tables_name_is_refused(
    tmp_path: Path, slide_id: str
) -> None:
    assert "safe" in refused(write(tmp_path, line(slide_id=slide_id, path="a.tif"))).what


def test_the_loops_are_those_of_snakemake() -> None:
    from snakemake.io import PeriodicityDetector

    for number in (2, 5, 18, 19, 20, 30):
        for part in ("a", "ab", "a.b-"):
            slide_id = "x9" + part * number + ("a" if part.endswith("-") else "")
            looping = PeriodicityDetector().is_periodic(slide_id) is not None
            assert is_safe_id(slide_id) == (not looping and len(slide_id) <= 100), slide_id


@pytest.mark.parametrize("column", ["path", "annotation"])
@pytest.mark.parametrize(
    "name", ["s{2}.tif", "{3F25-4F89}.tif", "a}.tif", "{{x}}.tif", "<x>.tif", "a>b.tif", "a\x1b.tif"]
)
def test_a_path_that_snakemake_would_read_otherwise_is_refused(tmp_path: Path, column: str, name: str) -> None:
    error = refused(write(tmp_path, line(**{column: name})))
    assert column in error.what and "Snakemake" in error.what and "\x1b" not in str(error)


def test_a_path_from_the_home_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    rows = read_sheets(write(tmp_path, line(path="~/a.tif", annotation="~/a.xml")))
    assert rows["case_1"].path == str(tmp_path / "home/a.tif")
    assert rows["case_1"].annotation == str(tmp_path / "home/a.xml")


def test_slide_ids_that_differ_in_capitals_alone_are_refused(tmp_path: Path) -> None:
    twin = line(slide_id="CASE_1", patient_id="p2", path="other.tif")
    assert refused(write(tmp_path, line(), twin)).found == "case_1 and CASE_1"


def test_a_patient_written_in_capitals_is_the_same_patient(tmp_path: Path) -> None:
    error = refused(write(tmp_path, line(), line(slide_id="b", patient_id="P1", split="test")))
    assert "both sides" in error.what and error.found == "case_1 in train, b in test"
    read_sheets(write(tmp_path, line(), line(slide_id="b", patient_id="P1")))


DRAWN = {
    "a.geojson": b'{"type": "Polygon", "coordinates": [[[1, 2], [3, 4], [5, 6], [1, 2]]]}',
    "a.xml": b'<Annotation><Coordinates><Coordinate X="1" Y="2"/></Coordinates></Annotation>',
    "b.xml": b'<Annotations><Annotation><Regions><Region><Vertices><Vertex X="1" Y="2"/></Vertices></Region></Regions>',
    "c.xml": b'<Annotations><Annotation><Regions><Region><Vertices><V X="1" Y="2"/></Vertices></Region></Regions>',
    "a.png": b"\x89PNG\r\n\x1a\n\x00\x00",
}
EMPTY = {
    "none.geojson": b'{"type": "FeatureCollection", "features": []}',
    "none.xml": b"<ASAP_Annotations><Annotations/></ASAP_Annotations>",
}


@pytest.mark.parametrize(("name", "data"), [*DRAWN.items(), *EMPTY.items()])
def test_outlines_are_those_of_one_slide_and_nothing_drawn_may_be_shared(
    tmp_path: Path, name: str, data: bytes
) -> None:
    (tmp_path / name).write_bytes(data)
    for slide in "ab":
        (tmp_path / f"{slide}.tif").touch()
    rows = read_sheets(
        write(tmp_path, *(line(slide_id=s, patient_id=s, path=f"{s}.tif", annotation=name) for s in "ab"))
    )
    if name in EMPTY:
        check_files(rows.values())
        return
    with pytest.raises(SheetError, match="an annotation with outlines stands in two rows"):
        check_files(rows.values())


def twins(folder: Path, *splits: str, outlines: str | None = None, alike: bool = True) -> list[SheetRow]:
    """Rows of slides a, b, c … in these splits, whose files hold the same bytes, or not; all with the same outlines."""
    for slide, _ in zip("abcdef", splits, strict=False):
        (folder / f"{slide}.tif").write_bytes(b"II*\0" + (b"same" if alike else slide.encode() * 4))
        (folder / f"{slide}.xml").write_text(outlines or f"<Vertex {slide}")
    lines = [
        line(slide_id=s, patient_id=f"p{s}", path=f"{s}.tif", split=split, annotation=f"{s}.xml")
        for s, split in zip("abcdef", splits, strict=False)
    ]
    return list(read_sheets(write(folder, *lines)).values())


@pytest.mark.parametrize("splits", [("train", "test"), ("train", "val"), ("val", "test"), ("", "train", "", "test")])
def test_one_slide_under_two_ids_on_both_sides_of_the_split_is_refused(tmp_path: Path, splits: tuple[str, ...]) -> None:
    with pytest.raises(SheetError, match="on both sides of the split: two files hold the same bytes") as caught:
        check_files(twins(tmp_path, *splits))
    assert caught.value.found == ", ".join(f"{s} in {split}" for s, split in zip("abcd", splits, strict=False) if split)
    assert caught.value.mend


@pytest.mark.parametrize("splits", [("train", "train"), ("test", ""), ("", ""), ("val", "val")])
def test_one_slide_under_two_ids_on_one_side_is_told(tmp_path: Path, splits: tuple[str, ...]) -> None:
    rows = twins(tmp_path, *splits)
    check_files(rows)
    assert twin_slides(rows) == {"a": ["b"], "b": ["a"]}
    assert twin_slides(rows, [r.path for r in rows]) == {}


def test_slides_are_the_same_by_their_pixels_file_alone(tmp_path: Path) -> None:
    assert twin_slides(twins(tmp_path, "train", "test", alike=False)) == {}
    rows = twins(tmp_path, "train", "test")
    for row in rows:
        Path(row.path).rename(Path(row.path).with_suffix(".mrxs"))
    assert twin_slides([replace(r, path=r.path.replace(".tif", ".mrxs")) for r in rows]) == {}


@pytest.mark.parametrize(("name", "data"), [*DRAWN.items(), *EMPTY.items()])
@pytest.mark.parametrize("alike", [True, False])
def test_copied_outlines_are_noted_of_another_slide_and_not_of_a_copy_of_it(
    tmp_path: Path, name: str, data: bytes, alike: bool
) -> None:
    rows = twins(tmp_path, "train", "train", alike=alike)
    for row in rows:
        Path(row.annotation).write_bytes(data)
    check_files(rows)
    told = remarks(rows)
    # A mask may hold no tumour, and is like others then.
    drawn = name in DRAWN and b"\0" not in data
    assert set(told) == (set("ab") if alike or drawn else set())
    assert all(("outlines" in text) == (not alike) for text in told.values())
    assert not told or "of b" in told["a"]
    assert remarks(rows, [path for row in rows for path in (row.path, row.annotation)]) == {}


def test_many_copies_name_a_few(tmp_path: Path) -> None:
    told = remarks(twins(tmp_path, *["train"] * 6))
    assert "that of b, c, d, e, f: it counts twice" in told["a"]
    assert few([*"abcdefg"]) == "a, b, c, d, e and 2 more"


@pytest.mark.parametrize("name", ["qupath", "FastPathology", "model_card.md"])
def test_a_slide_named_like_a_file_of_its_run_is_refused(tmp_path: Path, name: str) -> None:
    assert (refused(write(tmp_path, line(slide_id=name))).found, is_safe_id(name)) == (name, True)


def test_whatever_stands_beside_the_slides_of_a_run_is_no_slide_id() -> None:
    rules = "".join(p.read_text(encoding="utf-8") for p in ROOT.glob("workflow/rules/*.smk"))
    made = set(re.findall(r'"<results>/(?:runs/\{run\}|heatmaps/\{model\}|slides)/([^{}/"]+)', rules))
    assert {"qupath", "ro-crate.zip", "metrics.tsv"} <= made
    assert {name for name in made if is_safe_id(name)} == set(NAMES_OF_A_RUN)


def test_a_path_that_cannot_be_looked_at_is_one_line(tmp_path: Path) -> None:
    names = {"long": "x" * 300 + ".tif", "loop": "loop.tif", "folder": "folder", "under": "a.tif/b.tif"}
    (tmp_path / "loop.tif").symlink_to("loop.tif")
    (tmp_path / "folder").mkdir()
    (tmp_path / "a.tif").touch()
    for slide_id, path in names.items():
        rows = read_sheets(write(tmp_path, line(slide_id=slide_id, path=path, annotation="", annotation_kind="")))
        with pytest.raises(SheetError, match="1 file of the sheet cannot be found"):
            check_files(rows.values())


def test_a_sheet_that_is_not_there_or_is_a_folder_is_refused(tmp_path: Path) -> None:
    assert refused(str(tmp_path / "no.tsv")).what == "the sample sheet is not there"
    refused(str(tmp_path))


def test_missing_files_are_counted_and_the_first_three_named(tmp_path: Path) -> None:
    lines = [line(slide_id=f"s{i}", path=f"{i}.tif", annotation="", annotation_kind="") for i in range(5)]
    rows = read_sheets(write(tmp_path, *lines)).values()
    (tmp_path / "0.tif").touch()
    with pytest.raises(SheetError, match="4 files") as caught:
        check_files(rows)
    found = str(caught.value.found)
    assert [f"s{i}" in found for i in range(5)] == [False, True, True, True, False]
    assert "and 1 more" in found
    check_files(rows, made_by_workflow=[str(tmp_path / f"{i}.tif") for i in range(5)])


def test_a_missing_annotation_is_missing_too(tmp_path: Path) -> None:
    rows = read_sheets(write(tmp_path, line(path="a.tif", annotation="a.xml"))).values()
    (tmp_path / "a.tif").touch()
    with pytest.raises(SheetError, match="1 file of the sheet") as caught:
        check_files(rows)
    assert "a.xml" in str(caught.value.found)
    (tmp_path / "a.xml").touch()
    check_files(rows)


# Folds

PATIENTS = st.lists(st.text("abc123", min_size=1, max_size=3), min_size=2, max_size=30)


@given(PATIENTS, st.integers(2, 6), st.integers(0, 2**31))
def test_folds_are_balanced_keep_patients_whole_and_depend_on_the_seed_alone(
    patients: list[str], folds: int, seed: int
) -> None:
    unique = set(patients)
    if len(unique) < folds:
        with pytest.raises(SheetError, match="patients"):
            patient_folds(patients, folds, seed)
        return
    assigned = patient_folds(patients, folds, seed)
    sizes = Counter(assigned.values())
    assert set(assigned) == unique
    assert set(sizes) == set(range(folds))
    assert max(sizes.values()) - min(sizes.values()) <= 1
    assert assigned == patient_folds(reversed(patients), folds, seed) == patient_folds(unique, folds, seed)


def test_another_seed_gives_other_folds() -> None:
    patients = [f"p{i}" for i in range(12)]
    different = {tuple(sorted(patient_folds(patients, 3, seed).items())) for seed in range(10)}
    assert len(different) > 5
