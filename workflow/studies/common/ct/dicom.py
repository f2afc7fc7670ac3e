"""DICOM files of CT slices, and nothing else: what is no single CT slice is refused in one sentence.

Only the tags below are read, no message holds a value that could name a patient, and nothing that pydicom would say of
a file is let through, for it repeats values. What is checked here is checked before a pixel is decoded.
"""

import logging
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom import uid
from pydicom.encaps import generate_frames

from studies.common.ct import codecs
from studies.common.errors import CtError, NoSliceError

AIR = -1000.0
# Scanners give 512 to 2048 px a side, and files of at most 8 MB.
MOST_PIXELS = 4096 * 4096
MOST_BYTES = 256 * 2**20
UID = re.compile(r"[0-9.]{1,64}")
_IDS = ["SOPClassUID", "SOPInstanceUID", "Modality", "PatientID", "StudyInstanceUID", "SeriesInstanceUID"]
_IDS += ["Rows", "Columns"]
# What tells slices of one patient, best first.
_PATIENT_TAGS = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
_IMAGE = ["ImageType", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "BitsStored"]
_IMAGE += ["HighBit", "PixelRepresentation", "PlanarConfiguration", "PixelPaddingValue", "PixelPaddingRangeLimit"]
_IMAGE += ["RescaleSlope", "RescaleIntercept", "RescaleType", "ModalityLUTSequence", "PixelData"]
_ENHANCED = (uid.EnhancedCTImageStorage, uid.LegacyConvertedEnhancedCTImageStorage)
_MODALITIES = {"CR", "DX", "KO", "MG", "MR", "NM", "OT", "PR", "PT", "RTDOSE", "RTPLAN", "RTSTRUCT", "SC", "SEG", "SR"}
# "US" (unspecified) is what some scanners write beside Hounsfield units; other quantities have names of their own.
_HOUNSFIELD = {"", "HU", "HU_MOD", "US"}
_GREY = ("MONOCHROME1", "MONOCHROME2")
_MEND = "Leave it out, or put an intact CT slice in its place."

codecs.register()


@dataclass(frozen=True)
class SliceIds:
    """What a DICOM file says it is; for matching and grouping only, never shown.

    `uid` is the SOP instance UID; texts are empty and `rows` and `columns` 0 where absent. `patient` is the patient ID;
    where that is empty the UID of the study, else of the series, else of the slice, so that slices which may be of one
    patient stay together as far as the file tells; `patient_tag` says which of these it is.
    """

    uid: str = field(repr=False)
    patient: str = field(repr=False)
    patient_tag: str
    sop_class: str
    modality: str = field(repr=False)
    rows: int
    columns: int

    @property
    def is_ct(self) -> bool:
        """Whether it is one slice of a CT: by SOP class, and by modality where that is said."""
        return self.sop_class == uid.CTImageStorage and self.modality in ("", "CT")


@dataclass(frozen=True)
class CtSlice:
    """One slice: Hounsfield units, float32 (rows, columns), what it says it is, and the bits stored per value."""

    hu: NDArray[np.float32] = field(repr=False)
    ids: SliceIds
    bits: int


def read_ids(path: str | os.PathLike[str], where: str) -> SliceIds:
    """Read what a DICOM file is, of whatever kind, without its pixels.

    `where`: how messages call the file; see `studies.common.ct.files.UserFiles.label`. Raises CtError if it is no DICOM
    file (a preamble is asked for), is damaged, or lacks a valid SOP instance UID.
    """
    with _one_message(where):
        return _ids(_read(path, where, _IDS, pixels=False), where)


def read_slice(path: str | os.PathLike[str], where: str) -> CtSlice:
    """Read one CT slice in Hounsfield units.

    Without a rescale intercept signed values are Hounsfield units already; unsigned ones are refused, as they cannot
    hold air's -1000. MONOCHROME1 changes the picture and not the measurement (PS3.3, C.7.6.3.1.2). Pixel padding, what
    lies outside of the scanner's field, becomes air; bits beyond those stored, in which old files keep overlays, are
    dropped. Raises CtError for what is no single CT slice in Hounsfield units, is larger than `MOST_PIXELS` or
    `MOST_BYTES`, or cannot be decoded; NoSliceError, one of them, for what is of another kind altogether.
    """
    with _one_message(where):
        dataset = _read(path, where, _IDS + _IMAGE, pixels=True)
        ids = _ids(dataset, where)
        _check_kind(dataset, ids, where)
        _check_size(dataset, where)
        stored, padding = _stored(dataset)
        slope, intercept = _rescale(dataset, where)
        hu = (stored * slope + intercept).astype(np.float32)
        hu[padding] = AIR
        return CtSlice(hu, ids, int(dataset.BitsStored))


def is_directory(path: str | os.PathLike[str]) -> bool:
    """Whether a file is the directory of a DICOM medium (DICOMDIR), which lists slices and is none."""
    try:
        with _one_message(""):
            meta = pydicom.filereader.read_file_meta_info(path)
            return bool(meta.get("MediaStorageSOPClassUID") == uid.MediaStorageDirectoryStorage)
    except CtError:
        return False


def _refused(what: str, where: str, found: object = None) -> CtError:
    return CtError(what, where=where, found=found, mend=_MEND)


def _no_slice(what: str, where: str, found: object = None) -> NoSliceError:
    return NoSliceError(what, where=where, found=found, mend=_MEND)


@contextmanager
def _one_message(where: str) -> Iterator[None]:
    """Silence pydicom, and turn whatever a damaged file brings about into one error without its values."""
    logger = logging.getLogger("pydicom")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except CtError:
        raise
    except OSError as error:
        raise _refused("the file cannot be opened", where, error.strerror) from None
    except Exception as error:  # a damaged file raises of nearly any kind, and some texts repeat its values
        what = "the file is damaged, or no DICOM of a kind that can be read"
        raise _refused(what, where, type(error).__name__) from None
    finally:
        logger.setLevel(level)


def _read(path: str | os.PathLike[str], where: str, tags: list[str], *, pixels: bool) -> pydicom.Dataset:
    if pixels and Path(path).stat().st_size > MOST_BYTES:
        raise _refused("the file is larger than a slice can be", where, f"more than {MOST_BYTES >> 20} MiB")
    try:
        meta = pydicom.filereader.read_file_meta_info(path)
    except pydicom.errors.InvalidDicomError:
        raise _refused("the file is no DICOM", where) from None
    if "TransferSyntaxUID" not in meta:
        raise _refused("the DICOM file does not say its transfer syntax", where)
    if meta.TransferSyntaxUID == uid.DeflatedExplicitVRLittleEndian:
        # It would be unpacked whole, to whatever size, before a tag can be seen.
        raise _refused("the DICOM file is deflated as a whole, which is not read", where)
    return pydicom.dcmread(path, stop_before_pixels=not pixels, specific_tags=list(tags))


def _ids(dataset: pydicom.Dataset, where: str) -> SliceIds:
    instance = _text(dataset, "SOPInstanceUID")
    if not instance:
        raise _refused("a tag is missing", where, "SOPInstanceUID")
    if not UID.fullmatch(instance):
        raise _refused("the SOPInstanceUID is no UID", where)
    tag = next(key for key in _PATIENT_TAGS if _text(dataset, key))
    rows, columns = (int(dataset.get(key) or 0) for key in ("Rows", "Columns"))
    sop_class, modality = _text(dataset, "SOPClassUID"), _text(dataset, "Modality")
    return SliceIds(instance, _text(dataset, tag), tag, sop_class, modality, rows, columns)


def _check_kind(dataset: pydicom.Dataset, ids: SliceIds, where: str) -> None:
    if ids.sop_class in _ENHANCED or int(dataset.get("NumberOfFrames") or 1) > 1:
        raise _refused("several frames in one file (enhanced CT) are not read", where)
    if ids.sop_class != uid.CTImageStorage:
        # The dictionary's name of a class; what is not in it is not repeated.
        name = uid.UID(ids.sop_class).name
        raise _no_slice("the DICOM object is no CT image", where, None if name == ids.sop_class else name)
    if not ids.is_ct:
        modality = ids.modality if ids.modality in _MODALITIES else None
        raise _no_slice("the modality is not CT", where, modality)
    if "LOCALIZER" in (dataset.get("ImageType") or ()):
        raise _no_slice("a localiser (scout view) is no slice", where)
    wanted = ("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelData")
    if missing := [key for key in wanted if dataset.get(key) is None]:
        raise _refused("a tag is missing", where, ", ".join(missing))
    if dataset.get("SamplesPerPixel", 1) != 1 or _text(dataset, "PhotometricInterpretation") not in _GREY:
        raise _refused("a picture in colour, a screenshot perhaps, has no Hounsfield units", where)


def _check_size(dataset: pydicom.Dataset, where: str) -> None:
    """Refuse what would take more memory than a slice can, before anything is decoded."""
    rows, columns, allocated = int(dataset.Rows), int(dataset.Columns), int(dataset.BitsAllocated)
    if not 0 < rows * columns <= MOST_PIXELS:
        raise _refused("the size is none that a slice can have", where, f"{columns} x {rows} px")
    if allocated not in (8, 16) or not 0 < dataset.BitsStored <= dataset.HighBit + 1 <= allocated:
        raise _refused("values of this many bits are not read", where, f"{dataset.BitsStored} in {allocated}")
    if not dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        return
    # Run lengths of random bytes take 129 bytes for 128; nothing sound takes half as much again.
    if len(dataset.PixelData) > rows * columns * allocated // 8 * 3 // 2 + 65536:
        raise _refused("the compressed image is longer than the image", where)
    declared = codecs.frame_size(next(generate_frames(dataset.PixelData, number_of_frames=1)))
    if dataset.file_meta.TransferSyntaxUID != uid.RLELossless and declared != (rows, columns):
        raise _refused("the compressed image has another size than the header says", where)


def _stored(dataset: pydicom.Dataset) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Stored values, and which of them are padding."""
    allocated, signed = int(dataset.BitsAllocated), dataset.PixelRepresentation == 1
    # Values that do not begin at the lowest bit: take all up to the highest, then drop the lower ones.
    bits = int(dataset.BitsStored)
    lower = int(dataset.HighBit) + 1 - bits
    if lower and not dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        dataset.BitsStored = bits + lower
        values = dataset.pixel_array >> lower
        dataset.BitsStored = bits
    else:
        values = dataset.pixel_array
    padding = np.zeros(values.shape, bool)
    if (first := dataset.get("PixelPaddingValue")) is not None:
        last = dataset.get("PixelPaddingRangeLimit")
        given = (int(first), int(first if last is None else last))
        # Some files hold -2000 as the unsigned 63536.
        ends = sorted(v - (signed and v >= 1 << (allocated - 1)) * (1 << allocated) for v in given)
        padding = (values >= ends[0]) & (values <= ends[1])
    return values.astype(np.float64), padding


def _rescale(dataset: pydicom.Dataset, where: str) -> tuple[float, float]:
    if _text(dataset, "RescaleType") not in _HOUNSFIELD or dataset.get("ModalityLUTSequence"):
        raise _refused("the values are not in Hounsfield units", where)
    if dataset.get("RescaleIntercept") is None and dataset.PixelRepresentation != 1:
        raise _refused("without a rescale intercept unsigned values are no Hounsfield units", where)
    slope, intercept = (
        default if dataset.get(key) is None else float(dataset.get(key))
        for key, default in (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0))
    )
    if not np.isfinite([slope, intercept]).all() or slope == 0:
        raise _refused("rescale slope and intercept make no Hounsfield units", where)
    return slope, intercept


def _text(dataset: pydicom.Dataset, key: str) -> str:
    value = dataset.get(key)
    return "" if value is None else str(value).strip(" \0")
