"""CT slices as DICOM files, and annotated boxes as Pascal VOC files: what a scanner and an annotator leave behind."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, RLELossless

from drunet.files import whole_file, write_text

INTERCEPT = -1024
# Every study of the set was made on the same day: the date of drawing would change the bytes.
_DATE = "20200102"
_SPACE = uuid.UUID("5a0f1c5e-3a8d-4c39-9f0e-6d1f54b1f2c7")


def new_uid(*parts: object) -> str:
    """A DICOM UID that follows from `parts`: `2.25.` and a UUID as a number (PS3.5 B.2), at most 44 characters."""
    return f"2.25.{uuid.uuid5(_SPACE, '/'.join(map(str, parts))).int}"


def write_slice(
    path: str | os.PathLike[str],
    hu: NDArray[np.floating],
    *,
    uid: str,
    patient: str,
    name: str,
    study: str,
    series: str,
    instance: int,
    spacing: float,
    z: float,
    compressed: bool = False,
) -> None:
    """Write an axial slice as CT Image Storage, whole or not at all. The same values give the same bytes.

    Pixels are signed 16-bit of slope 1 and intercept -1024, in explicit VR little endian.

    Parameters
    ----------
    path : path
    hu : (rows, cols)
        Hounsfield units, rounded to whole ones.
    uid, study, series : str
        UIDs of the slice, of its study and of its series.
    patient, name : str
        PatientID, and PatientName.
    instance : int
        Number within the series.
    spacing : float
        Width and height of a pixel, mm.
    z : float
        Height of the slice, mm, increasing to the feet. The patient lies on the back, so DICOM's z is its negative.
    compressed : bool
        Run-length encoded, which loses nothing.
    """
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = UID(uid)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    # Else pydicom's own version would be part of the bytes.
    meta.ImplementationClassUID = UID(new_uid("drunet"))
    meta.ImplementationVersionName = "DRUNET"
    image = FileDataset(os.fspath(path), {}, file_meta=meta, preamble=b"\0" * 128)
    _describe(image, uid=uid, patient=patient, name=name, study=study, series=series, instance=instance)
    _place(image, hu.shape, spacing, z)
    stored = np.rint(np.asarray(hu, np.float64)) - INTERCEPT
    image.PixelData = np.clip(stored, 0, 4095).astype("<i2").tobytes()
    if compressed:
        image.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    with whole_file(path) as temporary:
        image.save_as(temporary, enforce_file_format=True)


def write_voc(
    path: str | os.PathLike[str], *, name: str, size: tuple[int, int], boxes: Iterable[tuple[int, int, int, int]]
) -> None:
    """Write boxes of one slice as Pascal VOC, with as little in `folder`, `filename` and `path` as Lung-PET-CT-Dx has.

    Parameters
    ----------
    path : path
        Named after the slice's UID.
    name : str
        What each box holds: the tumour's subtype.
    size : (int, int)
        Width and height of the slice, px.
    boxes : iterable of (int, int, int, int)
        xmin, ymin, xmax, ymax: pixel edges, px.
    """
    width, height = size
    lines = ['<annotation verified="no">', "  <folder>Unknown</folder>", "  <filename>Unknown</filename>"]
    lines += ["  <path>Unknown</path>", "  <source><database>Unknown</database></source>"]
    lines += [f"  <size><width>{width}</width><height>{height}</height><depth>1</depth></size>"]
    lines += ["  <segmented>0</segmented>"]
    for box in boxes:
        edges = "".join(f"<{edge}>{int(at)}</{edge}>" for edge, at in zip(_EDGES, box, strict=True))
        lines += ["  <object>", f"    <name>{escape(name)}</name>", "    <pose>Unspecified</pose>"]
        lines += ["    <truncated>0</truncated>", "    <difficult>0</difficult>", f"    <bndbox>{edges}</bndbox>"]
        lines += ["  </object>"]
    write_text(path, "\n".join([*lines, "</annotation>"]) + "\n")


_EDGES = ("xmin", "ymin", "xmax", "ymax")


def _describe(image: Dataset, *, uid: str, patient: str, name: str, study: str, series: str, instance: int) -> None:
    """Whose and which picture it is."""
    image.SOPClassUID, image.SOPInstanceUID = CTImageStorage, uid
    image.StudyInstanceUID, image.SeriesInstanceUID = study, series
    image.FrameOfReferenceUID = new_uid("frame", study)
    image.StudyDate = image.SeriesDate = image.ContentDate = _DATE
    image.StudyTime = image.ContentTime = "120000"
    image.AccessionNumber = f"ACC-{patient}"[:16]
    image.Modality, image.Manufacturer = "CT", "Phantom"
    image.ReferringPhysicianName = ""
    image.StudyID, image.SeriesNumber, image.AcquisitionNumber, image.InstanceNumber = "1", 2, 1, instance
    image.PatientName, image.PatientID = name, patient
    image.PatientBirthDate, image.PatientSex = "", "O"
    image.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    image.KVP = "120"


def _place(image: Dataset, shape: tuple[int, ...], spacing: float, z: float) -> None:
    """Where its pixels lie, and what their numbers mean."""
    rows, columns = shape
    across = f"{spacing:.6f}"
    image.PixelSpacing, image.SliceThickness = [across, across], "5"
    image.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    image.ImagePositionPatient = [f"{-spacing * columns / 2:.3f}", f"{-spacing * rows / 2:.3f}", f"{-z:.3f}"]
    image.PositionReferenceIndicator = ""
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.Rows, image.Columns = rows, columns
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 1
    image.RescaleIntercept, image.RescaleSlope, image.RescaleType = str(INTERCEPT), "1", "HU"
    image.WindowCenter, image.WindowWidth = "-600", "1500"
