"""Where on the glass there is tissue. Lengths are in µm: the same settings mean the same at another resolution."""

import cv2
import numpy as np
from numpy.typing import NDArray

from drunet.components import at_edge, filter_components
from drunet.errors import SlideError

METHODS = ("gradient", "distance_from_white", "otsu_saturation")

# Below the size of a cell cluster, gradients are noise of the scanner and of JPEG.
SMOOTHING_UM = 10.0
# Sigma of the local average of the gradient: about two tile cells of alveolar wall.
ENERGY_UM = 24.0
# Glass differs from its median by less than this (grey levels), also where a scanner's fields of view show as steps.
GLASS_TOLERANCE = 25
CLOSING_UM = 24.0
# A felt-tip stroke is wider than this everywhere; speckled carbon pigment, which lungs are full of, is not.
PEN_WIDTH_UM = 100.0
# Blue and green ink are so unlike any stain that a fine marker is told by less.
FINE_PEN_WIDTH_UM = 40.0
# Ink fades out at its edge over this distance.
PEN_EDGE_UM = 24.0
# Stained this much (grey levels of chroma), a pixel beside gradients is tissue even where it is smooth: a lake of red
# cells, mucin, necrosis.
STAIN_CHROMA = 24

BLACK = 40
FAST_DILATE_PX = FAST_ERODE_PX = 9


def tissue_mask(
    image: NDArray[np.uint8],
    mpp: float,
    *,
    method: str = "gradient",
    gradient_threshold: float = 3.0,
    white_distance: float = 85.0,
    min_area_um2: float = 5000.0,
    max_hole_um2: float = 20000.0,
    exclude_pen: bool = True,
) -> NDArray[np.bool_]:
    """Tell tissue from glass, pen ink, black scanner borders and dust: bool (h, w).

    Parameters
    ----------
    image : uint8 (h, w, 3)
        The whole slide, RGB.
    mpp : float
        Resolution of `image` in µm/px; 4 to 16 is useful.
    method : {"gradient", "distance_from_white", "otsu_saturation"}
        `gradient` thresholds the local mean of the colour gradient (DRU-Net, methods: "threshold on colour gradients").
        `distance_from_white` is FAST's TissueSegmentation. `otsu_saturation` is Otsu's threshold on the HSV saturation.
    gradient_threshold : float
        For `gradient`: grey levels per 10 µm, averaged over about 25 µm.
    white_distance : float
        For `distance_from_white`: Euclidean distance in RGB (FAST: 85).
    min_area_um2, max_hole_um2 : float
        Smaller pieces are removed, smaller holes are filled.
    exclude_pen : bool
        Take wide saturated blue, green, red and solid black strokes out.

    Examples
    --------
    >>> slide = np.full((100, 100, 3), 244, np.uint8)
    >>> slide[30:70, 20:60] = 200, 120, 170
    >>> mask = tissue_mask(slide, mpp=8.0)
    >>> bool(mask[50, 40]), bool(mask[50, 80])
    (True, False)
    """
    _check_image(image)
    if not mpp > 0:
        raise ValueError(f"mpp must be positive, got {mpp}")
    if method not in METHODS:
        raise ValueError(f"unknown tissue method {method!r}, expected one of {METHODS}")
    glass = glass_colour(image)
    foreign = _black_border(image, mpp)
    if exclude_pen:
        foreign |= pen_ink(image, mpp)
    # Ink and borders become glass before anything is measured, so that their edges make no gradient.
    clean = np.where(foreign[..., None], glass, image).astype(np.uint8)
    if method == "gradient":
        mask = _by_gradient(clean, mpp, gradient_threshold, glass)
    elif method == "distance_from_white":
        mask = _by_distance_from_white(clean, white_distance)
    else:
        mask = _by_saturation(clean)
    filled = _fill_small_holes(mask, max_hole_um2 / mpp**2)
    return filter_components(filled & ~foreign, min_area=min_area_um2 / mpp**2)


def check_brightfield(image: NDArray[np.uint8], *, where: str) -> None:
    """Refuse a slide, uint8 RGB (h, w, 3) at any low resolution, that is light on black, or nothing but black.

    Black scanner borders and pen strokes do not make a slide dark: only what is lit counts, and in transmitted light
    that is glass and stained tissue, brighter in the whole than fluorescence. Raises SlideError with status
    `not_brightfield`, or `unreadable` if glass is strongly coloured.
    """
    _check_image(image)
    pixels = image.reshape(-1, 3)
    lit = pixels[pixels.max(axis=1) >= BLACK]
    black_share = 1.0 - len(lit) / len(pixels)
    if black_share > 0.995:
        dark = True
    else:
        # In float32: a matrix product would make three float64 of every pixel.
        luminance = sum(lit[:, c] * np.float32(w) for c, w in enumerate((0.299, 0.587, 0.114)))
        # Nowhere pale in all three channels although much is black: no glass was lit from below.
        no_glass = np.percentile(lit.min(axis=1), 90) < 100
        dark = black_share > 0.2 and (float(np.median(luminance)) < 80 or (black_share > 0.4 and bool(no_glass)))
    if dark:
        what = "the slide is not brightfield: it is dark where glass should be bright"
        found = f"{black_share:.0%} of the slide is black"
        mend = "Only slides in transmitted light (H&E) can be used; take this one out of the sample sheet."
        raise SlideError(what, status="not_brightfield", where=where, found=found, mend=mend)
    # The commonest of colours in steps of 16, which is that of glass wherever there is some.
    some = pixels[:: max(1, len(pixels) // 100_000)]
    code = np.ravel_multi_index((some >> 4).T.astype(np.intp), (16, 16, 16))
    count = np.bincount(code)
    colour = np.median(some[code == count.argmax()], axis=0)
    neutral = (some.min(axis=1) > 180) & (np.ptp(some, axis=1) < 40)
    if count.max() > 0.2 * len(some) and np.ptp(colour) > 90 and colour.max() > 210 and neutral.mean() < 0.001:
        what = "the slide's colours are wrong: glass is not grey"
        found = f"glass of red {colour[0]:.0f}, green {colour[1]:.0f}, blue {colour[2]:.0f}"
        mend = "Export it again: its file states another colour space than its pixels have."
        raise SlideError(what, status="unreadable", where=where, found=found, mend=mend)


def stained(image: NDArray[np.uint8], glass: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Pixels of uint8 RGB (..., 3) that are not of the colour of glass, from `glass_colour`."""
    return np.asarray(np.abs(image.astype(np.int16) - glass.astype(np.int16)).max(axis=-1) > GLASS_TOLERANCE)


def _check_image(image: NDArray[np.uint8]) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise ValueError(f"expected a uint8 image (h, w, 3), got {image.dtype} {image.shape}")


def _morph(mask: NDArray[np.bool_], operation: int, radius_um: float, mpp: float) -> NDArray[np.bool_]:
    """Binary morphology that treats the border of the image as a mirror, so that nothing is eaten or grown there."""
    pad = 2 * max(1, round(radius_um / mpp)) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (pad, pad))
    padded = np.pad(mask.astype(np.uint8), pad, mode="edge")
    return np.asarray(cv2.morphologyEx(padded, operation, kernel)[pad:-pad, pad:-pad] > 0)


def glass_colour(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Median colour of the pale grey pixels of uint8 RGB (..., 3); light grey where there are none (tissue alone)."""
    pixels = image.reshape(-1, 3)
    pale = pixels[(pixels.min(axis=1) > 200) & (np.ptp(pixels, axis=1) < 20)]
    return np.median(pale, axis=0).astype(np.uint8) if len(pale) else np.full(3, 245, np.uint8)


def _black_border(image: NDArray[np.uint8], mpp: float) -> NDArray[np.bool_]:
    """Solid black that touches the image's edge: what a scanner leaves where it did not look."""
    black = _morph(image.max(axis=2) < BLACK, cv2.MORPH_OPEN, PEN_WIDTH_UM / 2, mpp)
    return _grow(filter_components(black, touching=at_edge(black.shape)), mpp)


def pen_ink(image: NDArray[np.uint8], mpp: float) -> NDArray[np.bool_]:
    """Felt-tip ink: colours that haematoxylin and eosin cannot make, in strokes as wide as a pen's tip.

    Both stains absorb green most (Ruifrok and Johnston 2001), so stained tissue has green as its lowest channel. Blue
    and green ink absorb red most; red ink passes red alone, where red cells keep a good share of blue.
    """
    red, green, blue = (image[..., c].astype(np.int16) for c in range(3))
    brightest, darkest = image.max(axis=2).astype(np.int16), image.min(axis=2).astype(np.int16)
    # Strong haematoxylin can have red level with green in its pale parts, so there ink has to differ by more.
    blue_ink = (blue - red > 80) & (blue == brightest) & (red <= green) & ((red < 80) | (green - red > 20))
    green_ink = (brightest - darkest > 30) & (green == brightest) & (green - red > 30)
    red_ink = (red - np.maximum(green, blue) > 110) & (green < 90) & (blue <= green + 12)
    black_ink = (brightest < 60) | ((brightest < 110) & (brightest - darkest < 20))
    ink = np.zeros(image.shape[:2], bool)
    inks = [(i, FINE_PEN_WIDTH_UM) for i in (blue_ink, green_ink)] + [(i, PEN_WIDTH_UM) for i in (red_ink, black_ink)]
    for one_ink, width in inks:
        if not one_ink.any():
            continue
        solid = _morph(_morph(one_ink, cv2.MORPH_CLOSE, mpp, mpp), cv2.MORPH_OPEN, width / 2, mpp)
        # The opening rounds a stroke's ends off; what touches the stroke and has its colour belongs to it.
        ink |= solid | (_morph(solid, cv2.MORPH_DILATE, width / 2, mpp) & one_ink)
    return _grow(ink, mpp)


def _grow(mask: NDArray[np.bool_], mpp: float) -> NDArray[np.bool_]:
    return _morph(mask, cv2.MORPH_DILATE, PEN_EDGE_UM, mpp) if mask.any() else mask


def _by_gradient(image: NDArray[np.uint8], mpp: float, threshold: float, glass: NDArray[np.uint8]) -> NDArray[np.bool_]:
    # A channel at a time: in float32 the overview of a large slide would take a gigabyte.
    gradient = np.zeros(image.shape[:2], np.float32)
    highest, lowest = np.full_like(gradient, -np.inf), np.full_like(gradient, np.inf)
    for channel in range(3):
        plain = image[..., channel].astype(np.float32)
        smooth = cv2.GaussianBlur(plain, (0, 0), SMOOTHING_UM / mpp, borderType=cv2.BORDER_REFLECT)
        across = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, scale=1 / 8, borderType=cv2.BORDER_REFLECT)
        down = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, scale=1 / 8, borderType=cv2.BORDER_REFLECT)
        np.maximum(gradient, np.hypot(across, down, out=across), out=gradient)
        np.maximum(highest, smooth, out=highest)
        np.minimum(lowest, smooth, out=lowest)
    energy = cv2.GaussianBlur(gradient * (10.0 / mpp), (0, 0), ENERGY_UM / mpp, borderType=cv2.BORDER_REFLECT)
    textured = energy > threshold
    stain = highest - lowest > STAIN_CHROMA
    # The average leaks over the border of tissue by as much as the border is sharp: it ends where the colour is glass.
    coloured = stained(image, glass)
    tissue = (textured & coloured) | filter_components(stain, touching=textured)
    return _morph(tissue, cv2.MORPH_CLOSE, CLOSING_UM, mpp)


def _by_distance_from_white(image: NDArray[np.uint8], distance: float) -> NDArray[np.bool_]:
    """FAST's rule: far from white and not pure black, then a dilation and an erosion of nine pixels."""
    away = np.linalg.norm(255.0 - image.astype(np.float32), axis=2) > distance
    away &= image.max(axis=2) > 0
    dilated = _morph(away, cv2.MORPH_DILATE, (FAST_DILATE_PX - 1) / 2, 1.0)
    return _morph(dilated, cv2.MORPH_ERODE, (FAST_ERODE_PX - 1) / 2, 1.0)


def _by_saturation(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Otsu's threshold on smoothed HSV saturation, never below what grey glass reaches by noise."""
    saturation = cv2.medianBlur(np.ascontiguousarray(cv2.cvtColor(image, cv2.COLOR_RGB2HSV)[..., 1]), 3)
    level, _ = cv2.threshold(saturation, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    return np.asarray(saturation > max(level, 12.0))


def _fill_small_holes(mask: NDArray[np.bool_], largest_px: float) -> NDArray[np.bool_]:
    """Fill background pieces up to `largest_px`, except those at the image's edge, which are no holes."""
    glass = ~mask
    large = filter_components(glass, min_area=np.nextafter(largest_px, np.inf), connectivity=4)
    return mask | (glass & ~large & ~filter_components(glass, touching=at_edge(mask.shape), connectivity=4))
