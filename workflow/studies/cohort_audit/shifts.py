"""How far a classifier's answers move when nothing but stain or scanner changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from drunet.stains import jitter_hed

Pixels = NDArray[np.uint8]
_NONE = (0.0, 0.0, 0.0)


def _gain(image: Pixels, factors: tuple[float, float, float]) -> Pixels:
    return np.asarray(cv2.convertScaleAbs(image * np.array(factors, np.float32)), np.uint8)


def _recompressed(image: Pixels) -> Pixels:
    _, stream = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 50])
    return np.ascontiguousarray(np.asarray(cv2.imdecode(stream, cv2.IMREAD_COLOR), np.uint8)[..., ::-1])


# About what two laboratories or scanners differ by; each is tried on its own.
CHANGES: Mapping[str, Callable[[Pixels], Pixels]] = {
    "haematoxylin + 20 %": lambda image: jitter_hed(image, (1.2, 1, 1), _NONE),
    "haematoxylin - 20 %": lambda image: jitter_hed(image, (0.8, 1, 1), _NONE),
    "eosin + 20 %": lambda image: jitter_hed(image, (1, 1.2, 1), _NONE),
    "eosin - 20 %": lambda image: jitter_hed(image, (1, 0.8, 1), _NONE),
    "darker by 10 %": lambda image: _gain(image, (0.9, 0.9, 0.9)),
    "warmer (red + 5 %, blue - 5 %)": lambda image: _gain(image, (1.05, 1.0, 0.95)),
    "out of focus (sigma 1 px)": lambda image: np.asarray(cv2.GaussianBlur(image, (0, 0), 1.0), np.uint8),
    "JPEG quality 50": _recompressed,
}


def shifted(tiles: Pixels, answer: Callable[[Pixels], NDArray[np.float32]]) -> pd.DataFrame:
    """Tumour probability of tiles, uint8 (n, s, s, 3), as they are (`none`) and after each of `CHANGES`."""
    changed = {name: np.stack([change(tile) for tile in tiles]) for name, change in CHANGES.items()}
    return pd.DataFrame({name: answer(pixels) for name, pixels in {"none": tiles, **changed}.items()})


def shift_table(answers: pd.DataFrame, threshold: float) -> pd.DataFrame:
    """Per change: mean |Δp|, tiles that cross the threshold, and by how much the tumour area changes, in %."""
    before = answers["none"]
    called = int((before >= threshold).sum())
    rows = []
    for name in CHANGES:
        after = answers[name]
        other = float(((after >= threshold) != (before >= threshold)).mean())
        area = 100 * (int((after >= threshold).sum()) - called) / called if called else np.nan
        rows.append((name, float((after - before).abs().mean()), 100 * other, area))
    return pd.DataFrame(
        rows, columns=["change", "mean |Δp|", "tiles that change sides, %", "outlined area, change in %"]
    )
