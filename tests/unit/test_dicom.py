"""DICOM series: what breaks the program that opens them is refused, and levels that contradict each other are seen."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from pydicom import dcmread
from torture.intact import dicom, drawn

from drunet import dicom as product
from drunet.errors import SlideError
from drunet.export.digests import slide_digest
from drunet.slide import Slide
from drunet.soundness import check_resolution


def test_a_series_that_ends_its_opener_is_refused(tmp_path: Path) -> None:
    path = dicom(
        tmp_path / "a.dcm", drawn(), change=lambda data, _: setattr(data, "DimensionOrganizationType", "TILED_SPARSE")
    )
    with pytest.raises(SlideError, match=r"breaks the program that opens it.*signal 11") as caught:
        Slide(path, "case_7")
    assert caught.value.status == "unreadable"


def test_a_series_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(product, "_OPEN", "while True: pass")
    monkeypatch.setattr(product, "SECONDS", 0.5)
    with pytest.raises(SlideError, match="no end after"):
        Slide(dicom(tmp_path / "a.dcm", drawn()), "case_7")


@pytest.mark.parametrize(("level", "spacing", "right"), [(0, 0.001, False), (1, 0.004, True), (None, 0.0005, True)])
def test_a_resolution_of_level_0_that_the_others_contradict_is_refused(
    tmp_path: Path, level: int | None, spacing: float, right: bool
) -> None:
    path = dicom(tmp_path / "a.dcm", drawn())
    if level is not None:
        file = path if level == 0 else path.with_name(f"a-{level}.dcm")
        data = dcmread(file)
        data.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = [spacing] * 2
        data.save_as(file, enforce_file_format=True)
    (tmp_path / "else.dcm").write_bytes(bytes(128) + b"DICM" + b"not a data set")
    (tmp_path / "folder.dcm").mkdir()
    assert [width for width, _ in product.stated_by_levels(path)] == [1792, 448, 112]
    (tmp_path / "else.dcm").unlink()
    with Slide(path, "case_7") as slide:
        if right:
            check_resolution(slide)
        else:
            with pytest.raises(SlideError, match=r"level 0 1 µm/px; by the others it has 0\.5"):
                check_resolution(slide)


def test_the_digest_of_a_slide_is_of_all_its_files(tmp_path: Path) -> None:
    def of(*files: Path) -> str:
        return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()

    path = dicom(tmp_path / "series/a.dcm", drawn())
    levels = [path.with_name(f"a-{level}.dcm") for level in (1, 2)]
    (tmp_path / "series/other.txt").write_text("no level")
    assert slide_digest(path) == of(path, *levels)
    single = tmp_path / "b.tif"
    single.write_bytes(b"II*\0 one file")
    assert slide_digest(single) == of(single)
    mirax, parts = tmp_path / "c.mrxs", [tmp_path / "c" / name for name in ("Data0000.dat", "Slidedat.ini")]
    parts[0].parent.mkdir()
    for number, file in enumerate((mirax, *parts)):
        file.write_bytes(bytes([number]) * 200)
    assert slide_digest(mirax) == of(mirax, *parts)
