"""The intact slides that are broken: one picture in five formats, and the outline of its tumour.

Patients' names are planted wherever a format has room for one; nothing of them may reach a result, a message or a log.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pydicom
import pydicom.uid
import tifffile
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence as Items

Pixels = NDArray[np.uint8]
# A patient that never was. Every intact slide holds the name in its tags, every member in the names of its files.
NAME = "Nordmannsen"
PATIENT = f"Kjellfrid {NAME}"
WIDTH, HEIGHT, TILE, MPP = 1792, 1280, 256, 0.5
GLASS, TISSUE, TUMOUR = (243, 242, 244), (205, 150, 185), (120, 70, 150)
# Of DICOM levels.
FACTOR = 4
CENTRE, RADIUS = (820, 600), 260
SEED = 20240917


@cache
def drawn(seed: int = SEED) -> Pixels:
    """Glass, an oval of textured tissue that reaches over the first and the last tile, and a round tumour in it."""
    rng = np.random.default_rng(seed)
    image = np.full((HEIGHT, WIDTH, 3), GLASS, np.uint8)
    inside = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.ellipse(inside, (WIDTH // 2 - 60, HEIGHT // 2 - 60), (700, 500), 0, 0, 360, 1, -1)
    cv2.circle(inside, CENTRE, RADIUS, 2, -1)
    grain = cv2.GaussianBlur(rng.normal(0, 200, (HEIGHT, WIDTH)), (0, 0), 5)[..., None] * np.array([1, 1.2, 0.9])
    for value, colour in ((1, TISSUE), (2, TUMOUR)):
        textured = np.clip(colour + grain, 0, 235).astype(np.uint8)
        image[inside == value] = textured[inside == value]
    return image


def outline() -> list[list[float]]:
    """Closed ring of the tumour, in level-0 px."""
    turn = np.linspace(0, 2 * np.pi, 73)
    ring = np.array(CENTRE) + RADIUS * np.stack([np.cos(turn), np.sin(turn)], 1)
    return [*ring[:-1].round(2).tolist(), ring[0].round(2).tolist()]


def geojson(ring: Sequence[Sequence[float]] | None = None, name: str = "Tumor", **feature: Any) -> dict[str, Any]:
    """A feature as QuPath writes it."""
    properties = {"objectType": "annotation", "classification": {"name": name, "color": [200, 0, 0]}}
    geometry = {"type": "Polygon", "coordinates": [ring or outline()]}
    return {"type": "Feature", "id": PATIENT, "geometry": geometry, "properties": properties, **feature}


def write_geojson(path: Path, features: Sequence[Any] | None = None) -> Path:
    found = [geojson()] if features is None else list(features)
    path.write_text(json.dumps({"type": "FeatureCollection", "features": found}), encoding="utf-8")
    return path


def levels(image: Pixels, count: int, factor: int) -> list[Pixels]:
    sizes = [(image.shape[1] // factor**i, image.shape[0] // factor**i) for i in range(count)]
    return [image, *(cv2.resize(image, size, interpolation=cv2.INTER_AREA) for size in sizes[1:])]


def write_tiff(path: Path, image: Pixels, *, count: int = 3, mpp: float | None = MPP, description: str | None = None,
               codec: str = "jpeg", bigtiff: bool = False, tile: int = TILE, factor: int = 2) -> Path:  # fmt: skip
    with tifffile.TiffWriter(path, bigtiff=bigtiff) as tiff:
        for index, pixels in enumerate(levels(image, count, factor)):
            tiff.write(
                pixels,
                tile=(tile, tile),
                photometric="rgb",
                compression=codec,
                compressionargs={"level": 90} if codec == "jpeg" else None,
                subfiletype=int(index > 0),
                resolution=None if mpp is None else (1e4 / (mpp * factor**index),) * 2,
                resolutionunit=None if mpp is None else "CENTIMETER",
                description=description,
                metadata=None,
                software=PATIENT,
            )
    return path


def generic(path: Path, image: Pixels, **options: Any) -> Path:
    return write_tiff(path, image, description=f"{PATIENT}; {image.shape[1]} px", **options)


def aperio_text(size: str, mpp: float | None, power: float | None) -> str:
    text = f"Aperio Image Library v12.0.15\r\n{size} [0,0 {size}] (256x256) JPEG/RGB Q=90|Patient = {PATIENT}"
    text += "" if power is None else f"|AppMag = {power:g}"
    return text + ("" if mpp is None else f"|MPP = {mpp:.4f}")


def aperio(path: Path, image: Pixels, *, mpp: float | None = MPP, power: float | None = 20, **options: Any) -> Path:
    text = aperio_text(f"{image.shape[1]}x{image.shape[0]}", mpp, power)
    # As scanners do: tiles at 1 µm/px come from level 0.
    write_tiff(path, image, **{"mpp": None, "description": text, "factor": 4} | options)
    with tifffile.TiffWriter(path, append=True) as tiff:
        for name, kind in (("label", 1), ("macro", 9)):
            said = f"Aperio Image Library v12.0.15\r\n{name} 120x80 {PATIENT}"
            page = np.full((80, 120, 3), (0, 255, 0), np.uint8)
            tiff.write(page, description=said, subfiletype=kind, photometric="rgb", metadata=None, contiguous=False)
    return path


def ome(path: Path, image: Pixels, *, mpp: float | None = MPP, count: int = 3, **_: Any) -> Path:
    """OME-TIFF, whose coarser levels are SubIFDs, as Bio-Formats and QuPath write it; OpenSlide sees one level."""
    text = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0" '
        f'Name="{PATIENT}"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" SizeX="{image.shape[1]}" '
        f'SizeY="{image.shape[0]}" SizeC="3" SizeZ="1" SizeT="1" PhysicalSizeX="{mpp}" PhysicalSizeY="{mpp}">'
        '<Channel ID="Channel:0:0" SamplesPerPixel="3"/><TiffData/></Pixels></Image></OME>'
    )
    with tifffile.TiffWriter(path) as tiff:
        for index, pixels in enumerate(levels(image, count, 2)):
            tiff.write(
                pixels,
                tile=(TILE, TILE),
                photometric="rgb",
                compression="deflate",
                subifds=0 if index else count - 1,
                subfiletype=int(index > 0),
                resolution=None if mpp is None else (1e4 / (mpp * 2**index),) * 2,
                resolutionunit=None if mpp is None else "CENTIMETER",
                description=None if index else text,
                metadata=None,
            )
    return path


def single(path: Path, image: Pixels, **options: Any) -> Path:
    return write_tiff(path, image, **{"count": 1, "codec": "deflate", "tile": 128, "description": PATIENT} | options)


def dicom(path: Path, image: Pixels, *, count: int = 3, mpp: float | None = MPP, sparse: bool = False,
          drop: Callable[[int, int, int], bool] | None = None, change: Callable[[Dataset, int], None] | None = None,
          ) -> Path:  # fmt: skip
    """A series of DICOM WSI, a file per level, JPEG frames; the path is level 0 in a folder of its own.

    With `sparse` each frame says where it lies, and frames (level, row, column) for which `drop` is true are left out.
    `change` edits the data set of a level before it is written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    root = "1.2.826.0.1.3680043.8.498."
    for index, pixels in enumerate(levels(image, count, FACTOR)):
        height, width = pixels.shape[:2]
        rows, columns = -(-height // TILE), -(-width // TILE)
        frames, places = [], []
        for row, column in np.ndindex(rows, columns):
            if sparse and drop and drop(index, row, column):
                continue
            part = pixels[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE]
            whole = np.pad(part, [(0, TILE - part.shape[0]), (0, TILE - part.shape[1]), (0, 0)], mode="edge")
            frames.append(cv2.imencode(".jpg", whole[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes())
            places.append((column * TILE + 1, row * TILE + 1))
        data = _level(index, width, height, mpp, root)
        data.NumberOfFrames = len(frames)
        data.DimensionOrganizationType = "TILED_SPARSE" if sparse else "TILED_FULL"
        if sparse:
            data.PerFrameFunctionalGroupsSequence = Items([_placed(*place) for place in places])
        data.PixelData = encapsulate(frames)
        if change:
            change(data, index)
        target = path if index == 0 else path.with_name(f"{path.stem}-{index}.dcm")
        data.save_as(target, enforce_file_format=True)
    return path


def _level(index: int, width: int, height: int, mpp: float | None, root: str) -> Dataset:
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = pydicom.uid.JPEGBaseline8Bit
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.77.1.6"
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = f"{root}9{index}"
    data.StudyInstanceUID, data.SeriesInstanceUID = root + "1", root + "2"
    data.FrameOfReferenceUID, data.DimensionOrganizationUID = root + "3", root + "4"
    data.PatientName = data.ContainerIdentifier = data.PatientID = PATIENT.replace(" ", "^")
    data.Modality, data.Manufacturer, data.VolumetricProperties = "SM", "none", "VOLUME"
    data.ImageType = ["ORIGINAL" if index == 0 else "DERIVED", "PRIMARY", "VOLUME", "RESAMPLED" if index else "NONE"]
    data.Rows = data.Columns = TILE
    data.TotalPixelMatrixColumns, data.TotalPixelMatrixRows = width, height
    data.TotalPixelMatrixFocalPlanes = data.NumberOfOpticalPaths = 1
    data.SamplesPerPixel, data.PlanarConfiguration, data.PhotometricInterpretation = 3, 0, "YBR_FULL_422"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 8, 8, 7, 0
    data.LossyImageCompression, data.FocusMethod, data.ExtendedDepthOfField = "01", "AUTO", "NO"
    shared, measures = Dataset(), Dataset()
    if mpp is not None:
        measures.PixelSpacing = [mpp * FACTOR**index / 1000] * 2
        measures.SliceThickness = 0.001
        shared.PixelMeasuresSequence = Items([measures])
    data.SharedFunctionalGroupsSequence = Items([shared])
    return data


def _placed(column: int, row: int) -> Dataset:
    frame, place = Dataset(), Dataset()
    place.ColumnPositionInTotalImagePixelMatrix, place.RowPositionInTotalImagePixelMatrix = column, row
    place.XOffsetInSlideCoordinateSystem = place.YOffsetInSlideCoordinateSystem = 0
    place.ZOffsetInSlideCoordinateSystem = 0
    frame.PlanePositionSlideSequence = Items([place])
    return frame


FORMATS: dict[str, Callable[..., Path]] = {
    "generic": generic, "svs": aperio, "ome": ome, "dicom": dicom, "single": single,
}  # fmt: skip
SUFFIX = {"generic": ".tif", "svs": ".svs", "ome": ".ome.tif", "dicom": ".dcm", "single": ".tiff"}


def needles() -> list[bytes]:
    """The name as it may turn up in a file: clear, UTF-16 and base64 at each of its three places."""
    wanted = [NAME.lower().encode(), NAME.lower().encode("utf-16-le"), NAME.lower().encode("utf-16-be")]
    for shift in range(3):
        coded = base64.b64encode(bytes(shift) + NAME.encode())
        # What depends on neighbours is cut off.
        wanted.append(coded[4 if shift else 0 : -4].lower())
    return wanted
