"""The mask of a slide as a DICOM segmentation: tiled, binary, one segment.

It refers to the series of a DICOM slide, and lies in its frame of reference; other slides get identifiers made from
theirs. What names a patient is not taken over: an archive fills it in by the study.
"""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

import drunet
from drunet.dicom import is_dicom, volume_headers
from drunet.files import AnyPath, whole_file
from drunet.grid import Grid

if TYPE_CHECKING:
    from pydicom import Dataset

_SIDE, _TILING = 256, "TILED_FULL"
_SLIDE_IMAGE = "1.2.840.10008.5.1.4.1.1.77.1.6"
_EMPTY = "PatientName PatientBirthDate PatientSex AccessionNumber StudyID StudyDate StudyTime"
# A level that has more columns than this many times the mask's is too large to be filled by it.
_FINER = 2.0


def write_segmentation(
    path: AnyPath, mask: np.ndarray, grid: Grid, slide: AnyPath, *, slide_id: str, run: str, model_sha256: str
) -> None:
    """Write a mask that covers the slide, bool (h, w); `model_sha256` stands for the device's serial number.

    A DICOM slide's mask gets the raster of the level of its series that is nearest, so that viewers lay one over the
    other; where none is near, and for other slides, it keeps its own.
    """
    import highdicom as hd
    from pydicom.sr.codedict import codes

    source, mask = _source(Path(slide), mask, grid, slide_id)
    device: dict[str, Any] = {
        "manufacturer": "drunet",
        "manufacturer_model_name": "drunet",
        "software_versions": drunet.__version__,
    }
    method = hd.AlgorithmIdentificationSequence("drunet", codes.DCM.ArtificialIntelligence, drunet.__version__)
    kind = codes.SCT.MorphologicallyAbnormalStructure, codes.SCT.Neoplasm
    segmentation = hd.seg.Segmentation(
        source_images=[source],
        pixel_array=mask[None],
        segmentation_type="BINARY",
        segment_descriptions=[hd.seg.SegmentDescription(1, "Tumour", *kind, "AUTOMATIC", method)],
        series_instance_uid=_uid(source.SeriesInstanceUID, run),
        series_number=1,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        **device,
        device_serial_number=model_sha256,
        content_label="TUMOUR",
        series_description=f"Tumour by run {run}"[:64],
        dimension_organization_type=_TILING,
        tile_pixel_array=True,
        tile_size=(_SIDE, _SIDE),
        omit_empty_frames=False,
    )
    segmentation.PatientOrientation = None
    with whole_file(path) as temporary:
        segmentation.save_as(temporary)


def _source(slide: Path, mask: np.ndarray, grid: Grid, slide_id: str) -> tuple[Dataset, np.ndarray]:
    """What is segmented: the header of its image, without all that names a patient, and the mask on its raster."""
    from pydicom import Dataset

    levels = volume_headers(slide) if is_dicom(slide) else []
    known = min(levels, key=lambda v: abs(np.log(v.TotalPixelMatrixColumns / mask.shape[1])), default=Dataset())
    if levels and known.TotalPixelMatrixColumns <= _FINER * mask.shape[1]:
        size = known.TotalPixelMatrixColumns, known.TotalPixelMatrixRows
        mask = cv2.resize(mask.astype(np.uint8) * 255, size, interpolation=cv2.INTER_AREA) > 127
    header, measures, groups, origin, specimen = (Dataset() for _ in range(5))
    header.SOPClassUID, header.Modality, header.DimensionOrganizationType = _SLIDE_IMAGE, "SM", "TILED_FULL"
    for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID"):
        setattr(header, name, known.get(name) or _uid(slide_id, name))
    for name in _EMPTY.split():
        setattr(header, name, "")
    # An archive wants one for a study that it does not know.
    header.PatientID = "" if levels else _uid(slide_id)[-16:]
    header.ContainerIdentifier = specimen.SpecimenIdentifier = _uid(slide_id)[-16:]
    header.IssuerOfTheContainerIdentifierSequence = header.ContainerTypeCodeSequence = []
    specimen.IssuerOfTheSpecimenIdentifierSequence = specimen.SpecimenPreparationSequence = []
    specimen.SpecimenUID, header.SpecimenDescriptionSequence = _uid(slide_id), [specimen]
    header.Rows = header.Columns = _SIDE
    header.TotalPixelMatrixRows, header.TotalPixelMatrixColumns = height, width = mask.shape
    header.NumberOfFrames, header.TotalPixelMatrixFocalPlanes = -(-height // _SIDE) * -(-width // _SIDE), 1
    header.ImageOrientationSlide = known.get("ImageOrientationSlide") or [1, 0, 0, 0, 1, 0]
    origin.XOffsetInSlideCoordinateSystem = origin.YOffsetInSlideCoordinateSystem = 0.0
    header.TotalPixelMatrixOriginSequence = known.get("TotalPixelMatrixOriginSequence") or [origin]
    sides = grid.height / height, grid.width / width
    # A number has sixteen characters at most.
    measures.PixelSpacing = [round(side * grid.mpp / 1000, 12) for side in sides]
    measures.SliceThickness, groups.PixelMeasuresSequence = 0.001, [measures]
    header.SharedFunctionalGroupsSequence = [groups]
    return header, mask


def _uid(*parts: str) -> str:
    """An identifier that is always the same for the same parts, and tells nothing of them."""
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_URL, '/'.join(('drunet', *parts))).int}"
