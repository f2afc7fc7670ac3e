"""`drunet init-sheet`: a folder as people have it becomes a sheet that can be read."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image
from tiny_cohort import ROOT, feature_collection, paint_slide

from drunet.cohort import SheetRow, check_files, read_sheets
from drunet.files import write_json
from drunet_commands import cli

REAL = ROOT.parent / "shared/data/slides"


@pytest.fixture(scope="module")
def painted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """One slide, and the outline of its tumour."""
    path = tmp_path_factory.mktemp("painted") / "slide.tif"
    return path, paint_slide(path, seed=1)


@pytest.fixture
def folder(tmp_path: Path, painted: tuple[Path, np.ndarray]) -> Path:
    """Slides in one folder and annotations in another, and beside them what lies about."""
    slides, drawn = tmp_path / "my slides", tmp_path / "drawn"
    slides.mkdir()
    drawn.mkdir()
    for number, name in enumerate(["Präparat 1", "b.02", "c", "d", "e"]):
        copied = slides / f"{name}.tif"
        shutil.copy(painted[0], copied)
        with copied.open("ab") as file:
            file.write(bytes(number + 1))
    tumour, stroma = (feature_collection(painted[1], name) for name in ("Tumor", "Stroma"))
    write_json(drawn / "Präparat 1.geojson", tumour)
    write_json(drawn / "b.02.tif.geojson", {**tumour, "features": tumour["features"] + stroma["features"]})
    write_json(drawn / "d.geojson", feature_collection(painted[1], "Mystery"))
    Image.new("L", (60, 50)).save(drawn / "C_mask.png")
    tifffile.imwrite(tmp_path / "e.tiff", np.zeros((500, 600), np.uint8), tile=(256, 256))
    write_json(drawn / "nobody.geojson", tumour)
    (slides / "scan.log").write_text("x")
    (slides / "notes.txt").write_text("x")
    (slides / ".hidden.svs").write_text("x")
    return tmp_path


def drafted(folder: Path) -> dict[str, SheetRow]:
    rows = read_sheets(str(folder / "slides.tsv"))
    check_files(rows.values())
    return rows


def test_slides_and_annotations_are_paired_and_what_is_read_back_is_a_sheet(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["init-sheet", str(folder)]) == 0
    rows = drafted(folder)
    assert list(rows) == ["Praparat_1", "b_02", "c", "d", "e"]
    paired = {row.slide_id: (Path(row.annotation).name, row.annotation_kind) for row in rows.values()}
    assert paired == {
        "Praparat_1": ("Präparat 1.geojson", "wta"),
        "b_02": ("b.02.tif.geojson", "psa"),
        "c": ("C_mask.png", "wta"),
        "d": ("d.geojson", "wta"),
        "e": ("e.tiff", "wta"),
    }
    assert {row.path for row in rows.values()} == {str(p) for p in (folder / "my slides").glob("[!.]*.tif")}
    assert all(row.patient_id == row.slide_id and row.split == "" and row.mpp is None for row in rows.values())
    text = (folder / "slides.tsv").read_text(encoding="utf-8")
    assert str(folder) not in text, "paths start at the sheet"
    said = capsys.readouterr().out
    assert "5 slides, 5 of them annotated" in said and "1 guessed to be psa: other tissue is marked too" in said
    assert "1 guessed to be wta: they cannot be read yet" in said and "3 guessed to be wta: nothing but tumour" in said
    assert "# patient_id: guessed to be the slide" in text and "# annotation_kind: 1 guessed to be psa" in text
    left_out = sorted(line for line in said.splitlines() if line.startswith("left out: "))
    assert [line.split(": ")[1] for line in left_out] == ["drawn/nobody.geojson", "my slides/scan.log"]


def test_the_sheet_may_lie_elsewhere_and_none_is_overwritten(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    sheet = tmp_path_factory.mktemp("elsewhere") / "deep/sheet.tsv"
    assert cli.main(["init-sheet", str(folder), str(sheet)]) == 0
    check_files(read_sheets(str(sheet)).values())
    before = sheet.read_bytes()
    assert cli.main(["init-sheet", str(folder), str(sheet)]) == 1
    assert "there is a sheet already" in capsys.readouterr().err and sheet.read_bytes() == before


def test_a_folder_without_slides_ends_in_one_line_and_no_sheet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.svs").write_text("no slide")
    assert cli.main(["init-sheet", str(tmp_path)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("ERROR  init-sheet: no file there is a slide") and not (tmp_path / "slides.tsv").exists()


@pytest.mark.parametrize(
    ("names", "patients"),
    [
        (["TCGA-05-4244-01Z-00-DX1.d4ff32cd", "TCGA-05-4244-01A-01-TS1"], ["TCGA-05-4244", "TCGA-05-4244"]),
        (["C3L-00001-21", "C3N-00198-22"], ["C3L-00001", "C3N-00198"]),
        # One that says nothing makes all uncertain.
        (["TCGA-05-4244-01Z-00-DX1", "lung_7"], ["TCGA-05-4244-01Z-00-DX1", "lung_7"]),
        (["p1_a", "p1_b"], ["p1_a", "p1_b"]),
    ],
)
def test_patients_are_guessed_only_where_every_name_says_whose_it_is(
    tmp_path: Path, painted: tuple[Path, np.ndarray], names: list[str], patients: list[str]
) -> None:
    for number, name in enumerate(names):
        (tmp_path / f"{name}.tif").write_bytes(painted[0].read_bytes() + bytes(number + 1))
    assert cli.main(["init-sheet", str(tmp_path)]) == 0
    assert sorted(row.patient_id for row in drafted(tmp_path).values()) == sorted(patients)


def test_slides_of_one_name_get_different_ids_and_the_annotation_of_their_own_folder(
    tmp_path: Path, painted: tuple[Path, np.ndarray]
) -> None:
    for number, part in enumerate(("one", "two")):
        (tmp_path / part).mkdir()
        (tmp_path / part / "s.tif").write_bytes(painted[0].read_bytes() + bytes(number + 1))
    write_json(tmp_path / "two/s.geojson", feature_collection(painted[1]))
    (tmp_path / "s.xml").write_text("<Annotations/>")
    assert cli.main(["init-sheet", str(tmp_path)]) == 0
    first, second = drafted(tmp_path).values()
    assert (first.slide_id, first.annotation) == ("s", "")
    assert second.slide_id == "s_2" and second.annotation.endswith("two/s.geojson")


def test_files_that_belong_to_a_slide_are_no_slides(tmp_path: Path, painted: tuple[Path, np.ndarray]) -> None:
    (tmp_path / "a.mrxs").write_text("no slide")
    (tmp_path / "a").mkdir()
    shutil.copy(painted[0], tmp_path / "a/inner.tif")
    shutil.copy(painted[0], tmp_path / "b.tif")
    assert cli.main(["init-sheet", str(tmp_path)]) == 0
    assert list(drafted(tmp_path)) == ["b"]


@pytest.mark.skipif(not REAL.is_dir(), reason="the biopsies are not there")
def test_the_biopsies_get_a_sheet(tmp_path: Path) -> None:
    assert cli.main(["init-sheet", str(REAL), str(tmp_path / "slides.tsv")]) == 0
    rows = drafted(tmp_path)
    table = pd.read_csv(tmp_path / "slides.tsv", sep="\t", comment="#", dtype=str, keep_default_na=False)
    assert list(table["slide_id"]) == list(rows) and "lung_scc_2" in rows
    # Their regions are drawn in parts, of tumour and of other tissue.
    assert {r.slide_id for r in rows.values() if r.annotation_kind == "psa"} == {"lung_scc_2", "lung_scc_3"}
