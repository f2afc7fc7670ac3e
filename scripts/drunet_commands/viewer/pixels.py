"""Deep Zoom tiles of slides, straight from the files."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import openslide
from openslide.deepzoom import DeepZoomGenerator

from drunet.cohort import SheetRow
from drunet.errors import SlideError
from drunet.grid import nearest_finer_level
from drunet.opening import SlideProperties, open_file, properties_of, unreadable, usable_levels
from drunet.slide import Slide

TILE_PX, _QUALITY, _MOST_OPEN, _CACHE_BYTES = 256, 82, 8, 96 << 20
# A tile that needs more pixels of the file comes from an overview that is made once, if that is no larger, or else from
# a smaller one as soon as it needs more than the most.
_DIRECT_PX, _MOST_DIRECT_PX, _OVERVIEW_PX = 1_100**2, 2_300**2, 2**25


class OpenSlides:
    """The slides looked at last, kept open for several threads, with one cache of decoded tiles for all."""

    def __init__(self, rows: Mapping[str, SheetRow], frame: str) -> None:
        self._rows, self._lock, cache = rows, threading.Lock(), openslide.OpenSlideCache(_CACHE_BYTES)
        # What falls out is closed by the last thread that reads from it.
        self._opened = lru_cache(_MOST_OPEN)(lambda slide, _changed: ShownSlide(rows[slide], frame, cache))
        self._readers = threading.BoundedSemaphore((os.cpu_count() or 1) + 1)

    def get(self, slide: str) -> ShownSlide:
        """The open slide of the sheet's row; raises SlideError."""
        path = Path(self._rows[slide].path)
        if not path.is_file():
            mend = "Correct `path` in the sheet, or `cohort.root` in the configuration."
            raise SlideError("the slide file is not there", status="missing", where=slide, mend=mend)
        with self._lock:
            return self._opened(slide, path.stat().st_mtime_ns)

    def tile(self, slide: str, level: int, column: int, row: int) -> bytes:
        """A tile as JPEG; raises SlideError, and ValueError if there is none of this address."""
        try:
            with self._readers:
                pixels = self.get(slide).tile(level, column, row)
        except openslide.OpenSlideError as error:
            # The handle is of no further use.
            self._opened.cache_clear()
            raise unreadable(slide, error) from None
        return cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()


class ShownSlide:
    """A slide from the pixel `origin` from which GeoJSON counts, so that both have the same coordinates.

    Without a resolution `properties` is None, and `remark` says why.
    """

    def __init__(self, row: SheetRow, frame: str, cache: openslide.OpenSlideCache) -> None:
        self._row, self._building, self._overviews, self.remark = row, threading.Lock(), dict[int, np.ndarray](), ""
        self.properties: SlideProperties | None = None
        handle = open_file(Path(row.path), row.slide_id)
        handle.set_cache(cache)
        # Never a level that shows something else; and OpenSlide's own choice passes over one of 2.0001 for 2.
        usable = usable_levels(handle, row.slide_id)
        downsamples = tuple(d if i in usable else math.inf for i, d in enumerate(handle.level_downsamples))
        choose = partial(nearest_finer_level, downsamples)
        handle.get_best_level_for_downsample = choose  # type: ignore[method-assign]
        try:
            self.properties = properties_of(handle, Path(row.path), row.slide_id, row.mpp)
        except SlideError as error:
            self.remark = str(error)
        self.origin = self.properties.geojson_origin(frame) if self.properties else (0, 0)
        self._deep = DeepZoomGenerator(handle, TILE_PX, overlap=0, limit_bounds=any(self.origin))

    def facts(self) -> dict[str, Any]:
        """Size, finest level, µm/px (null if not known) and remark, as JSON values."""
        width, height = self._deep.level_dimensions[-1]
        mpp = self.properties.mpp if self.properties else None
        return {"width": width, "height": height, "top": self._deep.level_count - 1, "mpp": mpp, "remark": self.remark}

    def tile(self, level: int, column: int, row: int) -> np.ndarray:
        """uint8 (h, w, 3); raises ValueError if there is no such tile, OpenSlideError if it cannot be read."""
        size = self._deep.get_tile_dimensions(level, (column, row))
        # What was not scanned is cut off by OpenSlide alone; slides that have such parts have coarse levels.
        if not self._heavy(level) or any(self.origin):
            return np.asarray(self._deep.get_tile(level, (column, row)))
        finest = next(n for n in range(level, self._deep.level_count) if not self._heavy(n + 1))
        with self._building:
            if finest not in self._overviews:
                mpp = self._row.mpp or (1.0 if self.properties is None else None)
                with Slide(self._row.path, self._row.slide_id, mpp) as slide:
                    self._overviews[finest] = slide.read_whole(self._deep.level_dimensions[finest][::-1])
        side = TILE_PX * 2 ** (finest - level)
        part = self._overviews[finest][row * side : (row + 1) * side, column * side : (column + 1) * side]
        return cv2.resize(part, size, interpolation=cv2.INTER_AREA)

    def _heavy(self, level: int) -> bool:
        read = math.prod(self._deep.get_tile_coordinates(level, (0, 0))[2])
        small = math.prod(self._deep.level_dimensions[level]) <= _OVERVIEW_PX
        return read > (_DIRECT_PX if small else _MOST_DIRECT_PX)
