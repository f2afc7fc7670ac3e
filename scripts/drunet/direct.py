"""Tiles of a tiled TIFF decoded as they are stored, where that gives what OpenSlide gives.

OpenSlide draws every stored tile once more through Cairo, and resamples where a position falls between the pixels of a
level: that takes longer than decoding (https://openslide.org, `read_region`). tifffile decodes the tile alone. Which of
a file's levels may be read so is found by comparison with OpenSlide.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import openslide
import tifffile

from drunet.errors import SlideError
from drunet.tiff import BROKEN

# Compression tags: none, LZW, JPEG, Deflate (two), JPEG 2000 (of Aperio two).
_COMPRESSIONS = {1, 5, 7, 8, 32946, 33003, 33005, 34712}
# Those whose decoders refuse a stream that is cut short, and the marker that ends the streams of all others.
_WHOLE_OR_NOT, _END_OF_IMAGE = {1, 5, 8, 32946}, b"\xff\xd9"
# Sides of stored tiles: strips as wide as the slide are decoded whole for a corner of them.
_SIDES = range(64, 2049)
# Pages that are looked through.
_MOST_PAGES = 200
# Bytes of decoded tiles that are kept: neighbours share them.
KEPT_BYTES = 48 << 20
# Mean difference in grey levels up to which a level is the same: between pixels OpenSlide interpolates.
_BETWEEN_PIXELS = 6.0
# Side, px, of what is compared of a tile.
_COMPARED = 48

# What decoders raise at a damaged stream.
_UNREADABLE = (*BROKEN, RuntimeError)

Region = tuple[np.ndarray, np.ndarray | None]
# Level-0 pixel, x and y, and (width, height) in pixels of a level.
Box = tuple[int, int, tuple[int, int]]
# Level and boxes -> their pixels, as `Slide.region` gives them.
OpenSlideRegions = Callable[[int, Sequence[Box]], Sequence[Region]]


class DirectLevels:
    """The levels of a TIFF that can be decoded without OpenSlide.

    `sizes` are (width, height) of OpenSlide's levels, `downsamples` its factors; `compare` reads with an OpenSlide that
    nothing else uses. Threads may share it: they decode at the same time. `most` bytes of decoded tiles are kept.
    """

    def __init__(
        self, path: Path, sizes: Sequence[tuple[int, int]], downsamples: Sequence[float], compare: OpenSlideRegions
    ) -> None:
        self._downsamples, self._compare = downsamples, compare
        self._kept: OrderedDict[tuple[int, int], np.ndarray] = OrderedDict()
        self._held, self._keeping, self.most = 0, threading.Lock(), KEPT_BYTES
        self._trusted: dict[int, bool] = {}
        self._tiff: tifffile.TiffFile | None = None
        self._pages: dict[int, tifffile.TiffPage] = {}
        try:
            self._tiff = tifffile.TiffFile(path)
            by_size = {(p.imagewidth, p.imagelength): p for p in reversed(_pages(self._tiff)) if _readable(p)}
            self._pages = {i: by_size[size] for i, size in enumerate(sizes) if size in by_size}
        except BROKEN:
            self.close()

    def close(self) -> None:
        """Give the file back."""
        self._pages = {}
        self._kept.clear()
        if self._tiff is not None:
            self._tiff.close()

    def region(self, level: int, x: int, y: int, size: tuple[int, int]) -> Region | None:
        """uint8 (height, width, 3) of a level on white, and where there is nothing: bool (height, width), or None.

        `x` and `y` are pixels of the level. None if this level, or this part of it, is OpenSlide's.
        """
        if level not in self._trusted:
            self._trusted[level] = level in self._pages and self._same(level)
        return self._read(level, x, y, size) if self._trusted[level] else None

    def _read(self, level: int, x: int, y: int, size: tuple[int, int]) -> Region | None:
        page = self._pages[level]
        width, height = size
        rgb, filled = np.empty((height, width, 3), np.uint8), list[tuple[slice, slice]]()
        high, wide = page.tilelength, page.tilewidth
        right, bottom = min(x + width, page.imagewidth), min(y + height, page.imagelength)
        beyond = x >= page.imagewidth or y >= page.imagelength
        for row in range(max(y, 0) // high, 0 if beyond else -(-bottom // high)):
            for column in range(max(x, 0) // wide, -(-right // wide)):
                try:
                    tile = self._tile(level, page, row * -(-page.imagewidth // wide) + column)
                except _UNREADABLE:
                    # OpenSlide says what is wrong with it.
                    return None
                if tile is None:
                    continue
                top, left = max(row * high, y), max(column * wide, x)
                down, across = min((row + 1) * high, bottom), min((column + 1) * wide, right)
                here = slice(top - y, down - y), slice(left - x, across - x)
                rgb[here] = tile[top - row * high : down - row * high, left - column * wide : across - column * wide]
                filled.append(here)
        if sum((r.stop - r.start) * (c.stop - c.start) for r, c in filled) == width * height:
            return rgb, None
        clear = np.ones((height, width), bool)
        for here in filled:
            clear[here] = False
        rgb[clear] = 255
        return rgb, clear

    def _tile(self, level: int, page: tifffile.TiffPage, index: int) -> np.ndarray | None:
        """A stored tile, uint8 (h, w, 3); None where the file has none."""
        with self._keeping:
            if (tile := self._kept.get((level, index))) is not None:
                self._kept.move_to_end((level, index))
                return tile
        if not (count := page.databytecounts[index]):
            return None
        # Not by a position in the file, which threads would move for one another.
        stored = os.pread(page.parent.filehandle.fileno(), count, page.dataoffsets[index])
        if len(stored) != count:
            raise OSError("the file is cut short")
        if page.compression not in _WHOLE_OR_NOT and not stored.rstrip(b"\0").endswith(_END_OF_IMAGE):
            # Decoders of JPEG fill up with grey what is missing, and say nothing.
            raise ValueError("the tile is cut short")
        decoded = page.decode(stored, index, jpegtables=page.jpegtables)[0]
        if decoded is None or decoded.ndim != 4 or decoded.shape[3] != 3 or decoded.dtype != np.uint8:
            raise ValueError("not a tile of colours")
        tile = decoded[0]
        with self._keeping:
            if (level, index) not in self._kept:
                self._kept[level, index] = tile
                self._held += tile.nbytes
            while self._held > self.most and len(self._kept) > 1:
                self._held -= self._kept.popitem(last=False)[1].nbytes
        return tile

    def _same(self, level: int) -> bool:
        """Whether stored tiles hold what OpenSlide shows of this level, at a few places with something to see."""
        page, factor = self._pages[level], self._downsamples[level]
        wide, high = page.tilewidth, page.tilelength
        counts = np.asarray(page.databytecounts)
        # The longest streams have the most to see; one at the edge, which others store otherwise.
        chosen = {*np.argsort(counts, kind="stable")[-4:].tolist(), int(counts.size) - 1, 0}
        across, own, boxes = -(-page.imagewidth // wide), list[Region](), list[Box]()
        for index in sorted(chosen):
            row, column = divmod(int(index), across)
            # Within one tile: OpenSlide decodes each that it touches.
            left, top = (
                start + max(0, min(side, whole - start) - _COMPARED) // 2
                for start, side, whole in ((column * wide, wide, page.imagewidth), (row * high, high, page.imagelength))
            )
            size = min(_COMPARED, page.imagewidth - left), min(_COMPARED, page.imagelength - top)
            if (stored := self._read(level, left, top, size)) is not None:  # else damaged, as OpenSlide will say
                own.append(stored)
                boxes.append((left, top, size))
        try:
            shown = self._compare(level, [(round(x * factor), round(y * factor), size) for x, y, size in boxes])
        except (openslide.OpenSlideError, SlideError):
            return False
        # Level-0 pixels that fall on the level's own: nothing is interpolated there.
        exact = [round(x * factor) == x * factor and round(y * factor) == y * factor for x, y, _ in boxes]
        return bool(boxes) and all(_alike(*regions) for regions in zip(own, shown, exact, strict=True))


def _alike(own: Region, shown: Region, exact: bool) -> bool:
    if (own[1] is None) != (shown[1] is None):
        return False
    apart = np.abs(own[0].astype(np.int16) - shown[0])
    return not apart.any() if exact else bool(apart.mean() <= _BETWEEN_PIXELS)


def _pages(tiff: tifffile.TiffFile) -> list[tifffile.TiffPage]:
    """Pages, and the smaller versions that OME-TIFF keeps below one."""
    pages = [p for p in tiff.pages[:_MOST_PAGES] if isinstance(p, tifffile.TiffPage)]
    return [p for page in pages for p in (page, *(page.pages or ())) if isinstance(p, tifffile.TiffPage)]


def _readable(page: tifffile.TiffPage) -> bool:
    return (
        page.is_tiled
        and page.compression in _COMPRESSIONS
        and page.bitspersample == 8
        and page.samplesperpixel == 3
        and page.planarconfig == 1
        and page.photometric in (2, 6)
        and page.tilewidth in _SIDES
        and page.tilelength in _SIDES
        and len(page.databytecounts) == -(-page.imagewidth // page.tilewidth) * -(-page.imagelength // page.tilelength)
    )
