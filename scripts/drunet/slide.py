"""Opening slides, their resolution, and reading a region at a physical resolution.

OpenSlide does the decoding. Associated images (label, macro) hold patient names and are never touched; of the
properties only a whitelist leaves this module.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import openslide
import tifffile

from drunet.errors import SlideError
from drunet.grid import nearest_finer_level

# Outside this range a stated µm/px is a mistake in the file: the finest scanners reach 0.05, and at 20 µm/px a cell is
# half a pixel.
PLAUSIBLE_MPP = (0.05, 20.0)
# The axes of a scanner's pixels agree to a fraction of this; a file in which they do not states one of them wrongly.
SQUARE_TOLERANCE = 0.02
# No single read decodes more than this many pixels, which bounds memory at about a gigabyte.
MAX_READ_PX = 2**28


@dataclass(frozen=True)
class SlideProperties:
    """What may be said about a slide.

    Attributes
    ----------
    width, height : int
        Level-0 size in pixels.
    mpp : float
        Level-0 resolution in µm/px (mean of both axes, which agree within `SQUARE_TOLERANCE`).
    mpp_source : str
        Where `mpp` comes from: ``sheet``, ``openslide`` or ``tiff tags``.
    downsamples : tuple of float
        Downsampling factor of each level.
    vendor, objective_power : str
        As OpenSlide and the scanner call them, for display; the power is never turned into µm/px.
    bounds_origin : (int, int)
        Level-0 pixel (x, y) of the top left corner of what was scanned, of formats whose level 0 reaches beyond it
        (``openslide.bounds-x`` and ``-y``: MIRAX, some of Leica and Ventana); (0, 0) of all others.
    """

    width: int
    height: int
    mpp: float
    mpp_source: str
    vendor: str
    downsamples: tuple[float, ...]
    objective_power: str
    bounds_origin: tuple[int, int] = (0, 0)

    def geojson_origin(self, frame: str) -> tuple[int, int]:
        """Level-0 pixel (x, y) from which GeoJSON counts, with `cohort.geojson_frame` "qupath" or "slide".

        QuPath's OpenSlide reader shows what was scanned alone, unless it is told ``--no-crop``, and counts from the
        corner of that, in what it writes and in what it reads (its OpenslideImageServer, since version 0.2); "slide"
        counts from the corner of the whole slide.
        """
        origins = {"qupath": self.bounds_origin, "slide": (0, 0)}
        if frame not in origins:
            raise ValueError(f"unknown frame {frame!r}, expected one of {tuple(origins)}")
        return origins[frame]


class Slide:
    """An open slide; a context manager.

    `path` is a file that OpenSlide reads, `slide_id` how messages call it; `mpp`, µm/px from the sample sheet, wins
    over what the file says. Raises SlideError with status ``missing``, ``unreadable`` or ``resolution_missing``.
    """

    def __init__(self, path: str | os.PathLike[str], slide_id: str, mpp: float | None = None) -> None:
        self.slide_id = slide_id
        path = Path(path)
        if not path.is_file():
            found = path.name
            mend = "Correct `path` in the sheet, or `cohort.root` in the configuration."
            raise SlideError("the slide file is not there", status="missing", where=slide_id, found=found, mend=mend)
        self._path = path
        self._handle = _open(path, slide_id)
        try:
            self.properties = _properties(self._handle, path, slide_id, mpp)
        except BaseException:
            self._handle.close()
            raise

    def __enter__(self) -> Slide:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the file back; the slide is then of no further use."""
        self._handle.close()

    def read(self, x: int, y: int, size: tuple[int, int], mpp: float) -> np.ndarray:
        """Read a region at a resolution, from the nearest finer level, resized by area.

        Parameters
        ----------
        x, y : int
            Level-0 pixel of the top left corner; may lie outside the slide.
        size : (width, height)
            Size of the result in pixels at `mpp`.
        mpp : float
            Resolution of the result in µm/px; finer than the slide's own is interpolated.

        Returns
        -------
        uint8 (height, width, 3)
            RGB; what lies outside the slide, or was never scanned, is white.

        Raises
        ------
        SlideError
            ``unreadable``. The handle is then of no further use: OpenSlide would return blank pixels.
        """
        downsample = mpp / self.properties.mpp
        level = nearest_finer_level(self.properties.downsamples, downsample)
        factor = downsample / self.properties.downsamples[level]
        # Rounded: nothing in the result is displaced by more than half a pixel of the level.
        width, height = (max(1, round(s * factor)) for s in size)
        if width * height > MAX_READ_PX:
            what = "a single read would need too much memory: no level is coarse enough"
            found = f"{width} x {height} px at level {level}"
            mend = "Convert the slide to a pyramidal TIFF."
            raise SlideError(what, status="unreadable", where=self.slide_id, found=found, mend=mend)
        rgb = self._region(int(x), int(y), level, (width, height))
        if (width, height) == size:
            return rgb
        shrinking = factor > 1
        return cv2.resize(rgb, size, interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR)

    def read_whole(self, shape: tuple[int, int]) -> np.ndarray:
        """The whole slide stretched to uint8 (h, w, 3), from the nearest finer level, resized by area."""
        properties = self.properties
        wanted = min(properties.width / shape[1], properties.height / shape[0])
        level = nearest_finer_level(properties.downsamples, max(wanted, 1.0))
        width, height = self._handle.level_dimensions[level]
        scale = height / shape[0]
        # In strips: a slide with one level would otherwise be held whole at full resolution.
        rows = max(1, int(MAX_READ_PX // 16 / width / scale))
        strips = []
        for first in range(0, shape[0], rows):
            last = min(first + rows, shape[0])
            top = min(round(first * scale), height - 1)
            size = (width, max(1, round(last * scale) - top))
            strip = self._region(0, round(top * properties.downsamples[level]), level, size)
            strips.append(cv2.resize(strip, (shape[1], last - first), interpolation=cv2.INTER_AREA))
        return np.concatenate(strips)

    def shape_at(self, mpp: float) -> tuple[int, int]:
        """(h, w) of the whole slide at a resolution in µm/px, at least one pixel each."""
        scale = self.properties.mpp / mpp
        return max(1, round(self.properties.height * scale)), max(1, round(self.properties.width * scale))

    def _region(self, x: int, y: int, level: int, size: tuple[int, int]) -> np.ndarray:
        """uint8 (height, width, 3) of a level, on white; x and y in level-0 pixels."""
        try:
            return _on_white(np.asarray(self._handle.read_region((x, y), level, size)))
        except openslide.OpenSlideError as error:
            raise _unreadable(self._path, self.slide_id, error) from error


def _on_white(rgba: np.ndarray) -> np.ndarray:
    """Lay premultiplied-free RGBA on white; most regions are opaque and need no arithmetic."""
    rgb, alpha = rgba[..., :3], rgba[..., 3:]
    if alpha.min(initial=255) == 255:
        return np.ascontiguousarray(rgb)
    share = alpha.astype(np.float32) / 255
    return np.rint(rgb * share + 255 * (1 - share)).astype(np.uint8)


def _unreadable(path: Path, slide_id: str, error: Exception) -> SlideError:
    # OpenSlide names the whole path, which may hold a patient's name.
    said = str(error).replace(str(path), slide_id).splitlines()
    found = said[0] if said else type(error).__name__
    mend = "Copy or export it again; it may be cut short."
    return SlideError("the file cannot be read as a slide", status="unreadable", where=slide_id, found=found, mend=mend)


def _open(path: Path, slide_id: str) -> openslide.OpenSlide:
    if path.stat().st_size == 0:
        raise _unreadable(path, slide_id, ValueError("the file is empty"))
    try:
        handle = openslide.OpenSlide(path)
    except openslide.OpenSlideUnsupportedFormatError as error:
        what = "the file is in no format that OpenSlide knows, or it is cut short"
        found = path.suffix or "no suffix"
        mend = "Export it again, as a tiled pyramidal TIFF or a vendor's format."
        raise SlideError(what, status="unreadable", where=slide_id, found=found, mend=mend) from error
    except (openslide.OpenSlideError, OSError) as error:
        raise _unreadable(path, slide_id, error) from error
    return handle


def _properties(handle: openslide.OpenSlide, path: Path, slide_id: str, mpp: float | None) -> SlideProperties:
    values = handle.properties
    width, height = handle.dimensions
    resolution, source = _resolution(handle, path, slide_id, mpp)
    if resolution is None:
        what = "the slide does not say its resolution"
        found = f"objective power {values.get(openslide.PROPERTY_NAME_OBJECTIVE_POWER, 'not given')}, no µm/px"
        mend = "Add a column `mpp` to the sheet with its level-0 µm/px (often 0.25 at 40x, 0.5 at 20x)."
        raise SlideError(what, status="resolution_missing", where=slide_id, found=found, mend=mend)
    if not PLAUSIBLE_MPP[0] <= resolution <= PLAUSIBLE_MPP[1]:
        what = "the slide's resolution is not plausible"
        found = f"{resolution:g} µm/px from {source}"
        mend = "Add a column `mpp` to the sheet with the right value."
        raise SlideError(what, status="resolution_missing", where=slide_id, found=found, mend=mend)
    return SlideProperties(
        width=width,
        height=height,
        mpp=resolution,
        mpp_source=source,
        vendor=values.get(openslide.PROPERTY_NAME_VENDOR, "unknown"),
        downsamples=tuple(float(d) for d in handle.level_downsamples),
        objective_power=values.get(openslide.PROPERTY_NAME_OBJECTIVE_POWER, ""),
        bounds_origin=_bounds_origin(values, (width, height)),
    )


def _bounds_origin(values: Mapping[str, str], size: tuple[int, int]) -> tuple[int, int]:
    """Corner of what was scanned, if the file states an area within the slide, else (0, 0)."""
    try:
        x, y, width, height = (int(values[f"openslide.bounds-{name}"]) for name in ("x", "y", "width", "height"))
    except (KeyError, ValueError):
        return 0, 0
    inside = 0 <= x < x + width <= size[0] and 0 <= y < y + height <= size[1]
    return (x, y) if inside else (0, 0)


def _resolution(handle: openslide.OpenSlide, path: Path, slide_id: str, mpp: float | None) -> tuple[float | None, str]:
    """µm/px and its source, in the order sheet, OpenSlide, TIFF tags."""
    if mpp is not None:
        return float(mpp), "sheet"
    try:
        both = [float(handle.properties[f"openslide.mpp-{axis}"]) for axis in "xy"]
        return _square(both, slide_id, "openslide"), "openslide"
    except (KeyError, ValueError):
        pass
    tags = _tiff_resolution(path)
    return (_square(tags, slide_id, "tiff tags"), "tiff tags") if tags is not None else (None, "")


def _square(both: Sequence[float], slide_id: str, source: str) -> float:
    """Mean µm/px of both axes, which have to agree: every length and area is taken as if pixels were square."""
    x, y = both
    if abs(x - y) > SQUARE_TOLERANCE * min(abs(x), abs(y)):
        what = "the slide's pixels are not square"
        found = f"{x:g} µm/px across, {y:g} µm/px down, from {source}"
        mend = "Add a column `mpp` to the sheet with the right value, which then decides for both axes."
        raise SlideError(what, status="resolution_missing", where=slide_id, found=found, mend=mend)
    return (x + y) / 2


def _tiff_resolution(path: Path) -> list[float] | None:
    """µm/px of the first TIFF page across and down, if its tags state a real unit."""
    try:
        with tifffile.TiffFile(path) as tiff:
            page = tiff.pages.first
            unit = int(page.tags["ResolutionUnit"].value)
            micrometres = {2: 25_400.0, 3: 10_000.0}.get(unit)
            values = [page.tags[name].value for name in ("XResolution", "YResolution")]
    except (tifffile.TiffFileError, KeyError, OSError, ValueError):
        return None
    if micrometres is None or any(numerator == 0 or denominator == 0 for numerator, denominator in values):
        return None
    # 72 dpi and its like are defaults of image editors, not measurements: 350 µm/px is no microscope.
    both = [micrometres * denominator / numerator for numerator, denominator in values]
    return both if sum(both) / 2 <= PLAUSIBLE_MPP[1] else None
