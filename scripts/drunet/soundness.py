"""Whether a slide's levels show the same tissue, and how much of its tissue the file has no pixels of."""

import itertools

import cv2
import numpy as np

from drunet import dicom, tiff
from drunet.errors import SlideError
from drunet.opening import COPY_AGAIN
from drunet.slide import MAX_READ_PX, Slide
from drunet.tissue import glass_colour, stained

# Above this share of the tissue without pixels a slide is of no use.
MAX_UNREAD = 0.2
# A missing area is tissue if so much of its rim is stained: scanners leave out tiles that are empty to their edge.
STAINED_RIM = 0.15
# Missing areas that are looked at closely, and the places where each is.
_PARTS, _EDGE_PLACES = 100, 16
# Share of a tile's overview that may be stained by its neighbours alone.
_EMPTY = 0.03
# Places where levels are compared, and the side of what is compared, in px of the coarser level.
_PLACES, _SIDE, _SHIFT = 8, 64, 4
# Smaller levels have too little to recognise. Below the other side levels are compared as a whole, too: in a window of
# a small level any two slides are alike. Shares of it that may have other colours: unseen, and at all.
_SMALLEST, _WHOLE, _OTHERS = 24, 512, (0.03, 0.1)
# Below this correlation, or with colours further apart, two levels show different things. Sharpening, JPEG and
# resampling leave it above 0.8 and below 15 grey levels on real slides.
_ALIKE, _COLOURS = 0.4, 45.0
# Standard deviation in grey levels below which a place has nothing to recognise.
_FLAT = 6.0
# Share of places that may differ before the slide is refused: dust moves, a tile may be damaged.
_DIFFER = 0.6


def missing_tissue(slide: Slide, image: np.ndarray, missing: np.ndarray | None) -> np.ndarray | None:
    """Tissue that the overview, uint8 (h, w, 3) of the whole slide, lacks: bool (h, w), None if it lacks none.

    `missing`, bool (h, w) or None, is where it has no pixels, as `Slide.overview` gives it. An area that borders
    stained tissue is tissue that was lost, all others are glass that was never scanned. In formats that state the
    scanned area, so is all outside.
    """
    if missing is None or missing.all() or slide.properties.vendor in ("leica", "mirax", "ventana", "zeiss"):
        return None
    count, labels = cv2.connectedComponents(missing.astype(np.uint8), connectivity=8)
    # The pixels beside a missing area hold a share of its white, and are no part of the rim.
    near = cv2.dilate(missing.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    wide = cv2.dilate(labels.astype(np.float32), np.ones((7, 7), np.uint8)).astype(np.int64)
    rim = (wide > 0) & ~near
    glass = glass_colour(image[~near])
    ink = stained(image, glass)
    inked = np.bincount(wide[rim & ink], minlength=count)
    lost = inked > np.maximum(STAINED_RIM * np.bincount(wide[rim], minlength=count), 3)
    lost[0] = False
    for part in np.flatnonzero(lost)[:_PARTS]:
        lost[part] = _cut_through(slide, glass, labels == part)
    if not lost.any():
        return None
    # Few slides have lost anything, and all others need not wait for the import.
    from scipy.ndimage import distance_transform_edt

    # Of an area that reaches from tissue to glass, what is nearer to tissue.
    closed = cv2.morphologyEx((rim & ink).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8)) > 0
    nearest = distance_transform_edt(~rim, return_distances=False, return_indices=True)
    return np.asarray(lost[labels] & closed[tuple(nearest)])


def _cut_through(slide: Slide, glass: np.ndarray, part: np.ndarray) -> bool:
    """Whether tissue ends where a missing area, bool (h, w), begins, looked at closely at places of its edge.

    A tile that is empty to its edge in an airspace has tissue near, but not there.
    """
    edge = np.argwhere(part & (cv2.erode(part.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=1) == 0))
    width, height = slide.properties.width, slide.properties.height
    ringed = inked = 0
    for row, column in edge[:: max(1, len(edge) // _EDGE_PLACES)]:
        x, y = (column + 0.5) * width / part.shape[1], (row + 0.5) * height / part.shape[0]
        rgb, clear = slide.region(round(x) - 48, round(y) - 48, slide.levels[0][0], (96, 96))
        if clear is None:
            continue
        beside = (cv2.dilate(clear.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0) & ~clear
        ringed += int(beside.sum())
        inked += int(stained(rgb[beside], glass).sum())
    return ringed == 0 or inked > STAINED_RIM * ringed


def lost_at_full_resolution(slide: Slide, image: np.ndarray, tissue: np.ndarray) -> np.ndarray:
    """Where a tissue mask, bool (h, w), has tissue of which level 0 has no pixels, or spoilt ones; only TIFF tells.

    `image` is the whole slide, uint8 (h, w, 3), of a coarser level: tiles that are empty there have lost nothing.
    """
    size = slide.properties.width, slide.properties.height
    found = tiff.missing_tiles(slide.path, size)
    if found is None:
        return np.zeros_like(tissue)
    tiles, side = found
    rows, columns = (
        np.minimum((np.arange(n) + 0.5) * whole / n // tile, count - 1).astype(int)
        for n, whole, tile, count in zip(tissue.shape, size[::-1], side, tiles.shape, strict=True)
    )
    index = rows[:, None] * tiles.shape[1] + columns
    # Without the pixels at a tile's edge, which hold a share of its neighbours, if there are others.
    inner = np.logical_and.outer(*(np.convolve(n[1:] == n[:-1], [1, 1]) == 2 for n in (rows, columns)))
    inner = inner if inner.any() else np.ones_like(inner)
    inked = np.bincount(index[inner & stained(image, glass_colour(image[~tissue]))], minlength=tiles.size)
    lost = tiles.ravel() & (inked > _EMPTY * np.bincount(index[inner], minlength=tiles.size))
    lost[tiff.spoilt_tiles(slide.path, size, np.unique(index[tissue]))] = True
    return np.asarray(tissue & lost[index])


def compare_levels(slide: Slide, tissue: np.ndarray) -> list[str]:
    """Hold each level against the next finer one at a few places with tissue, bool (h, w) over the whole slide.

    Returns what differs at some places, in words; raises SlideError (``unreadable``) if two levels show different
    things, or if level 0 has no pixels at many of the places.
    """
    rows, columns = np.nonzero(tissue)
    chosen = np.random.default_rng(0).permutation(len(rows))[:_PLACES]
    width, height = slide.properties.width, slide.properties.height
    places = [((c + 0.5) * width / tissue.shape[1], (r + 0.5) * height / tissue.shape[0])
              for r, c in zip(rows[chosen], columns[chosen], strict=True)]  # fmt: skip
    notes = []
    readers = [slide]
    for (finer, _), (coarser, size) in itertools.pairwise(slide.levels):
        if min(size) < _SMALLEST:
            break
        looks = []
        for x, y in places:
            try:
                looks.append(_look(readers[-1], finer, coarser, x, y))
            except SlideError:
                # One bad tile is for later stages to count; the handle is of no further use.
                looks.append("unreadable")
                readers.append(Slide(slide.path, slide.slide_id, slide.properties.mpp))
        looks = [look for look in looks if look]
        if count := looks.count("unreadable"):
            notes.append(f"levels {finer} and {coarser} cannot be read at {count} of {len(looks)} places")
        if count := looks.count("holed"):
            notes.append(f"level {coarser} has no pixels at {count} of {len(looks)} places; a finer one is read there")
        words = [("differs", "show different pictures")]
        if finer == 0:
            # Of other levels nothing is lost that level 0 has: they are not read where they lack it.
            words.append(("lost", "do not have the same tissue"))
        for word, what in words:
            count = looks.count(word)
            found = f"levels {finer} and {coarser} at {count} of {len(looks)} places"
            if count > max(_DIFFER * len(looks), 2):
                what = f"levels of the slide {what}"
                raise SlideError(what, status="unreadable", where=slide.slide_id, found=found, mend=COPY_AGAIN)
            if count:
                notes.append(f"{found} {what}")
        if min(size) < _WHOLE and (share := _differing(readers[-1], finer, coarser)) > _OTHERS[0]:
            found = f"levels {finer} and {coarser}, {share:.0%} of their area"
            if share > _OTHERS[1]:
                what = "levels of the slide show different pictures"
                raise SlideError(what, status="unreadable", where=slide.slide_id, found=found, mend=COPY_AGAIN)
            notes.append(f"{found} differs")
    for reader in readers[1:]:
        reader.close()
    return notes


def _differing(slide: Slide, finer: int, coarser: int) -> float:
    """Share of a small level that has other colours than the next finer one; 0 if that is not small."""
    sizes = dict(slide.levels)
    if np.prod(sizes[finer]) > MAX_READ_PX // 4:
        return 0.0
    try:
        (fine, gone), (coarse, clear) = (slide.region(0, 0, level, sizes[level]) for level in (finer, coarser))
    except SlideError:
        return 0.0  # said by those who look at places
    fine = cv2.resize(fine, sizes[coarser], interpolation=cv2.INTER_AREA)
    pair = [cv2.GaussianBlur(image.astype(np.float32), (0, 0), 1.5) for image in (fine, coarse)]
    other = np.abs(pair[0] - pair[1]).max(axis=2) > _COLOURS
    for empty in (gone, clear):
        if empty is not None:
            other &= cv2.resize(empty.astype(np.uint8), sizes[coarser], interpolation=cv2.INTER_AREA) == 0
    return float(other.mean())


def check_resolution(slide: Slide) -> None:
    """Refuse a TIFF or DICOM whose own µm/px contradicts its levels'; raises SlideError (``resolution_missing``)."""
    own = slide.properties
    stated = {"generic-tiff": tiff.stated_by_levels, "dicom": dicom.stated_by_levels}.get(own.vendor)
    if own.mpp_source != "sheet" and stated and (others := tiff.disagreeing(stated(slide.path))):
        what = "the resolutions of the slide's levels contradict each other"
        found = f"level 0 {own.mpp:g} µm/px; by the others it has {others:g}"
        mend = "Add a column `mpp` to the sheet with the right value."
        raise SlideError(what, status="resolution_missing", where=slide.slide_id, found=found, mend=mend)


def _look(slide: Slide, finer: int, coarser: int, x: float, y: float) -> str:
    """What is to be seen around a level-0 position: `alike`, `differs`, `lost` (the finer level has no pixels), `holed`
    (the coarser has none), or nothing (empty).
    """
    factors = [slide.properties.downsamples[level] for level in (finer, coarser)]
    ratio = factors[1] / factors[0]
    whole = slide.properties.width, slide.properties.height
    side = int(min(_SIDE, max(16, 2048 // ratio), max(_SMALLEST, min(whole) / factors[1] / 2)))
    # Inside the slide, where it may be: near its edge a small level would show nothing else.
    corner_x, corner_y = (
        round(max(0.0, min(at - side / 2 * factors[1], end - side * factors[1])))
        for at, end in zip((x, y), whole, strict=True)
    )
    corner = corner_x, corner_y
    fine, gone = slide.region(*corner, finer, (round(side * ratio),) * 2)
    coarse, clear = slide.region(*corner, coarser, (side, side))
    shares = [0.0 if part is None else float(part.mean()) for part in (gone, clear)]
    if max(shares) > 0.2:
        if shares[1] - shares[0] > 0.5:
            return "holed"
        if gone is None or shares[0] - shares[1] <= 0.5:
            return ""
        there = coarse[cv2.resize(gone.astype(np.uint8), (side, side), interpolation=cv2.INTER_NEAREST) > 0]
        # Pale all over: an empty tile that only the finer level leaves out.
        return "lost" if (there.min(axis=1) < 200).mean() > STAINED_RIM else ""
    pair = [cv2.GaussianBlur(image.astype(np.float32), (0, 0), 1.5)
            for image in (cv2.resize(fine, (side, side), interpolation=cv2.INTER_AREA), coarse)]  # fmt: skip
    if np.abs(pair[0].mean((0, 1)) - pair[1].mean((0, 1))).max() > _COLOURS:
        return "differs"
    greys = [image.mean(axis=2) for image in pair]
    if max(grey.std() for grey in greys) < _FLAT:
        return ""
    inner = greys[1][_SHIFT:-_SHIFT, _SHIFT:-_SHIFT]
    # A format may place its levels a pixel or two apart.
    alike = cv2.matchTemplate(greys[0], inner, cv2.TM_CCOEFF_NORMED).max()
    return "alike" if alike >= _ALIKE else "differs"
