"""Low-resolution refinement: what the refiner sees, and how it is run on ONNX Runtime.

The refiner sees the whole slide and its heatmap, both stretched to a square (the authors' code; aspect is not kept),
and answers with a probability on the same square.
"""

from __future__ import annotations

import numpy as np
import onnxruntime as ort

from drunet.errors import ModelError
from drunet.grid import Grid
from drunet.inference import SUM_ERROR
from drunet.slide import Slide

IMAGE, HEATMAP = "input_image", "input_pred"


def refiner_inputs(slide: Slide, heatmap: np.ndarray, grid: Grid, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Slide and heatmap on the refiner's square.

    Returns
    -------
    image : uint8 (size, size, 3)
    heat : float32 (size, size)
        In [0, 1]; what was not looked at is 0, as glass is.
    """
    image = slide.read_whole((size, size))
    heat = np.nan_to_num(grid.resample_to_slide(heatmap, (size, size), smooth=True), nan=0.0)
    return image, heat.astype(np.float32)


def refiner_size(session: ort.InferenceSession, *, where: str) -> int:
    """Side of the square that a refiner takes.

    Raises ModelError if the model does not take an image [n, s, s, 3] and a heatmap [n, s, s, 1].
    """
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


def refine(session: ort.InferenceSession, image: np.ndarray, heat: np.ndarray, *, where: str) -> np.ndarray:
    """Run the refiner; returns the foreground probability, float32 (size, size).

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
