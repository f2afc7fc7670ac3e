"""Colour changes with the meaning of `tf.image.adjust_*`, on uint8 images, one at a time or in batches.

Each function takes a uint8 array (h, w, 3) or (n, h, w, 3) in RGB, and an amount that is a number or one number per
image (n,); it returns a new array of the same shape. Against TensorFlow's functions on uint8 they differ by at most one
grey level, since TensorFlow scales by 255.5 and truncates where values are rounded here.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

_LEVELS = np.arange(256, dtype=np.float32)


def adjust_hue_saturation(
    image: NDArray[np.uint8], hue: ArrayLike = 0.0, saturation: ArrayLike = 1.0
) -> NDArray[np.uint8]:
    """Turn the hue and scale the saturation in one passage through HSV.

    Parameters
    ----------
    image : uint8 array (h, w, 3) or (n, h, w, 3), RGB
    hue : float or (n,)
        Share of the colour circle by which the hue is turned; whole numbers do nothing.
    saturation : float or (n,)
        Factor on the HSV saturation, which is clipped to [0, 1]; 0 makes grey.

    Examples
    --------
    >>> adjust_hue_saturation(np.uint8([[[200, 100, 100]]]), hue=1 / 3).tolist()
    [[[100, 200, 100]]]
    """
    batch = _as_batch(image)
    turn, factor = (_per_image(amount, len(batch), name) for amount, name in ((hue, "hue"), (saturation, "saturation")))
    if (factor < 0).any():
        raise ValueError("a saturation factor is at least 0")
    n, height, width, _ = batch.shape
    # OpenCV knows no batches: the images are stacked into one tall image.
    hsv = cv2.cvtColor(batch.reshape(n * height, width, 3).astype(np.float32) / np.float32(255), cv2.COLOR_RGB2HSV)
    stacked = hsv.reshape(n, height * width, 3)
    if turn.any():
        angles = stacked[..., 0] + (turn % 1.0 * 360.0)[:, None]
        stacked[..., 0] = np.where(angles >= 360.0, angles - 360.0, angles)
    if (factor != 1).any():
        stacked[..., 1] = np.minimum(stacked[..., 1] * factor[:, None], 1.0)
    rgb = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    # OpenCV rounds and saturates here.
    levels: NDArray[np.uint8] = np.asarray(cv2.convertScaleAbs(rgb, alpha=255.0), dtype=np.uint8)
    return levels.reshape(image.shape)


def adjust_hue(image: NDArray[np.uint8], delta: ArrayLike) -> NDArray[np.uint8]:
    """Turn the hue by a share of the colour circle, as `tf.image.adjust_hue` does."""
    return adjust_hue_saturation(image, hue=delta)


def adjust_saturation(image: NDArray[np.uint8], factor: ArrayLike) -> NDArray[np.uint8]:
    """Scale the HSV saturation, as `tf.image.adjust_saturation` does."""
    return adjust_hue_saturation(image, saturation=factor)


def adjust_contrast(image: NDArray[np.uint8], factor: ArrayLike) -> NDArray[np.uint8]:
    """Scale the distance of every value from its image's and channel's mean, as `tf.image.adjust_contrast` does.

    Parameters
    ----------
    image : uint8 array (h, w, 3) or (n, h, w, 3), RGB
    factor : float or (n,)
        0 leaves the mean colour alone, 1 changes nothing.
    """
    batch = _as_batch(image)
    factors = _per_image(factor, len(batch), "contrast")
    adjusted = np.empty_like(batch)
    for one, scale, out in zip(batch, factors, adjusted, strict=True):
        means = np.array(cv2.mean(one)[:3], dtype=np.float32)
        out[:] = _through_table(one, (_LEVELS[:, None] - means) * scale + means)
    return adjusted.reshape(image.shape)


def adjust_brightness(image: NDArray[np.uint8], delta: ArrayLike) -> NDArray[np.uint8]:
    """Add a share of the full range to every value, as `tf.image.adjust_brightness` does.

    Parameters
    ----------
    image : uint8 array (h, w, 3) or (n, h, w, 3), RGB
    delta : float or (n,)
        In [-1, 1]; 0.1 adds 25.5 grey levels.

    Examples
    --------
    >>> adjust_brightness(np.uint8([[[0, 100, 250]]]), 0.1).tolist()
    [[[26, 126, 255]]]
    """
    batch = _as_batch(image)
    deltas = _per_image(delta, len(batch), "brightness")
    adjusted = np.empty_like(batch)
    for one, shift, out in zip(batch, deltas, adjusted, strict=True):
        out[:] = _through_table(one, np.repeat(_LEVELS[:, None] + shift * np.float32(255), 3, axis=1))
    return adjusted.reshape(image.shape)


def _through_table(image: NDArray[np.uint8], table: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Replace each value by the entry of its channel's column in a (256, 3) table, rounded and saturated."""
    levels = np.clip(np.rint(table), 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(np.ascontiguousarray(image), levels[None]), dtype=np.uint8)


def _as_batch(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if image.dtype != np.uint8 or image.ndim not in (3, 4) or image.shape[-1] != 3:
        raise ValueError(f"expected uint8 (h, w, 3) or (n, h, w, 3), got {image.dtype} {image.shape}")
    return image if image.ndim == 4 else image[None]


def _per_image(amount: ArrayLike, images: int, name: str) -> NDArray[np.float32]:
    values = np.asarray(amount, dtype=np.float32)
    if values.ndim > 1 or (values.ndim == 1 and len(values) != images):
        raise ValueError(f"{name}: expected a number or one per image ({images}), got shape {values.shape}")
    return np.broadcast_to(values, (images,))
