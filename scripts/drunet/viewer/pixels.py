"""Deep Zoom tiles of slides, straight from the files."""

from __future__ import annotations

import math
import os
import threading
from collections import OrderedDict
from collections.abc import Mapping
from functools import partial
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

TILE_PX, _QUALITY, _CACHE_BYTES = 256, 82, 96 << 20
_MOST_OPEN, _MOST_OVERVIEWS = 12, 3
# A tile that needs more pixels of the file comes from an overview that is made once, if that is no larger, or else from
# a smaller one as soon as it needs more than the most.
_DIRECT_PX, _MOST_DIRECT_PX, _OVERVIEW_PX = 1_100**2, 2_300**2, 2**25


class OpenSlides:
    """The slides looked at last, kept open for several threads, with one cache for all."""

    def __init__(self, rows: Mapping[str, SheetRow], frame: str) -> None:
        self._rows, self._frame, self._lock = rows, frame, threading.Lock()
        self._open: OrderedDict[str, ShownSlide] = OrderedDict()
        self._cache = openslide.OpenSlideCache(_CACHE_BYTES)
        self._readers = threading.BoundedSemaphore((os.cpu_count() or 1) + 1)

    def get(self, slide: str) -> ShownSlide:
        """The open slide of the sheet's row; raises SlideError."""
        path = Path(self._rows[slide].path)
        if not path.is_file():
            mend = "Correct `path` in the sheet, or `cohort.root` in the configuration."
            raise SlideError("the slide file is not there", status="missing", where=slide, mend=mend)
        changed = path.stat().st_mtime_ns
        with self._lock:
            if slide not in self._open or self._open[slide].changed != changed:
                self._open[slide] = ShownSlide(self._rows[slide], self._frame, changed, self._cache)
            self._open.move_to_end(slide)
            while len(self._open) > _MOST_OPEN:
                # Closed by the last thread that reads from it.
                self._open.popitem(last=False)
            for old in [s for s in self._open.values() if s.overviews][:-_MOST_OVERVIEWS]:
                old.overviews = {}
            return self._open[slide]

    def tile(self, slide: str, level: int, column: int, row: int) -> bytes:
        """A tile as JPEG; raises SlideError, and ValueError if there is none of this address."""
        try:
            with self._readers:
                pixels = self.get(slide).tile(level, column, row)
        except openslide.OpenSlideError as error:
            with self._lock:
                # The handle is of no further use.
                self._open.pop(slide, None)
            raise unreadable(slide, error) from None
        return cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()


class ShownSlide:
    """A slide from the pixel `origin` from which GeoJSON counts, so that both have the same coordinates.

    Without a resolution `properties` is None, and `remark` says why.
    """

    def __init__(self, row: SheetRow, frame: str, changed: int, cache: openslide.OpenSlideCache) -> None:
        self.changed, self.remark, self.overviews, self._row = changed, "", dict[int, np.ndarray](), row
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
        self._building = threading.Lock()

    def facts(self) -> dict[str, Any]:
        """Size, finest level, µm/px (null if not known) and remark, as JSON values."""
        width, height = self._deep.level_dimensions[-1]
        mpp = self.properties.mpp if self.properties else None
        return {"width": width, "height": height, "top": self._deep.level_count - 1, "mpp": mpp, "remark": self.remark}

    def tile(self, level: int, column: int, row: int) -> np.ndarray:
        """uint8 (h, w, 3); raises ValueError if there is no such tile, OpenSlideError if it cannot be read."""
        self._deep.get_tile_coordinates(level, (column, row))
        # What was not scanned is cut off by OpenSlide alone; slides that have such parts have coarse levels.
        if self._heavy(level) and not any(self.origin):
            x, y = column * TILE_PX, row * TILE_PX
            return self._overview(level)[y : y + TILE_PX, x : x + TILE_PX]
        return np.asarray(self._deep.get_tile(level, (column, row)))

    def _heavy(self, level: int) -> bool:
        read = math.prod(self._deep.get_tile_coordinates(level, (0, 0))[2])
        small = math.prod(self._deep.level_dimensions[level]) <= _OVERVIEW_PX
        return read > (_DIRECT_PX if small else _MOST_DIRECT_PX)

    def _overview(self, level: int) -> np.ndarray:
        """A whole level of a slide that has no coarse levels of its own."""
        sizes = self._deep.level_dimensions
        with self._building:
            levels = self.overviews
            finest = next(n for n in range(level, len(sizes)) if not self._heavy(n + 1))
            if finest not in levels:
                mpp = self._row.mpp or (1.0 if self.properties is None else None)
                with Slide(self._row.path, self._row.slide_id, mpp) as slide:
                    levels[finest] = slide.read_whole(sizes[finest][::-1])
            if level not in levels:
                levels[level] = cv2.resize(levels[finest], sizes[level], interpolation=cv2.INTER_AREA)
            return levels[level]
