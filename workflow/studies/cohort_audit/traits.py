"""What a slide shows that cannot say whether there is tumour: facts of its file, its glass, ink.

A network that meets tumour only on slides of one scanner, with one kind of glass, or beside a pathologist's pen, can
learn these instead of tumour (DeGrave et al. 2021; Howard et al. 2021 for sites and stains).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import tifffile
from numpy.typing import NDArray

from drunet.slide import Slide
from drunet.tiff import BROKEN
from drunet.tiles import UNLABELLED
from drunet.tissue import pen_ink

# µm/px of the overview, px around tissue that still hold its shade, and px of a slide's signature.
MPP, MARGIN, SIGNATURE = 8.0, 3, 32
# Share of the overview below which glass says nothing.
LEAST_GLASS = 0.01
COLOURS = ("red", "green", "blue", "red_sd", "green_sd", "blue_sd")
_DQT = b"\xff\xdb"


def file_traits(path: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Facts of a slide's file: from its `status.json`, and for a TIFF what its first page says of its compression.

    Sizes of the file are left out: tissue rich in nuclei compresses worse, so that they may say what is on the slide.
    """
    known = {key: facts.get(key) for key in ("width", "height", "mpp", "levels", "objective_power", "vendor")}
    return {**known, "suffix": Path(path).suffix.lower(), **_compression(path)}


def _compression(path: str) -> dict[str, Any]:
    try:
        with tifffile.TiffFile(path) as tiff:
            page = tiff.pages.first
            data = page.jpegtables or b""
            if not data and page.dataoffsets:
                tiff.filehandle.seek(page.dataoffsets[0])
                data = tiff.filehandle.read(min(page.databytecounts[0], 4096))
            said = {
                "compression": str(tifffile.COMPRESSION(page.compression).name),
                "tile_width": page.tilewidth,
                "icc": 34675 in page.tags,
            }
            return {**said, "quantisation": _quantisation(data)}
    except BROKEN:
        return {}


def _quantisation(data: bytes) -> float | None:
    """Mean of the first quantisation table of a JPEG stream: the coarser, the larger."""
    start = data.find(_DQT)
    table = data[start + 5 : start + 69]
    return float(np.mean(list(table))) if start >= 0 and len(table) == 64 else None


def glass_and_ink(slide: Slide, tissue: NDArray[np.bool_]) -> tuple[dict[str, Any], dict[str, Any], NDArray[np.uint8]]:
    """Colour of the glass (mean and sd of each channel), share of ink, and the overview itself, uint8 (h, w, 3)."""
    mpp = max(MPP, slide.properties.mpp)
    image, _ = slide.overview(slide.shape_at(mpp))
    ink = pen_ink(image, mpp)
    shape = image.shape[1::-1]
    near = cv2.resize(tissue.astype(np.uint8), shape, interpolation=cv2.INTER_NEAREST)
    covered = np.asarray(cv2.dilate(near, np.ones((2 * MARGIN + 1,) * 2, np.uint8))) > 0
    # Black is where a scanner did not look, and lost pixels are white.
    glass = image[~covered & ~ink & (image.max(axis=2) > 0) & (image.min(axis=2) < 255)]
    known = len(glass) >= LEAST_GLASS * ink.size
    values = [*glass.mean(0), *glass.std(0)] if known else [None] * 6
    return dict(zip(COLOURS, values, strict=True)), {"share": float(ink.mean())}, image


def signature(image: NDArray[np.uint8], tissue: NDArray[np.bool_]) -> list[list[float]]:
    """What the tissue looks like from afar: grey levels of its bounding box on 32 by 32 px, mean 0 and length 1."""
    rows, columns = (np.flatnonzero(tissue.any(axis=axis)) for axis in (1, 0))
    scale = np.array(image.shape[:2]) / tissue.shape
    top, bottom = (int(v * scale[0]) for v in (rows[0], rows[-1] + 1))
    left, right = (int(v * scale[1]) for v in (columns[0], columns[-1] + 1))
    box = image[top : max(bottom, top + 1), left : max(right, left + 1)]
    grey = cv2.resize(cv2.cvtColor(box, cv2.COLOR_RGB2GRAY), (SIGNATURE,) * 2, interpolation=cv2.INTER_AREA)
    away = grey.astype(np.float64) - grey.mean()
    return np.round(away / max(float(np.linalg.norm(away)), 1e-9), 5).tolist()


def tile_colours(slide: Slide, tiles: pd.DataFrame, size: int, mpp: float, most: int, seed: int) -> pd.DataFrame:
    """Mean and sd of red, green and blue of at most `most` labelled tiles of each class: label and `COLOURS`."""
    rng = np.random.default_rng(seed)
    drawn = [
        own.iloc[np.sort(rng.choice(len(own), min(most, len(own)), replace=False))]
        for label, own in tiles.groupby("label")
        if label != UNLABELLED
    ]
    rows = []
    for x, y, label in pd.concat([tiles.head(0), *drawn])[["x", "y", "label"]].to_numpy(np.int64).tolist():
        pixels = slide.read(x, y, (size, size), mpp)
        rows.append([label, *pixels.mean((0, 1)), *pixels.std((0, 1))])
    return pd.DataFrame(rows, columns=["label", *COLOURS]).astype({"label": int})
