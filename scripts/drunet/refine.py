"""Low-resolution refinement: what the refiner sees, and how it is run on ONNX Runtime.

As published, that is the whole slide and its heatmap, stretched to a square (the authors' code; aspect is not kept). At
a physical scale it is square windows of a fixed µm/px, each lying half over the next and seen from all eight sides: a
biopsy and a resection then look alike.
"""

import numpy as np
import onnxruntime as ort

from drunet.errors import ModelError
from drunet.grid import Grid
from drunet.inference import SUM_ERROR
from drunet.slide import Slide

IMAGE, HEATMAP = "input_image", "input_pred"
GLASS = 255
SCALE = "mpp"  # key in the metadata of a refiner that is exported here


def refiner_inputs(
    slide: Slide, heatmap: np.ndarray, grid: Grid, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Slide, uint8 (h, w, 3), and heatmap, float32 (h, w) in [0, 1], 0 where nothing was seen, on one raster."""
    image = slide.read_whole(shape)
    heat = np.nan_to_num(grid.resample_to_slide(heatmap, shape, smooth=True), nan=0.0)
    return image, heat.astype(np.float32)


def refiner_size(session: ort.InferenceSession, *, where: str) -> int:
    """Side of a refiner's square; raises ModelError if it takes no image [n, s, s, 3] and heatmap [n, s, s, 1]."""
    shapes = {i.name: tuple(i.shape[1:]) for i in session.get_inputs()}
    image, heat = shapes.get(IMAGE, ()), shapes.get(HEATMAP, ())
    fits = (
        len(image) == 3 and isinstance(image[0], int) and image == (image[0], image[0], 3) and heat == (*image[:2], 1)
    )
    if not fits or len(shapes) != 2:
        found = f"inputs {[(i.name, i.shape) for i in session.get_inputs()]}"
        mend = f"It needs `{IMAGE}` [n, s, s, 3] (0..255) and `{HEATMAP}` [n, s, s, 1] (0..1)."
        raise ModelError("the model does not take what a refiner is given", where=where, found=found, mend=mend)
    return int(image[0])


def window_scale(session: ort.InferenceSession, told: float | None, *, where: str) -> float | None:
    """µm/px of a refiner's windows: as told, or as its file states; None if neither says: it sees slides as a whole.

    Raises ModelError where the two differ.
    """
    stated = session.get_modelmeta().custom_metadata_map.get(SCALE)
    if stated is None or told == float(stated):
        return told
    if told is not None:
        what, mend = "the refiner was trained at another scale", "Leave `mpp` out: the file states it."
        raise ModelError(what, where=where, found=f"mpp {told:g}, trained at {stated}", mend=mend)
    return float(stated)


def refine(session: ort.InferenceSession, image: np.ndarray, heat: np.ndarray, *, where: str) -> np.ndarray:
    """Run the refiner on one square; returns the foreground probability, float32 (size, size).

    Raises ModelError if the model does not answer [n, s, s, 2] with finite values.
    """
    feed = {IMAGE: image[None].astype(np.float32), HEATMAP: heat[None, ..., None].astype(np.float32)}
    answer = session.run(None, feed)[0]
    fits = answer.shape == (1, *heat.shape, 2) and np.isfinite(answer).all()
    if not fits or answer.min() < -1e-3 or np.abs(answer.sum(axis=-1) - 1).max() > SUM_ERROR:
        found = f"shape {answer.shape}" + (f", {answer.min():g} to {answer.max():g}" if fits else "")
        mend = "It needs one output [n, s, s, 2], a softmax with background first."
        raise ModelError("the refiner's output is no map of background and tumour", where=where, found=found, mend=mend)
    return np.ascontiguousarray(answer[0, ..., 1])


def refine_slide(
    session: ort.InferenceSession, slide: Slide, heatmap: np.ndarray, grid: Grid, *, mpp: float | None, where: str
) -> np.ndarray:
    """Refine a slide's heatmap, float32 (rows, columns) of `grid`: tumour probability, float32 (h, w), over all of it.

    NaN is where no tile was looked at. The windows have `mpp` µm/px; None: as the model's file states; where it states
    none, the whole slide is stretched to the square (published). At a physical scale the answer is 0 where no tile was
    looked at, as the heatmap is: pen marks and glass would be judged by a network that has hardly seen any. `session`
    and `where` are as for `refine`.
    """
    side, mpp = refiner_size(session, where=where), window_scale(session, mpp, where=where)
    if mpp is None:
        return refine(session, *refiner_inputs(slide, heatmap, grid, (side, side)), where=where)
    shape = grid.raster(mpp)
    image, heat = (padded(array, side) for array in refiner_inputs(slide, heatmap, grid, shape))
    looked = padded(np.isfinite(grid.resample_to_slide(heatmap, shape)), side)
    weight = _tent(side)
    total, weights = (np.zeros(heat.shape, np.float32) for _ in range(2))
    for y in window_starts(heat.shape[0], side):
        for x in window_starts(heat.shape[1], side):
            window = np.s_[y : y + side, x : x + side]
            weights[window] += weight
            if looked[window].any():
                total[window] += weight * _from_all_sides(session, image[window], heat[window], where)
    return np.ascontiguousarray(np.where(looked, total / weights, 0)[: shape[0], : shape[1]])


def _from_all_sides(session: ort.InferenceSession, image: np.ndarray, heat: np.ndarray, where: str) -> np.ndarray:
    """Mean of a window's answers as it is turned by quarters and mirrored; training shows it from any side, too."""
    total = np.zeros(heat.shape, np.float32)
    for turns in range(4):
        for mirrored in (1, -1):
            shown = (np.ascontiguousarray(np.rot90(array, turns)[:, ::mirrored]) for array in (image, heat))
            total += np.rot90(refine(session, *shown, where=where)[:, ::mirrored], -turns)
    return total / 8


def window_starts(length: int, side: int, overlap: float = 0.5) -> list[int]:
    """Where windows begin along an axis: evenly spread from end to end, each lying over the next by `overlap` or more.

    >>> window_starts(300, 128)
    [0, 57, 114, 172]
    >>> window_starts(300, 128, overlap=0.0)
    [0, 86, 172]
    """
    count = 1 + int(np.ceil((length - side) / (side * (1 - overlap))))
    return [int(start) for start in np.linspace(0, length - side, max(count, 1))]


def padded(array: np.ndarray, side: int) -> np.ndarray:
    """An array with at least `side` rows and columns: images go on as glass, all else as zeros."""
    missing = [(0, max(0, side - n)) for n in array.shape[:2]]
    if not any(after for _, after in missing):
        return array
    return np.pad(array, [*missing, *[(0, 0)] * (array.ndim - 2)], constant_values=GLASS if array.ndim == 3 else 0)


def _tent(side: int) -> np.ndarray:
    """Weight of a window's pixels, float32 (side, side): falls evenly from the middle, so that no seam shows."""
    slope = 1 - np.abs((np.arange(side) + 0.5) / side * 2 - 1)
    return np.outer(slope, slope).astype(np.float32)
