"""DICOM segmentations: other programs find no fault, the mask comes back, and no patient is named."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import cv2
import highdicom
import numpy as np
import openslide
import pydicom
import pytest
from torture.intact import dicom, drawn, needles

from drunet.export import dicom_seg
from drunet.export.mask_image import write_mask_image
from drunet.export.ome_tiff import write_mask
from drunet.grid import Grid
from drunet.slide import Slide

GRID = Grid(1792, 1280, mpp=0.5, tile_mpp=1.0, size=64, step=64)
# dciodvfy of 2022 wants a place for every frame, which the standard leaves out of images that are tiled in full.
OF_EVERY_FRAME = {"PlanePositionMacro", "PlaneOrientationMacro", "PlanePositionSlideMacro"}
OF_EVERY_FRAME |= {"MultiFrameFunctionalGroupsForSegmentation"}


def blob(shape: tuple[int, int]) -> np.ndarray:
    rows, columns = np.indices(shape)
    return (rows / shape[0] - 0.4) ** 2 + (columns / shape[1] - 0.6) ** 2 < 0.09


def write(folder: Path, slide: Path, mask: np.ndarray, slide_id: str = "case_7", run: str = "drunet") -> Path:
    dicom_seg.write_segmentation(
        folder / "segmentation.dcm", mask, GRID, slide, slide_id=slide_id, run=run, model_sha256="ab" * 32
    )
    return folder / "segmentation.dcm"


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DICOM slide of three levels, 1792, 448 and 112 px wide, with a patient's name."""
    return dicom(tmp_path_factory.mktemp("slide") / "level0.dcm", drawn())


@pytest.fixture
def tiff(tmp_path: Path) -> Path:
    """A slide that is no DICOM: nothing but its first bytes is looked at."""
    (tmp_path / "Kjellfrid.tif").write_bytes(b"II*\0" + bytes(200))
    return tmp_path / "Kjellfrid.tif"


def faults(path: Path) -> list[str]:
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy (dicom3tools) is not installed")
    said = subprocess.run(["dciodvfy", "-new", path], capture_output=True, text=True, check=False).stderr
    assert "Segmentation" in said.splitlines()
    return [line for line in said.splitlines() if line.startswith("Error")]


@pytest.mark.parametrize("of_series", [True, False], ids=["dicom", "other"])
@pytest.mark.slow
def test_dciodvfy_finds_no_fault(
    series: Path, tiff: Path, tmp_path: Path, of_series: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    slide = series if of_series else tiff
    # Of an odd size, so that the side of a pixel has digits without end.
    mask = blob((317, 443))
    known = {line.rpartition("Module=<")[2].rstrip(">") for line in faults(write(tmp_path, slide, mask))}
    assert known <= OF_EVERY_FRAME
    # All else is the same, and each frame has its place.
    monkeypatch.setattr(dicom_seg, "_TILING", "TILED_SPARSE")
    assert faults(write(tmp_path, slide, mask)) == []


def test_dcmtk_reads_it_to_the_end(series: Path, tmp_path: Path) -> None:
    if shutil.which("dcmdump") is None:
        pytest.skip("dcmdump (dcmtk) is not installed")
    done = subprocess.run(["dcmdump", write(tmp_path, series, blob((320, 448)))], capture_output=True, check=False)
    assert done.returncode == 0 and done.stderr == b""
    assert b"=SegmentationStorage" in done.stdout and b"[TILED_FULL]" in done.stdout and b"[BINARY]" in done.stdout


@pytest.mark.parametrize("shape", [(960, 1344), (320, 448), (100, 140), (1, 1)])
def test_the_mask_comes_back_as_it_was(tiff: Path, tmp_path: Path, shape: tuple[int, int]) -> None:
    mask = blob(shape)
    read = highdicom.seg.segread(write(tmp_path, tiff, mask))
    np.testing.assert_array_equal(read.get_total_pixel_matrix(combine_segments=True), mask)
    # Without highdicom: the bits of the frames, one beside the other.
    data = pydicom.dcmread(tmp_path / "segmentation.dcm")
    frames = data.pixel_array.reshape(-1, 256, 256)
    across = -(-shape[1] // 256)
    rows = [np.hstack(frames[i : i + across]) for i in range(0, len(frames), across)]
    np.testing.assert_array_equal(np.vstack(rows)[: shape[0], : shape[1]], mask)
    down_mm, across_mm = data.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing
    assert down_mm * shape[0] == pytest.approx(0.640) and across_mm * shape[1] == pytest.approx(0.896)


@pytest.mark.parametrize(
    ("width", "level", "expected"), [(448, 1, 448), (600, 1, 448), (250, 1, 448), (120, 2, 112), (20, 2, 20)]
)
def test_it_lies_on_the_nearest_level_of_the_series(
    series: Path, tmp_path: Path, width: int, level: int, expected: int
) -> None:
    mask = blob((round(width * 1280 / 1792), width))
    data = pydicom.dcmread(write(tmp_path, series, mask))
    (reference,) = data.ReferencedSeriesSequence
    slide = pydicom.dcmread(series.with_name(f"level0-{level}.dcm"), stop_before_pixels=True)
    assert reference.SeriesInstanceUID == slide.SeriesInstanceUID
    assert reference.ReferencedInstanceSequence[0].ReferencedSOPInstanceUID == slide.SOPInstanceUID
    assert (data.StudyInstanceUID, data.FrameOfReferenceUID) == (slide.StudyInstanceUID, slide.FrameOfReferenceUID)
    assert data.SeriesInstanceUID != slide.SeriesInstanceUID
    assert data.TotalPixelMatrixColumns == expected
    if expected == slide.TotalPixelMatrixColumns:
        assert data.TotalPixelMatrixRows == slide.TotalPixelMatrixRows
    read = highdicom.seg.segread(tmp_path / "segmentation.dcm").get_total_pixel_matrix(combine_segments=True)
    assert read.mean() == pytest.approx(mask.mean(), abs=0.01)


def test_it_lies_as_the_slide_does(tmp_path: Path) -> None:
    """Turned by a half, with the origin away from the corner, as scanners write it."""

    def turn(data: pydicom.Dataset, _: int) -> None:
        origin = pydicom.Dataset()
        origin.XOffsetInSlideCoordinateSystem, origin.YOffsetInSlideCoordinateSystem = 21.5, 43.25
        data.TotalPixelMatrixOriginSequence = [origin]
        data.ImageOrientationSlide = [0, -1, 0, -1, 0, 0]

    data = pydicom.dcmread(write(tmp_path, dicom(tmp_path / "turned/a.dcm", drawn(), change=turn), blob((320, 448))))
    (origin,) = data.TotalPixelMatrixOriginSequence
    assert (origin.XOffsetInSlideCoordinateSystem, origin.YOffsetInSlideCoordinateSystem) == (21.5, 43.25)
    assert list(data.ImageOrientationSlide) == [0, -1, 0, -1, 0, 0]


@pytest.mark.parametrize("name", ["lung_scc_2.tif", "lung_scc_3.tif"])
def test_masks_of_real_biopsies_are_read(real_slide: Callable[[str], Path], tmp_path: Path, name: str) -> None:
    with Slide(real_slide(name), "biopsy") as slide:
        seen, mask = slide.properties, cv2.cvtColor(slide.read_whole(slide.shape_at(8.0)), cv2.COLOR_RGB2GRAY) < 200
    grid = Grid(seen.width, seen.height, mpp=seen.mpp, tile_mpp=1.0, size=224, step=224)
    path = tmp_path / "segmentation.dcm"
    dicom_seg.write_segmentation(path, mask, grid, real_slide(name), slide_id="biopsy", run="r", model_sha256="0" * 64)
    np.testing.assert_array_equal(highdicom.seg.segread(path).get_total_pixel_matrix(combine_segments=True), mask)
    write_mask_image(tmp_path / "mask.tif", mask, (8.0, 8.0), "biopsy")
    write_mask(tmp_path / "mask.ome.tif", tmp_path / "mask.tif", grid, "biopsy")
    with openslide.OpenSlide(tmp_path / "mask.ome.tif") as opened:
        across = float(opened.properties["openslide.mpp-x"]) * opened.dimensions[0]
        pixels = np.asarray(opened.read_region((0, 0), 0, opened.dimensions))[..., 0]
    assert across == pytest.approx(seen.width * seen.mpp)
    np.testing.assert_array_equal(pixels, mask * 255)
    assert 0.01 < mask.mean() < 0.99


def test_no_patient_is_named_and_identifiers_are_neutral(series: Path, tiff: Path, tmp_path: Path) -> None:
    content = write(tmp_path, series, blob((320, 448))).read_bytes().lower()
    assert [needle for needle in needles() if needle in content] == []
    first = pydicom.dcmread(write(tmp_path, tiff, blob((320, 448))))
    assert b"kjellfrid" not in (tmp_path / "segmentation.dcm").read_bytes().lower()
    assert first.PatientName == "" and first.PatientID and "case_7" not in str(first)
    again = pydicom.dcmread(write(tmp_path, tiff, blob((320, 448)), run="other"))
    assert again.StudyInstanceUID == first.StudyInstanceUID and again.PatientID == first.PatientID
    assert again.SeriesInstanceUID != first.SeriesInstanceUID
    other = pydicom.dcmread(write(tmp_path, tiff, blob((320, 448)), slide_id="case_8"))
    assert other.StudyInstanceUID != first.StudyInstanceUID and other.PatientID != first.PatientID
