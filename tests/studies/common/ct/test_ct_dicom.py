from __future__ import annotations

import logging
import re
import subprocess
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from ct_writer import SECRETS, body, dataset, uid_of, write_slice
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from PIL import Image
from pydicom import uid
from pydicom.pixels.processing import apply_rescale, apply_windowing

from drunet.errors import ConfigError
from studies.common.ct import dicom
from studies.common.ct.dicom import read_ids, read_slice
from studies.common.ct.files import check_unreadable, find_user_files, is_dicom
from studies.common.ct.window import Window
from studies.common.errors import CtError

STORED = body(0)
HU = STORED.astype(np.float32) - 1024
HERE = "slices.root, file 17 of 53"


@pytest.fixture
def make(tmp_path: Path) -> Any:
    def write(pixels: NDArray[Any] = STORED, **options: Any) -> Path:
        return write_slice(tmp_path / "slice.dcm", pixels, **options)

    return write


def refused(path: Path, match: str) -> CtError:
    with pytest.raises(CtError, match=match) as caught:
        read_slice(path, HERE)
    message = str(caught.value)
    assert message.startswith(HERE) and "\n" not in message
    assert not any(secret in message for secret in (*SECRETS, str(path), path.name))
    # The log holds the traceback, and with it whatever a chained exception says.
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return caught.value


def test_a_slice_is_read_in_hounsfield_units_with_what_groups_it(make: Any) -> None:
    found = read_slice(make(), HERE)
    assert found.hu.dtype == np.float32 and np.array_equal(found.hu, HU)
    assert (found.ids.uid, found.ids.patient, found.bits) == (uid_of(1), SECRETS[0], 12)
    assert not any(secret in repr(found) for secret in SECRETS)
    ids = read_ids(make(), HERE)
    assert ids == found.ids and ids.modality == "CT"
    assert ids.is_ct and (ids.rows, ids.columns) == STORED.shape
    assert not any(secret in repr(ids) for secret in SECRETS)


@pytest.mark.parametrize(("slope", "intercept"), [(1, -1024), (2, -1000), (0.5, -1000.25), (-1, 3000)])
def test_slope_and_intercept_are_applied_as_by_pydicom(make: Any, slope: float, intercept: float) -> None:
    path = make(RescaleSlope=slope, RescaleIntercept=intercept)
    expected = apply_rescale(STORED, pydicom.dcmread(path))
    np.testing.assert_allclose(read_slice(path, HERE).hu, expected, rtol=1e-6)


def test_monochrome1_changes_how_values_are_shown_and_not_what_they_are(make: Any) -> None:
    assert np.array_equal(read_slice(make(PhotometricInterpretation="MONOCHROME1"), HERE).hu, HU)


def test_signed_values_without_rescale_are_hounsfield_units_and_unsigned_ones_are_refused(make: Any) -> None:
    signed = HU.astype(np.int16)
    bare = {"RescaleSlope": None, "RescaleIntercept": None}
    path = make(signed, PixelRepresentation=1, BitsStored=16, HighBit=15, **bare)
    assert np.array_equal(read_slice(path, HERE).hu, HU)
    refused(make(**bare), "without a rescale intercept")
    assert np.array_equal(read_slice(make(RescaleSlope=None), HERE).hu, HU)


@pytest.mark.parametrize(
    ("tags", "match"),
    [
        ({"RescaleSlope": 0}, "make no Hounsfield units"),
        ({"RescaleSlope": "1e400"}, "make no Hounsfield units"),
        ({"RescaleType": "Z_EFF"}, "not in Hounsfield units"),
    ],
)
def test_values_that_are_no_hounsfield_units_are_refused(make: Any, tags: dict[str, Any], match: str) -> None:
    refused(make(**tags), match)


@pytest.mark.parametrize("signed", [False, True])
def test_bits_beyond_those_stored_are_dropped(make: Any, signed: bool) -> None:
    overlay = (np.arange(STORED.size).reshape(STORED.shape) % 16).astype(np.uint16) << 12
    values = HU.astype(np.int16) // 2 if signed else STORED
    pixels = (values.view(np.uint16) & 0x0FFF) | overlay
    found = read_slice(make(pixels, PixelRepresentation=int(signed), RescaleIntercept=0), HERE)
    assert np.array_equal(found.hu, values)


def test_values_that_do_not_begin_at_the_lowest_bit_are_shifted(make: Any) -> None:
    assert np.array_equal(read_slice(make((STORED << 4) | 5, HighBit=15), HERE).hu, HU)


@pytest.mark.parametrize("written", [-2000, 63536])
def test_padding_becomes_air(make: Any, written: int) -> None:
    pixels = HU.astype(np.int16)
    pixels[:5] = -2000
    tags = {"PixelRepresentation": 1, "BitsStored": 16, "HighBit": 15, "RescaleIntercept": -10}
    path = make(pixels, **tags)
    made = pydicom.dcmread(path)
    made.add_new("PixelPaddingValue", "US" if written > 0 else "SS", written)
    made.save_as(path)
    hu = read_slice(path, HERE).hu
    assert (hu[:5] == -1000).all() and np.array_equal(hu[5:], HU[5:] - 10)


def test_padding_of_unsigned_values_is_as_large_as_it_says(make: Any) -> None:
    pixels = STORED.copy()
    pixels[:5] = 63536
    hu = read_slice(make(pixels, BitsStored=16, HighBit=15, PixelPaddingValue=63536), HERE).hu
    assert (hu[:5] == -1000).all() and np.array_equal(hu[5:], HU[5:])


def test_a_range_of_padding_becomes_air(make: Any) -> None:
    hu = read_slice(make(PixelPaddingValue=0, PixelPaddingRangeLimit=300), HERE).hu
    assert np.array_equal(hu, np.where(STORED <= 300, -1000, HU))


SIGNED = {"PixelRepresentation": 1, "BitsStored": 16, "HighBit": 15, "RescaleIntercept": 0}


@pytest.mark.parametrize(
    ("syntax", "encode"),
    [
        (uid.ImplicitVRLittleEndian, None),
        (uid.ExplicitVRLittleEndian, None),
        (uid.RLELossless, None),
        (uid.JPEGLossless, lambda a: imagecodecs.ljpeg_encode(a, bitspersample=12)),
        (uid.JPEGLosslessSV1, lambda a: imagecodecs.ljpeg_encode(a, bitspersample=12)),
        (uid.JPEGLSLossless, imagecodecs.jpegls_encode),
        (uid.JPEG2000Lossless, lambda a: imagecodecs.jpeg2k_encode(a, level=0, codecformat="j2k", bitspersample=12)),
        (uid.JPEG2000Lossless, lambda a: imagecodecs.jpeg2k_encode(a, level=0, codecformat="jp2")),
    ],
)
def test_every_lossless_transfer_syntax_gives_the_same_slice(make: Any, syntax: uid.UID, encode: Any) -> None:
    path = make(syntax=syntax, frame=encode and encode(STORED))
    assert pydicom.dcmread(path).file_meta.TransferSyntaxUID == syntax
    assert np.array_equal(read_slice(path, HERE).hu, HU)


@pytest.mark.parametrize(
    ("syntax", "encode"),
    [
        (uid.ExplicitVRLittleEndian, None),
        (uid.RLELossless, None),
        (uid.JPEGLosslessSV1, lambda a: imagecodecs.ljpeg_encode(a.view(np.uint16), bitspersample=16)),
        (uid.JPEGLSLossless, lambda a: imagecodecs.jpegls_encode(a.view(np.uint16))),
        (uid.JPEG2000Lossless, lambda a: imagecodecs.jpeg2k_encode(a, level=0, codecformat="j2k")),
    ],
)
def test_signed_values_survive_compression(make: Any, syntax: uid.UID, encode: Any) -> None:
    values = HU.astype(np.int16)
    path = make(values, syntax=syntax, frame=encode and encode(values), **SIGNED)
    assert np.array_equal(read_slice(path, HERE).hu, HU)


def test_big_endian_values_are_read(make: Any) -> None:
    assert np.array_equal(read_slice(make(syntax=uid.ExplicitVRBigEndian), HERE).hu, HU)


def test_lossy_jpeg_is_read_as_closely_as_its_library_does(make: Any) -> None:
    frame = imagecodecs.jpeg8_encode(STORED, level=98, bitspersample=12)
    hu = read_slice(make(syntax=uid.JPEGExtended12Bit, frame=frame), HERE).hu
    assert np.abs(hu - HU).max() <= 4
    eight = (STORED >> 4).astype(np.uint8)
    frame = imagecodecs.jpeg8_encode(eight, level=98)
    tags = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "RescaleSlope": 16}
    hu = read_slice(make(eight, syntax=uid.JPEGBaseline8Bit, frame=frame, **tags), HERE).hu
    assert np.abs(hu - (eight.astype(float) * 16 - 1024)).max() <= 16 * 4


@pytest.mark.parametrize(
    ("encode", "syntax"),
    [
        (lambda a: imagecodecs.ljpeg_encode(a, bitspersample=12), uid.JPEGLossless),
        (imagecodecs.jpegls_encode, uid.JPEGLSLossless),
        (lambda a: imagecodecs.jpeg8_encode(a, level=90, bitspersample=12), uid.JPEGExtended12Bit),
        (lambda a: imagecodecs.jpeg2k_encode(a, level=0, codecformat="j2k"), uid.JPEG2000Lossless),
    ],
)
def test_a_compressed_image_of_another_size_is_refused_before_it_is_decoded(
    make: Any, encode: Any, syntax: uid.UID, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make(STORED[:8, :8], syntax=syntax, frame=encode(STORED))
    monkeypatch.setattr(dicom, "_stored", lambda *_: pytest.fail("decoded"))
    refused(path, "another size than the header says")


def test_a_picture_larger_than_a_slice_is_refused_before_it_is_decoded(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dicom, "_stored", lambda *_: pytest.fail("decoded"))
    refused(make(Rows=65535, Columns=65535), r"none that a slice can have .*65535 x 65535 px")
    refused(make(Rows=0), "none that a slice can have")
    frame = bytes(STORED.size * 8) + bytes(70000)
    refused(make(syntax=uid.RLELossless, frame=frame), "longer than the image")
    monkeypatch.setattr(dicom, "MOST_BYTES", 1000)
    refused(make(), "larger than a slice can be")


@pytest.mark.parametrize(
    ("tags", "match"),
    [
        ({"SOPInstanceUID": None}, r"tag is missing .*SOPInstanceUID"),
        ({"SOPInstanceUID": "../../x"}, "no UID"),
        ({"Rows": None}, r"tag is missing .*Rows"),
        ({"BitsStored": None, "HighBit": None}, r"tag is missing .*BitsStored, HighBit"),
        ({"Modality": "PT"}, r"modality is not CT .*PT"),
        ({"Modality": SECRETS[1]}, "modality is not CT"),
        ({"SOPClassUID": uid.PositronEmissionTomographyImageStorage}, r"no CT image .*Positron"),
        ({"SOPClassUID": uid.RTStructureSetStorage, "Rows": None}, r"no CT image .*RT Structure Set"),
        ({"SOPClassUID": uid.SecondaryCaptureImageStorage}, r"no CT image .*Secondary Capture"),
        ({"SOPClassUID": "1.2.3.4"}, r"no CT image\. "),
        ({"SOPClassUID": uid.EnhancedCTImageStorage}, "several frames"),
        ({"NumberOfFrames": 3}, "several frames"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "localiser"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "colour"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "colour"),
        ({"BitsAllocated": 32, "BitsStored": 32, "HighBit": 31}, "of this many bits"),
        ({"BitsStored": 16, "HighBit": 11}, "of this many bits"),
    ],
)
def test_what_is_no_single_ct_slice_is_refused_in_one_sentence(make: Any, tags: dict[str, Any], match: str) -> None:
    refused(make(**tags), match)


def test_a_file_that_is_cut_off_or_no_dicom_is_refused(make: Any, tmp_path: Path) -> None:
    whole = make().read_bytes()
    cut = tmp_path / f"{SECRETS[1]}.dcm"
    for length in (140, 200, 350, 600, len(whole) // 2, len(whole) - 10):
        cut.write_bytes(whole[:length])
        refused(cut, "damaged|missing|transfer syntax|UID|no CT image")
    for bytes_ in (b"", b"no DICOM", bytes(500), whole[132:]):
        cut.write_bytes(bytes_)
        refused(cut, "no DICOM")
        assert not is_dicom(cut)
    refused(tmp_path / SECRETS[0], r"cannot be opened .*No such file")


def test_garbage_in_any_place_gives_a_slice_or_one_error(make: Any, tmp_path: Path) -> None:
    whole = np.frombuffer(make().read_bytes(), np.uint8)
    rng = np.random.default_rng(0)
    for _ in range(60):
        spoilt = whole.copy()
        places = rng.integers(0, 900, 4)
        spoilt[places] = rng.integers(0, 256, 4)
        path = tmp_path / "spoilt.dcm"
        path.write_bytes(spoilt.tobytes())
        try:
            read_slice(path, HERE)
        except CtError as error:
            assert not any(secret in str(error) for secret in SECRETS)


def test_a_file_deflated_as_a_whole_is_refused_before_it_is_unpacked(make: Any) -> None:
    path = make()
    made = pydicom.dcmread(path)
    made.file_meta.TransferSyntaxUID = uid.DeflatedExplicitVRLittleEndian
    made.save_as(path)
    refused(path, "deflated as a whole")


def test_pydicom_says_nothing_of_a_file(
    make: Any, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder, capfd: pytest.CaptureFixture[str]
) -> None:
    path = make(PixelSpacing=None, RescaleType="HU")
    made = pydicom.dcmread(path)
    with pydicom.config.disable_value_validation():
        made.add_new("PatientID", "LO", SECRETS[0] * 20)
        made.add_new("SeriesInstanceUID", "UI", SECRETS[1])
        made.save_as(path)
    recwarn.clear()
    caplog.clear()
    capfd.readouterr()
    level = logging.getLogger("pydicom").level
    read_slice(path, HERE)
    read_ids(path, HERE)
    assert not caplog.records and not list(recwarn) and capfd.readouterr() == ("", "")
    assert logging.getLogger("pydicom").level == level


def test_slices_without_a_patient_id_are_grouped_by_study_and_else_by_series(make: Any) -> None:
    for number, tag, without in (
        (3, "StudyInstanceUID", {"PatientID": ""}),
        (2, "SeriesInstanceUID", {"PatientID": None, "StudyInstanceUID": None}),
        (1, "SOPInstanceUID", {"PatientID": " ", "StudyInstanceUID": "", "SeriesInstanceUID": None}),
    ):
        path = make(**without)
        assert [(f.patient, f.patient_tag) for f in (read_ids(path, HERE), read_slice(path, HERE).ids)] == [
            (uid_of(number), tag)
        ] * 2


def test_ids_are_read_of_objects_without_pixels(make: Any) -> None:
    found = read_ids(make(SOPClassUID=uid.RTStructureSetStorage, Rows=None, Modality="RTSTRUCT"), HERE)
    assert not found.is_ct and found.uid == uid_of(1) and found.rows == 0


hounsfield = arrays.arrays(np.float64, (20,), elements=st.floats(-4000, 4000, width=32))


@given(hounsfield, st.integers(-1500, 1500), st.integers(2, 4000))
def test_grey_is_what_pydicom_makes_of_the_linear_function(hu: NDArray[Any], centre: int, width: int) -> None:
    made = dataset(
        STORED, RescaleSlope=None, RescaleIntercept=None, BitsStored=8, WindowCenter=centre, WindowWidth=width
    )
    expected = apply_windowing(hu, made)
    grey = Window(centre=centre, width=width).grey(hu)
    assert grey.dtype == np.uint8 and np.abs(grey - expected).max() <= 0.5 + 1e-9


def test_a_window_of_one_hu_is_a_threshold_and_ends_are_black_and_white() -> None:
    assert Window(centre=40, width=1).grey(np.array([39.0, 39.5, 39.6, 41])).tolist() == [0, 0, 255, 255]
    assert Window(centre=-600, width=1500).grey(np.array([-5000.0, -1351, 150, 9000])).tolist() == [0, 0, 255, 255]


@pytest.mark.parametrize(
    ("block", "match"),
    [
        ({"centre": 40, "width": 0}, r"slices.window.width: .*found: 0"),
        ({"centre": 40, "width": -3}, "slices.window.width"),
        ({"centre": "lung", "width": 400}, r"slices.window.centre: .*lung"),
        ({"centre": 40, "width": float("nan")}, "slices.window.width"),
        ({"centre": 40, "width": True}, "slices.window.width"),
    ],
)
def test_a_window_that_is_none_is_refused(block: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        Window.of(block, "slices.window")


def test_a_window_has_a_centre_and_a_width() -> None:
    assert Window.of({"centre": -600, "width": 1500}, "w") == Window(centre=-600.0, width=1500.0)
    with pytest.raises(ConfigError, match="unknown key"):
        Window.of({"center": 40, "width": 400}, "w")


def test_files_are_numbered_as_find_and_sort_number_them(tmp_path: Path) -> None:
    root = tmp_path / "of a user"
    for name in ("b/1.dcm", "b-2.dcm", "B/é.dcm", "a/.hidden", ".git/x", "a b.xml", "b/10.dcm"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x")
    (root / "link.dcm").symlink_to(root / "b/1.dcm")
    files = find_user_files(root, "slices.root")
    shell = "find . -type f | LC_ALL=C sort"
    listed = subprocess.run(["bash", "-c", shell], cwd=root, capture_output=True, text=True, check=True).stdout
    assert [f"./{name}" for name in files.names] == listed.splitlines()
    assert {files.name(number) for number in files.visible()} == set(files.names) - {"a/.hidden", ".git/x"}
    assert files.label(2) == "slices.root, file 2 of 7"
    with pytest.raises(CtError, match="file 3 of 7: damaged") as caught:
        check_unreadable(files, [(3, "damaged")], 4, 0.1)
    found = re.search(r"`(find FOLDER/[^`]*)`", str(caught.value))
    assert found
    shown = subprocess.run(
        ["bash", "-c", found[1].replace("FOLDER", "'of a user'")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.rstrip("\n") == f"of a user/{files.name(3)}"


def test_a_folder_that_cannot_be_listed_is_refused_without_its_name(tmp_path: Path) -> None:
    for path, match in ((tmp_path / SECRETS[0], "no such folder"), (tmp_path / "f", r"no such folder .*a file")):
        (tmp_path / "f").write_text("x")
        with pytest.raises(CtError, match=match) as caught:
            find_user_files(path, "slices.root")
        assert SECRETS[0] not in str(caught.value)
    out = tmp_path / "set"
    out.mkdir()
    for target in (tmp_path / "f", tmp_path, out / SECRETS[0]):
        link = out / SECRETS[0]
        link.symlink_to(target)
        with pytest.raises(CtError, match="a link leads out of the folder") as caught:
            find_user_files(out, "slices.root")
        assert SECRETS[0] not in str(caught.value)
        link.unlink()
    (out / "a\nb.dcm").write_text("x")
    with pytest.raises(CtError, match="line break"):
        find_user_files(out, "slices.root")


def test_an_eight_bit_picture_is_no_dicom(tmp_path: Path) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    assert not is_dicom(tmp_path / "a.png")
