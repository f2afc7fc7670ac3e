"""A slide of which only a part was scanned, as OpenSlide reads it: Leica's SCN, the smallest there can be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile

MACRO = 16
IMAGE = """<image name="{ifd}" uuid="{ifd}"><creationDate>2020-01-01T00:00:00Z</creationDate>
<device model="none" version="1"/><pixels sizeX="{width}" sizeY="{height}">
<dimension sizeX="{width}" sizeY="{height}" r="0" ifd="{ifd}"/></pixels>
<view sizeX="{across}" sizeY="{down}" offsetX="{left}" offsetY="{top}" spacingZ="0"/>
<scanSettings><objectiveSettings><objective>10</objective></objectiveSettings><illuminationSettings>
<numericalAperture>0.4</numericalAperture><illuminationSource>brightfield</illuminationSource>
</illuminationSettings></scanSettings></image>"""
SLIDE = """<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01">
<collection name="slide" uuid="slide" sizeX="{across}" sizeY="{down}"><barcode>MQ==</barcode>{images}
</collection></scn>"""


def write_scanned(
    path: Path, scanned: np.ndarray, size: tuple[int, int], origin: tuple[int, int], mpp: float = 1.0
) -> Path:
    """Write uint8 (h, w, 3) as the scanned part, at `origin`, of a slide of (width, height) in multiples of 16."""
    nm = round(mpp * 1000)
    overview = np.full((size[1] // MACRO, size[0] // MACRO, 3), 240, np.uint8)

    def image(ifd: int, pixels: np.ndarray, pitch: int, place: tuple[int, int]) -> str:
        height, width = pixels.shape[:2]
        view = {"across": width * pitch, "down": height * pitch, "left": place[0] * nm, "top": place[1] * nm}
        return IMAGE.format(ifd=ifd, width=width, height=height, **view)

    images = image(0, overview, nm * MACRO, (0, 0)) + image(1, scanned, nm, origin)
    description = SLIDE.format(across=size[0] * nm, down=size[1] * nm, images=images)
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        for page, text in ((overview, description), (scanned, None)):
            tiff.write(
                page,
                description=text,
                tile=(64, 64),
                photometric="rgb",
                compression="deflate",
                resolution=(10_000 / mpp, 10_000 / mpp),
                resolutionunit="CENTIMETER",
                metadata=None,
            )
    return path
