"""Whether an annotation fits its slide: tumour lies on tissue, not on glass. Where it does not, why that may be."""

from collections.abc import Callable

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray

from drunet.annotation.raster import rasterise
from drunet.annotation.region import Annotation
from drunet.console import say
from drunet.errors import AnnotationError

# With less of it on tissue, an annotation is wrong; with somewhat more it is if another frame explains it well.
ON_GLASS, DOUBTFUL, EXPLAINED = 0.05, 0.3, 0.8
# A cause is named from here on, and so many that explain it alike.
NAMED, MOST_CAUSES = 0.5, 4
# Glass is what lies farther from tissue than this share of the diagonal: not the air in a lung, nor a generous margin.
MARGIN = 0.02
# That much of the glass as tumour is a mask turned inside out, where there is that much glass.
GLASS_COVERED, MIN_GLASS = 0.9, 0.05
FINEST_SCALE = 7

Move = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def fit_to_tissue(
    annotation: Annotation, tissue: NDArray[np.bool_], *, where: str, size: tuple[int, int], mpp: float
) -> str:
    """Hold an annotation against the tissue mask, and say on the terminal what was mended in it.

    `tissue`, bool (h, w), covers the whole slide; `where` is the slide ID, for messages; `size` is the slide's (width,
    height) in level-0 pixels, and `mpp` µm per such pixel. Returns what was passed over, mended or lies on glass, in
    words; empty where nothing was. Raises AnnotationError, with the likely cause, if outlines lie on glass, or tumour
    covers the glass.
    """
    on_glass = ""
    drawn = annotation.non_tumour if annotation.tumour.is_empty else annotation.tumour
    if not drawn.is_empty:
        check_frame(drawn, tissue, where=where, size=size, mpp=mpp)
        glass = _far_from(tissue)
        _check_glass(annotation, glass, size, where)
        on_glass = _on_glass(annotation, tissue, glass, size)
    mended = "; ".join(filter(None, [annotation.mended, on_glass]))
    if mended:
        say(f"NOTE  {where}: in the annotation: {mended}")
    return mended


def _share(geometry: shapely.Geometry, tissue: NDArray[np.bool_], size: tuple[int, int]) -> float:
    """Share of a geometry's area that lies on tissue; what lies outside the slide does not."""
    painted = rasterise(geometry, (tissue.shape[0], tissue.shape[1]), slide_size=size)
    count = geometry.area * tissue.size / (size[0] * size[1])
    if count >= 1 and painted.any():
        return float((painted & tissue).sum() / max(count, painted.sum()))
    # Too small for the mask's pixels.
    return float(_values(tissue, shapely.point_on_surface(shapely.get_parts(geometry)), size).mean())


def _values(mask: NDArray[np.bool_], points: NDArray[np.object_], size: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask at points in level-0 pixels; False outside."""
    rows, columns = mask.shape
    x = np.floor(shapely.get_x(points) * columns / size[0]).astype(np.int64)
    y = np.floor(shapely.get_y(points) * rows / size[1]).astype(np.int64)
    inside = (x >= 0) & (y >= 0) & (x < columns) & (y < rows)
    return np.asarray(inside & mask[y.clip(0, rows - 1), x.clip(0, columns - 1)])


def check_frame(
    drawn: shapely.Geometry,
    tissue: NDArray[np.bool_],
    *,
    where: str,
    size: tuple[int, int],
    mpp: float,
    what: str = "annotation: the outlines lie",
) -> None:
    """Refuse outlines that lie on glass, or that would lie well in another frame; arguments as `fit_to_tissue`."""
    found = _share(drawn, tissue, size)
    if found >= DOUBTFUL:
        return
    shares = {cause: _share(shapely.transform(drawn, m), tissue, size) for cause, m in _moves(size, mpp).items()}
    best = max(shares.values())
    if found >= ON_GLASS and best < EXPLAINED:
        return
    mend = "Check that the file belongs to this slide and holds pixels of its full resolution."
    on_tissue = f"{found:.0%} of their area on tissue"
    if best >= NAMED:
        causes = [cause for cause, share in shares.items() if share > best - 0.02]
        mend = f"Probably {' or '.join(causes[:MOST_CAUSES])}. {mend}"
        on_tissue += f", {best:.0%} if that is undone"
    elif not found:
        mend += " If it does, try another `tissue.method`."
    raise AnnotationError(f"{what} on glass", where=where, found=on_tissue, mend=mend)


def _moves(size: tuple[int, int], mpp: float) -> dict[str, Move]:
    """What goes wrong with frames of reference, in words, and what undoes it."""
    width, height = size

    def scaled(x: float, y: float) -> Move:
        return lambda xy: xy * (x, y)

    moves: dict[str, Move] = {
        "it is in µm": scaled(1 / mpp, 1 / mpp),
        "y was counted upwards (upside down)": lambda xy: np.array([0, height]) + xy * (1, -1),
        "it was mirrored": lambda xy: np.array([width, 0]) + xy * (-1, 1),
        "it was turned by 180°": lambda xy: np.array([width, height]) - xy,
        "x and y were swapped": lambda xy: xy[:, ::-1],
        "it was turned to the right": lambda xy: np.array([0, height]) + xy[:, ::-1] * (1, -1),
        "it was turned to the left": lambda xy: np.array([width, 0]) + xy[:, ::-1] * (-1, 1),
        "it is in mm": scaled(1000 / mpp, 1000 / mpp),
        "it is in shares of the slide": scaled(width, height),
    }
    for power in range(1, FINEST_SCALE + 1):
        moves[f"it was drawn at 1/{2**power} of the full resolution"] = scaled(2.0**power, 2.0**power)
    moves["it was drawn at twice the full resolution"] = scaled(0.5, 0.5)
    moves["it was drawn at 4 times the full resolution"] = scaled(0.25, 0.25)
    return moves


def _far_from(tissue: NDArray[np.bool_]) -> NDArray[np.bool_]:
    apart = cv2.distanceTransform((~tissue).astype(np.uint8), cv2.DIST_L2, 3)
    return np.asarray(apart > max(1.0, MARGIN * float(np.hypot(*tissue.shape))))


def _check_glass(annotation: Annotation, glass: NDArray[np.bool_], size: tuple[int, int], where: str) -> None:
    if annotation.tumour.is_empty or glass.mean() < MIN_GLASS:
        return
    covered = rasterise(annotation.tumour, (glass.shape[0], glass.shape[1]), slide_size=size)[glass].mean()
    if covered > GLASS_COVERED:
        what, found = "annotation: the glass is marked as tumour", f"{covered:.0%} of it"
        mend = "A mask may be inverted: tumour is white. Else draw the outline along the tissue."
        raise AnnotationError(what, where=where, found=found, mend=mend)


def _on_glass(
    annotation: Annotation, tissue: NDArray[np.bool_], glass: NDArray[np.bool_], size: tuple[int, int]
) -> str:
    """Count outlines that touch no tissue: they change nothing, and may be meant for another place."""
    counted = [r.geometry for r in annotation.regions if r.label != "ignore"]
    scale = np.array([tissue.shape[1] / size[0], tissue.shape[0] / size[1]])
    count = 0
    for index in np.flatnonzero(_values(glass, shapely.point_on_surface(counted), size)):
        left, top, right, bottom = (np.reshape(counted[index].bounds, (2, 2)) * scale).ravel()
        count += not tissue[int(top) : int(np.ceil(bottom)), int(left) : int(np.ceil(right))].any()
    return f"{count} outline{'s' * (count > 1)} on glass" if count else ""
