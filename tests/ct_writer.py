"""DICOM slices and Pascal VOC files for tests, written with pydicom, and patients whose names must never be seen."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate

SECRETS = ("Lung_Dx-A0042", "Doe^Jane", "ACC-77123")


def uid_of(number: int) -> uid.UID:
    return uid.UID(f"2.25.{1_000_000 + number}")


def dataset(pixels: NDArray[Any], **tags: Any) -> Dataset:
    """A CT slice of 12 bits in 16, unsigned, with air at 24; `tags` replace, and None removes."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.SOPClassUID = uid.CTImageStorage
    made.SOPInstanceUID = uid_of(1)
    made.SeriesInstanceUID, made.StudyInstanceUID = uid_of(2), uid_of(3)
    made.Modality = "CT"
    made.PatientID, made.PatientName, made.AccessionNumber = SECRETS
    made.Rows, made.Columns = pixels.shape[:2]
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated, made.BitsStored, made.HighBit = 16, 12, 11
    made.PixelRepresentation = 0
    made.RescaleSlope, made.RescaleIntercept = 1, -1024
    made.PixelSpacing = [0.7, 0.8]
    for key, value in tags.items():
        if value is None:
            delattr(made, key)
        else:
            setattr(made, key, value)
    return made


def write_slice(
    path: Path,
    pixels: NDArray[Any],
    *,
    syntax: uid.UID = uid.ExplicitVRLittleEndian,
    frame: bytes | None = None,
    **tags: Any,
) -> Path:
    """Write stored values, or a `frame` compressed already, and give the path."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = dataset(pixels, **tags)
    made.file_meta.TransferSyntaxUID = syntax
    made.file_meta.MediaStorageSOPClassUID = made.get("SOPClassUID", uid.CTImageStorage)
    made.file_meta.MediaStorageSOPInstanceUID = uid_of(1)
    path.parent.mkdir(parents=True, exist_ok=True)
    with pydicom.config.disable_value_validation(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if frame is not None:
            made.PixelData = encapsulate([frame])
            made["PixelData"].VR = "OB"
            made["PixelData"].is_undefined_length = True
        elif syntax == uid.RLELossless:
            made.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
            made.PixelData = pixels.tobytes()
            made.compress(uid.RLELossless, generate_instance_uid=False)
        else:
            swapped = pixels.byteswap() if syntax == uid.ExplicitVRBigEndian else pixels
            made.PixelData = swapped.tobytes()
            made["PixelData"].VR = "OW" if pixels.itemsize > 1 else "OB"
        made.save_as(path, enforce_file_format=True)
    return path


def voc(*boxes: tuple[Any, ...], size: tuple[Any, Any] | None = (48, 40), name: str = "A") -> str:
    """Pascal VOC of boxes xmin, ymin, xmax, ymax on an image of (width, height)."""
    sides = "" if size is None else f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>1</depth></size>"
    keys = ("xmin", "ymin", "xmax", "ymax")
    objects = "".join(
        f"<object><name>{name}</name><bndbox>"
        + "".join(f"<{key}>{value}</{key}>" for key, value in zip(keys, box, strict=True))
        + "</bndbox></object>"
        for box in boxes
    )
    return f"<annotation><filename>{SECRETS[1]}</filename><folder>x</folder>{sides}{objects}</annotation>"


def write_voc(folder: Path, uid: str, *boxes: tuple[Any, ...], **options: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{uid}.xml"
    path.write_text(voc(*boxes, **options))
    return path


def body(seed: int, shape: tuple[int, int] = (40, 48)) -> NDArray[np.uint16]:
    """Stored values of a smooth slice that fills 12 bits; HU are 1024 less."""
    noise = cv2.GaussianBlur(np.random.default_rng(seed).normal(size=shape), (0, 0), 2)
    return np.round((noise - noise.min()) / np.ptp(noise) * 4095).astype(np.uint16)
