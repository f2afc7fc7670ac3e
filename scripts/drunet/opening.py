"""Opening a slide file, and what it says of itself: size, levels and resolution, held against each other."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import openslide

from drunet.dicom import is_dicom, try_apart
from drunet.errors import SlideError
from drunet.tiff import tiff_resolution

# Outside this range a stated µm/px is a mistake in the file: the finest scanners reach 0.05, and at 20 µm/px a cell is
# half a pixel.
PLAUSIBLE_MPP = (0.05, 20.0)
# The axes of a scanner's pixels agree to a fraction of this; a file in which they do not states one of them wrongly.
SQUARE_TOLERANCE = 0.02
# Sides in mm of the largest glass that scanners take, two by three inches with a margin.
LARGEST_GLASS = (60.0, 80.0)
# The sheet may correct a file's µm/px, as of a picture that was made smaller by 8; a magnification is further off.
SHEET_FACTOR = 9.0
# µm/px times magnification is about 10 on all scanners; files exported at half or a quarter keep their magnification.
MPP_TIMES_POWER = (2.5, 41.0)
# No tile decoded that the file stores with more pixels than this.
MAX_TILE_PX = 2**26
# A file that holds less than a byte for so many pixels is none: the emptiest glass takes more.
PX_PER_BYTE = 4000
# Formats whose level 0 is exactly what was scanned. Of these OpenSlide derives bounds from tiles that the file lacks.
WHOLLY_SCANNED = ("generic-tiff", "aperio")
# Widths and heights of levels shrink by factors that agree to this, and to two pixels.
LEVEL_ASPECT = 0.01
# Suffixes that are shown; what follows a dot may be a name.
_SUFFIX = re.compile(
    r"\.(bif|czi|dcm|isyntax|jp2|jpe?g|mrxs|ndpi|pdf|png|qptiff|scn|svs|svslide|tiff?|txt|vms|vmu|vsi|zip)", re.I
)
# Words of OpenSlide's messages that are shown; others may be names of companion files.
_WORD = re.compile(
    r"(an?|and|bad|can|cannot|closed|could|couldn't|data|decode|decoding|directory|dimensions|does|empty|end|error|"
    r"expected|fail|failed|file|for|found|have|in|index|invalid|is|jpeg|level|missing|no|not|of|offset|open|opening|"
    r"out|premature|range|read|reading|region|requested|seek|short|size|slide|support|supported|the|tiff|tile|to|too|"
    r"truncated|unexpected|unsupported|with|wrong)[:,.]*",
    re.I,
)
COPY_AGAIN = "Copy or export it again; it may be damaged."


@dataclass(frozen=True)
class SlideProperties:
    """What may be said about a slide.

    `width` and `height` are of level 0, in pixels; `mpp` is its µm/px (mean of both axes, which agree within
    `SQUARE_TOLERANCE`), and `mpp_source` where that comes from: ``sheet``, ``openslide`` or ``tiff tags``;
    `downsamples` has the factor of each level. `vendor` and `objective_power` are as OpenSlide and the scanner call
    them, for display; the power is never turned into µm/px. `bounds_origin` is the level-0 pixel (x, y) of the top left
    corner of what was scanned, of formats whose level 0 reaches beyond it (``openslide.bounds-x`` and ``-y``: MIRAX,
    some of Leica and Ventana); (0, 0) of all others.
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


def usable_levels(handle: openslide.OpenSlide, slide_id: str) -> list[int]:
    """Levels with the aspect of level 0; raises SlideError if most contradict it, or a stored tile is too large."""
    whole = handle.dimensions
    tiles = [
        [int(handle.properties.get(f"openslide.level[{i}].tile-{side}", 0)) for side in ("width", "height")]
        for i in range(handle.level_count)
    ]
    if largest := max((w * h for w, h in tiles if w * h > MAX_TILE_PX), default=0):
        found = f"a tile of {largest} px"
        what = "the file is stored in tiles that are too large to read"
        raise SlideError(what, status="unreadable", where=slide_id, found=found, mend="Convert it to a tiled TIFF.")
    kept = []
    for index, (width, height) in enumerate(handle.level_dimensions):
        across, down = whole[0] / width, whole[1] / height
        if abs(across / down - 1) <= LEVEL_ASPECT + 2 / min(width, height):
            kept.append(index)
    left = handle.level_count - len(kept)
    if left and left > len(kept) - 1:
        found = ", ".join(f"{w} x {h}" for w, h in handle.level_dimensions)
        what = "the levels of the slide have different aspects"
        raise SlideError(what, status="unreadable", where=slide_id, found=found, mend=COPY_AGAIN)
    return kept


def unreadable(slide_id: str, error: Exception) -> SlideError:
    """What to say of an error of OpenSlide's."""
    # OpenSlide names the file and its companions, whose names may be a patient's.
    words = [word for word in (str(error).splitlines() or [""])[0].split() if _WORD.fullmatch(word)]
    found = " ".join(words) or type(error).__name__
    mend = "Copy or export it again; it may be cut short."
    return SlideError("the file cannot be read as a slide", status="unreadable", where=slide_id, found=found, mend=mend)


def open_file(path: Path, slide_id: str) -> openslide.OpenSlide:
    """Open a slide; raises SlideError (``unreadable``) if that fails."""
    failure: SlideError
    try:
        if path.stat().st_size == 0:
            raise OSError("file is empty")
        if is_dicom(path):
            try_apart(path, slide_id)
        return openslide.OpenSlide(path)
    except openslide.OpenSlideUnsupportedFormatError:
        what = "the file is in no format that OpenSlide knows, or it is cut short"
        found = path.suffix if _SUFFIX.fullmatch(path.suffix) else "no suffix of slides"
        mend = "Export it again, as a tiled pyramidal TIFF or a vendor's format."
        failure = SlideError(what, status="unreadable", where=slide_id, found=found, mend=mend)
    except (openslide.OpenSlideError, OSError) as error:
        failure = unreadable(slide_id, error)
    raise failure


def properties_of(handle: openslide.OpenSlide, path: Path, slide_id: str, mpp: float | None) -> SlideProperties:
    """What a slide says of itself; `mpp`, from the sheet, wins over its own.

    Raises SlideError: ``resolution_missing`` if there is no resolution, or if it cannot be true, ``unreadable`` if the
    file cannot hold what it states.
    """
    values = handle.properties
    width, height = handle.dimensions
    power = _power(values)
    resolution, source = _resolution(handle, path, slide_id, mpp, power)
    if not _fits_glass((width, height), resolution):
        longer = max(width, height) * resolution / 1000, min(width, height) * resolution / 1000
        what = "the slide would be larger than a glass slide"
        found = f"{longer[0]:.0f} x {longer[1]:.0f} mm, by {resolution:g} µm/px from {source}"
        mend = f"{'Correct the column `mpp` of' if source == 'sheet' else 'Add a column `mpp` to'} {_SHEET}"
        raise SlideError(what, status="resolution_missing", where=slide_id, found=found, mend=mend)
    vendor, held = values.get(openslide.PROPERTY_NAME_VENDOR, "unknown"), path.stat().st_size
    if vendor in WHOLLY_SCANNED and width * height > max(2**26, held * PX_PER_BYTE):
        what, found = "the file is too small for the pixels that it states", f"{width} x {height} px in {held} bytes"
        raise SlideError(what, status="unreadable", where=slide_id, found=found, mend=COPY_AGAIN)
    return SlideProperties(
        width=width,
        height=height,
        mpp=resolution,
        mpp_source=source,
        vendor=vendor,
        downsamples=tuple(float(d) for d in handle.level_downsamples),
        objective_power=power,
        bounds_origin=(0, 0) if vendor in WHOLLY_SCANNED else _bounds_origin(values, (width, height)),
    )


_SHEET = "the sheet: µm/px of level 0, often 0.25 at 40x and 0.5 at 20x."


def _power(values: Mapping[str, str]) -> str:
    """Magnification as the file has it, if it is a number: anything may stand there."""
    power = values.get(openslide.PROPERTY_NAME_OBJECTIVE_POWER, "")
    return power if re.fullmatch(r"\d{1,4}(\.\d{1,6})?", power) and float(power) else ""


def _bounds_origin(values: Mapping[str, str], size: tuple[int, int]) -> tuple[int, int]:
    """Corner of what was scanned, if the file states an area within the slide, else (0, 0)."""
    try:
        x, y, width, height = (int(values[f"openslide.bounds-{name}"]) for name in ("x", "y", "width", "height"))
    except (KeyError, ValueError):
        return 0, 0
    inside = 0 <= x < x + width <= size[0] and 0 <= y < y + height <= size[1]
    return (x, y) if inside else (0, 0)


def _resolution(
    handle: openslide.OpenSlide, path: Path, slide_id: str, mpp: float | None, power: str
) -> tuple[float, str]:
    """µm/px and its source: sheet, OpenSlide, TIFF tags, held against each other; raises SlideError for none."""

    def error(what: str, found: str, mend: str) -> SlideError:
        return SlideError(what, status="resolution_missing", where=slide_id, found=found, mend=mend)

    own, source = None, ""
    try:
        own, source = [float(handle.properties[f"openslide.mpp-{axis}"]) for axis in "xy"], "openslide"
    except (KeyError, ValueError):
        if tags := tiff_resolution(path, PLAUSIBLE_MPP[1]):
            own, source = tags, "tiff tags"
    if mpp is not None:
        value, stated = float(mpp), (min(own), max(own)) if own else None
        if not PLAUSIBLE_MPP[0] <= value <= PLAUSIBLE_MPP[1]:
            raise error("the slide's resolution is not plausible", f"{value:g} µm/px from sheet", _ADD_MPP)
        if own and all(_believable(v, handle.dimensions, power) for v in own) and stated:
            far = value > SHEET_FACTOR * stated[1] or value < stated[0] / SHEET_FACTOR
        else:
            far = bool(power) and not 1 <= value * float(power) <= 160
        if far:
            found = f"{value:g} µm/px in the sheet, in the file {stated[0]:g} µm/px" if stated else f"{value:g} µm/px"
            found += f", objective {power}" if power else ""
            what = "the sheet's resolution contradicts the file"
            mend = f"A magnification is no resolution. Correct or empty the column `mpp` of {_SHEET}"
            raise error(what, found, mend)
        return value, "sheet"
    if own is None:
        mend = "Add a column `mpp` to the sheet with its level-0 µm/px (often 0.25 at 40x, 0.5 at 20x)."
        found = f"objective power {power or 'not given'}, no µm/px"
        raise error("the slide does not say its resolution", found, mend)
    value = _square(own, slide_id, source)
    if not PLAUSIBLE_MPP[0] <= value <= PLAUSIBLE_MPP[1]:
        raise error("the slide's resolution is not plausible", f"{value:g} µm/px from {source}", _ADD_MPP)
    if power and not MPP_TIMES_POWER[0] <= value * float(power) <= MPP_TIMES_POWER[1]:
        what = "the slide's resolution contradicts its magnification"
        raise error(what, f"{value:g} µm/px from {source}, objective {power}", _ADD_MPP)
    return value, source


def _fits_glass(size: tuple[int, int], mpp: float) -> bool:
    return max(size) * mpp / 1000 <= LARGEST_GLASS[1] and min(size) * mpp / 1000 <= LARGEST_GLASS[0]


def _believable(mpp: float, size: tuple[int, int], power: str) -> bool:
    """Whether a file's own µm/px may be right; one that cannot is what the sheet is there to correct."""
    plausible = PLAUSIBLE_MPP[0] <= mpp <= PLAUSIBLE_MPP[1] and _fits_glass(size, mpp)
    return plausible and not (power and not MPP_TIMES_POWER[0] <= mpp * float(power) <= MPP_TIMES_POWER[1])


_ADD_MPP = "Add a column `mpp` to the sheet with the right value."


def _square(both: Sequence[float], slide_id: str, source: str) -> float:
    """Mean µm/px of both axes, which have to agree: every length and area is taken as if pixels were square."""
    x, y = both
    if abs(x - y) > SQUARE_TOLERANCE * min(abs(x), abs(y)):
        what = "the slide's pixels are not square"
        found = f"{x:g} µm/px across, {y:g} µm/px down, from {source}"
        mend = "Add a column `mpp` to the sheet with the right value, which then decides for both axes."
        raise SlideError(what, status="resolution_missing", where=slide_id, found=found, mend=mend)
    return (x + y) / 2
