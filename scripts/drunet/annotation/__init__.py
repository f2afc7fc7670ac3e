"""What pathologists drew: GeoJSON, XML of ASAP, ImageScope and HALO, and masks in, polygons and rasters out."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import cast

from shapely.geometry import MultiPolygon, Polygon

from drunet.annotation.geojson import drawn_features, read_geojson
from drunet.annotation.mask import read_mask
from drunet.annotation.outline import outline, united
from drunet.annotation.raster import measured_region, rasterise
from drunet.annotation.region import MAX_UNTANGLED, Annotation, Kind, Label, Region, Source
from drunet.annotation.xml import read_xml
from drunet.files import AnyPath

__all__ = [
    "Annotation", "Kind", "Label", "Region", "measured_region", "outline", "rasterise", "read_annotation", "read_area",
]  # fmt: skip

KINDS = ("wta", "psa")
# Parsed, text takes ten times its size and more; pixels are counted before they are decoded.
MAX_BYTES, MAX_MASK_BYTES = 128 << 20, 1 << 30
Reader = Callable[[bytes, Source], tuple[Region, ...]]
READERS: dict[str, Reader] = {
    ".geojson": read_geojson,
    ".json": read_geojson,
    ".xml": read_xml,
    ".annotations": read_xml,
    ".png": read_mask,
    ".tif": read_mask,
    ".tiff": read_mask,
}


def read_annotation(
    path: AnyPath,
    *,
    kind: str,
    where: str,
    width: int,
    height: int,
    classes: Mapping[str, Sequence[str]],
    origin: Sequence[int] = (0, 0),
    max_untangled: float = MAX_UNTANGLED,
) -> Annotation:
    """Read one slide's annotation, in the format that the file's suffix says.

    Raises AnnotationError, naming slide, file and region, for everything in the file that cannot be understood.

    Parameters
    ----------
    path : path
        .geojson, .json (QuPath), .xml (ASAP, Aperio ImageScope, HALO), .annotations (HALO), .png, .tif or .tiff (mask).
    kind : {"wta", "psa"}
        Whole tumour annotation or partial slide annotation (DRU-Net). A WTA without regions says that there is no
        tumour; a PSA without regions says nothing and is refused.
    where : str
        Slide ID, for messages.
    width, height : int
        Size of the slide in level-0 pixels, which is also the unit of the coordinates.
    classes : mapping of label to class names
        As `cohort.annotation_classes`: tumour, non_tumour and ignore, with shell wildcards.
    origin : (int, int)
        Level-0 pixel (x, y) from which GeoJSON counts: `SlideProperties.geojson_origin`. XML and masks are of the whole
        slide.
    max_untangled : float
        As `cohort.max_untangled`: the share of a region up to which an outline that crosses itself is untangled.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown annotation kind {kind!r}, expected one of {KINDS}")
    file = Path(path)
    source = Source(where, file.name, width, height, classes, origin, max_untangled)
    reader, data = _opened(file, source, READERS)
    regions = reader(data, source)
    if not regions and source.mended.first:
        # Passed over, it would call the whole slide free of tumour.
        raise source.mended.first
    source.check_overlaps(regions)
    if kind == "psa" and not regions:
        raise source.error(
            "the partial annotation has no regions, so that nothing about this slide is known",
            mend="Annotate some tumour and non-tumour, or set annotation_kind to wta if all of it is free of tumour.",
        )
    return Annotation(cast(Kind, kind), regions, str(source.mended))


def read_area(
    path: AnyPath,
    *,
    where: str,
    width: int,
    height: int,
    origin: Sequence[int] = (0, 0),
    max_untangled: float = MAX_UNTANGLED,
) -> Polygon | MultiPolygon:
    """Read an area that somebody drew, whatever its classes, in level-0 pixels: the region to look at, or tissue.

    The file is GeoJSON or a mask; the rest, and AnnotationError, as `read_annotation`. An empty file is refused.
    """
    file = Path(path)
    source = Source(where, file.name, width, height, {}, origin, max_untangled)
    reader, data = _opened(file, source, {s: r for s, r in READERS.items() if r is not read_xml})
    if reader is read_mask:
        areas = [region.geometry for region in reader(data, source)]
    else:
        areas = []
        for drawn in drawn_features(data, source):
            areas.append(source.area([[ring + origin for ring in rings] for rings in drawn.polygons], drawn.item))
    if not areas:
        raise source.mended.first or source.error("nothing is drawn", mend="Draw an area, or leave the cell empty.")
    return united(areas)


def _opened(file: Path, source: Source, readers: Mapping[str, Reader]) -> tuple[Reader, bytes]:
    """The reader for a file's format, and its bytes; raises AnnotationError."""
    reader = readers.get(file.suffix.casefold())
    if reader is None:
        mend = f"Use one of {', '.join(readers)}."
        raise source.error("annotations of this format cannot be read", mend=mend)
    try:
        if (size := file.stat().st_size) > (MAX_MASK_BYTES if reader is read_mask else MAX_BYTES):
            mend = "Export the annotations alone, without detections and cells, or a mask at a lower resolution."
            raise source.error("the file is too large to be read safely", found=f"{size >> 20} MiB", mend=mend)
        data = file.read_bytes()
    except OSError as error:
        mend = "Check the annotation column of the sample sheet."
        raise source.error("the annotation file cannot be opened", found=error.strerror, mend=mend) from None
    if not data.strip():
        raise source.error("the file is empty", mend="Export the annotation again.")
    return reader, data
