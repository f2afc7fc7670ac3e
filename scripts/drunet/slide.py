"""Opening slides, their resolution, and reading a region at a physical resolution.

OpenSlide does the decoding, or `drunet.direct` where that is faster and gives the same. Associated images (label,
macro) hold patient names and are never touched; of the properties only a whitelist leaves this module.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import openslide

from drunet.direct import Box, DirectLevels
from drunet.errors import SlideError
from drunet.files import AnyPath
from drunet.grid import nearest_finer_level
from drunet.opening import COPY_AGAIN, SlideProperties, open_file, properties_of, unreadable, usable_levels
from drunet.stains import through_density

# No single read decodes more than this many pixels, which bounds memory at about half a gigabyte.
MAX_READ_PX = 2**26
# Nor is a level read whole that has more, which bounds time at minutes.
MAX_WHOLE_PX = 2**34
# Share of a tile that may be tissue of which the file has no pixels.
MAX_LOST = 0.15

__all__ = ["Slide", "SlideProperties"]


class Slide:
    """An open slide; a context manager. Threads may read from it at the same time.

    `path` is a file that OpenSlide reads, which no message may show, `slide_id` how messages call it; `mpp`, µm/px from
    the sample sheet, wins over what the file says. With `tissue`, bool (h, w) over the whole slide, `read` refuses
    regions of which too much tissue is missing in the file; with `density`, float (3, 3), it changes the stains of what
    it reads, see `drunet.stains`. `notes` says what was mended, in words. Raises SlideError with status ``missing``,
    ``unreadable`` or ``resolution_missing``.
    """

    def __init__(
        self,
        path: AnyPath,
        slide_id: str,
        mpp: float | None = None,
        tissue: np.ndarray | None = None,
        density: np.ndarray | None = None,
    ) -> None:
        self.slide_id, self._tissue, self._density, self.notes = slide_id, tissue, density, list[str]()
        path = Path(path)
        if not path.is_file():
            mend = "Correct `path` in the sheet, or `cohort.root` in the configuration."
            raise SlideError("the slide file is not there", status="missing", where=slide_id, mend=mend)
        self.path = path
        self._handle = open_file(path, slide_id)
        try:
            self._levels = usable_levels(self._handle, slide_id)
            if left := len(self._handle.level_dimensions) - len(self._levels):
                self.notes.append(f"{left} levels of another aspect than the slide are not read")
            self.properties = properties_of(self._handle, path, slide_id, mpp)
            self._direct = DirectLevels(path, self._handle.level_dimensions, self.properties.downsamples, self._apart)
        except BaseException:
            self._handle.close()
            raise

    def __enter__(self) -> Slide:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def keep_at_most(self, size: int) -> None:
        """Keep no more than so many bytes of decoded tiles, where many slides are open at once."""
        self._direct.most = min(size, self._direct.most)

    def close(self) -> None:
        """Give the file back; the slide is then of no further use."""
        self._handle.close()
        self._direct.close()

    def read(self, x: int, y: int, size: tuple[int, int], mpp: float) -> np.ndarray:
        """Read a region at a resolution, from the nearest finer level, resized by area: uint8 RGB (height, width, 3).

        `x` and `y` are the level-0 pixel of its top left corner, which may lie outside the slide; `size` is (width,
        height) of the result in pixels at `mpp`, µm/px; finer than the slide's own is interpolated. What lies outside
        the slide, or was never scanned, is white. Raises SlideError (``unreadable``); the handle is then of no further
        use, as OpenSlide would return blank pixels.
        """
        downsample = mpp / self.properties.mpp
        level = self._level(downsample)
        factor = downsample / self.properties.downsamples[level]
        # Rounded: nothing in the result is displaced by more than half a pixel of the level.
        width, height = (max(1, round(s * factor)) for s in size)
        if width * height > MAX_READ_PX:
            what = "a single read would need too much memory: no level is coarse enough"
            found = f"{width} x {height} px at level {level}"
            mend = "Convert the slide to a pyramidal TIFF."
            raise SlideError(what, status="unreadable", where=self.slide_id, found=found, mend=mend)
        rgb, clear = self.region(int(x), int(y), level, (width, height))
        if clear is not None and self._drop_holed(level, x, y, clear):
            return self.read(x, y, size, mpp)
        if (width, height) != size:
            shrinking = factor > 1
            rgb = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR)
        if self._tissue is not None:
            self._refuse_lost(rgb, clear, (x, y), downsample, self._tissue)
        return rgb if self._density is None else through_density(rgb, self._density)

    def read_whole(self, shape: tuple[int, int]) -> np.ndarray:
        """The whole slide stretched to uint8 (h, w, 3), from the nearest finer level, resized by area."""
        return self.overview(shape)[0]

    def overview(self, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray | None]:
        """As `read_whole`, and where the file has no pixels: bool (h, w) or None; raises SlideError as `read`."""
        properties = self.properties
        wanted = min(properties.width / shape[1], properties.height / shape[0])
        level = self._level(max(wanted, 1.0))
        width, height = self._handle.level_dimensions[level]
        if width * height > MAX_WHOLE_PX:
            what = "the slide has no level that is small enough for an overview"
            mend = "Convert it to a pyramidal TIFF."
            found = f"{width} x {height} px"
            raise SlideError(what, status="unreadable", where=self.slide_id, found=found, mend=mend)
        scale = height / shape[0]
        # In strips: a slide with one level would otherwise be held whole at full resolution.
        rows = max(1, int(MAX_READ_PX // 4 / width / scale))
        strips, missing = [], np.zeros(shape, bool)
        for first in range(0, shape[0], rows):
            last = min(first + rows, shape[0])
            top = min(round(first * scale), height - 1)
            size = (width, max(1, round(last * scale) - top))
            corner = round(top * properties.downsamples[level])
            strip, clear = self.region(0, corner, level, size)
            if clear is not None:
                if self._drop_holed(level, 0, corner, clear):
                    return self.overview(shape)
                share = cv2.resize(clear.astype(np.uint8) * 255, (shape[1], last - first), interpolation=cv2.INTER_AREA)
                missing[first:last] = share > 127
            strips.append(cv2.resize(strip, (shape[1], last - first), interpolation=cv2.INTER_AREA))
        return np.concatenate(strips), missing if missing.any() else None

    def shape_at(self, mpp: float) -> tuple[int, int]:
        """(h, w) of the whole slide at a resolution in µm/px, at least one pixel each."""
        scale = self.properties.mpp / mpp
        return max(1, round(self.properties.height * scale)), max(1, round(self.properties.width * scale))

    @property
    def levels(self) -> list[tuple[int, tuple[int, int]]]:
        """The levels that are read, the finest first: index, and (width, height)."""
        return [(i, self._handle.level_dimensions[i]) for i in self._levels]

    def region(self, x: int, y: int, level: int, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray | None]:
        """uint8 (height, width, 3) of a level, on white, and where it is transparent: bool (height, width), or None.

        `x` and `y` are level-0 pixels, moved to the nearest pixel of the level, as OpenSlide takes five times as long
        between them. Transparent is what lies outside the slide, was never scanned, or was lost.
        """
        factor = self.properties.downsamples[level]
        column, row = round(x / factor), round(y / factor)
        found = self._direct.region(level, column, row, size)
        return found or self._by_openslide(round(column * factor), round(row * factor), level, size)

    def _by_openslide(self, x: int, y: int, level: int, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray | None]:
        try:
            return _on_white(np.asarray(self._handle.read_region((x, y), level, size)))
        except openslide.OpenSlideError as error:
            failure = unreadable(self.slide_id, error)
        # Not from the error: a traceback in the log would show the file's name.
        raise failure

    def _apart(self, level: int, boxes: Sequence[Box]) -> list[tuple[np.ndarray, np.ndarray | None]]:
        """As `_by_openslide`, from a handle of its own: one that met an error is of no further use."""
        with open_file(self.path, self.slide_id) as handle:
            return [_on_white(np.asarray(handle.read_region((x, y), level, size))) for x, y, size in boxes]

    def _level(self, downsample: float) -> int:
        # Once: another thread may take a level away meanwhile.
        levels = self._levels
        return levels[nearest_finer_level(tuple(self.properties.downsamples[i] for i in levels), downsample)]

    def _drop_holed(self, level: int, x: float, y: float, clear: np.ndarray) -> bool:
        """Whether a finer level shows tissue where this one has no pixels; it is then not read any more."""
        finer = [i for i in self._levels if i < level]
        factor = self.properties.downsamples[level]
        # Away from its edge, which other levels may have a pixel further.
        inner = np.argwhere(cv2.erode(clear.astype(np.uint8), np.ones((9, 9), np.uint8)))
        if not finer or not len(inner):
            return False
        chosen = np.random.default_rng(0).integers(0, len(inner), 48)
        places = [(x + (c + 0.5) * factor, y + (r + 0.5) * factor) for r, c in inner[chosen]]
        for other in reversed(finer):
            half = 16 * self.properties.downsamples[other]
            inside = [p for p in places if 0 <= p[0] < self.properties.width and 0 <= p[1] < self.properties.height]
            patches = [self.region(round(p - half), round(q - half), other, (32, 32)) for p, q in inside]
            if sum(bool(rgb.min() < 200) for rgb, _ in patches) >= 2:
                if level in self._levels:
                    self._levels = [i for i in self._levels if i != level]
                    self.notes.append(f"level {level} lacks tiles that finer levels have, and is not read")
                return True
        return False

    def _refuse_lost(
        self, rgb: np.ndarray, clear: np.ndarray | None, corner: tuple[int, int], downsample: float, tissue: np.ndarray
    ) -> None:
        """Raise SlideError if too much of a region is tissue that is transparent (`clear`, of any size) or black."""
        lost = cv2.inRange(rgb, (0, 0, 0), (0, 0, 0)) > 0
        if clear is not None:
            shape = lost.shape[::-1]
            lost |= cv2.resize(clear.astype(np.uint8), shape, interpolation=cv2.INTER_NEAREST_EXACT) > 0
        if lost.mean() <= MAX_LOST:
            return
        inside, at = [], []
        for place, length, whole, cells in (
            (corner[1], lost.shape[0], self.properties.height, tissue.shape[0]),
            (corner[0], lost.shape[1], self.properties.width, tissue.shape[1]),
        ):
            share = (place + (np.arange(length) + 0.5) * downsample) / whole
            inside.append((share >= 0) & (share < 1))
            at.append(np.clip((share * cells).astype(int), 0, cells - 1))
        lost &= tissue[np.ix_(*at)] & np.logical_and.outer(*inside)
        if lost.mean() > MAX_LOST:
            what = "tissue is missing in the file"
            found = f"{lost.mean():.0%} of a tile"
            raise SlideError(what, status="unreadable", where=self.slide_id, found=found, mend=COPY_AGAIN)


def _on_white(rgba: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Lay premultiplied-free RGBA on white; most regions are opaque and need none. Also what is transparent."""
    rgb, alpha = np.ascontiguousarray(rgba[..., :3]), rgba[..., 3]
    if alpha.min(initial=255) == 255:
        return rgb, None
    clear, part = alpha == 0, (alpha > 0) & (alpha < 255)
    rgb = rgb.copy() if np.shares_memory(rgb, rgba) else rgb
    rgb[clear] = 255
    share = alpha[part][:, None].astype(np.float32) / 255
    rgb[part] = np.rint(rgb[part] * share + 255 * (1 - share)).astype(np.uint8)
    return rgb, clear if clear.any() else None
