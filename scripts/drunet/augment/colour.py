"""Colour changes with the meaning of `tf.image.adjust_*`, on uint8 images.

Each function takes a uint8 array (h, w, 3) in RGB and returns a new one. Against TensorFlow's functions on uint8 they
differ by at most one grey level, since TensorFlow scales by 255.5 and truncates where values are rounded here.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

_LEVELS = np.arange(256, dtype=np.float32)[:, None]


def adjust_hue_saturation(image: NDArray[np.uint8], hue: float = 0.0, saturation: float = 1.0) -> NDArray[np.uint8]:
    """Turn the hue by a share of the colour circle, and scale the HSV saturation, clipped to [0, 1], in one passage.

    Whole numbers of `hue` do nothing; a `saturation` of 0 makes grey.

    >>> adjust_hue_saturation(np.uint8([[[200, 100, 100]]]), hue=1 / 3).tolist()
    [[[100, 200, 100]]]
    """
    _check_image(image)
    if saturation < 0:
        raise ValueError("a saturation factor is at least 0")
    hsv = cv2.cvtColor(image / np.float32(255), cv2.COLOR_RGB2HSV)
    # In one passage over all channels; OpenCV takes hues beyond the circle as well.
    turned = np.array([[1, 0, 0, np.float32(hue) % 1.0 * 360.0], [0, saturation, 0, 0], [0, 0, 1, 0]], np.float32)
    hsv = cv2.transform(hsv, turned)
    if saturation > 1:
        np.minimum(hsv[..., 1], 1.0, out=hsv[..., 1])
    # OpenCV rounds and saturates here.
    return np.asarray(cv2.convertScaleAbs(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), alpha=255.0), dtype=np.uint8)


def adjust_contrast(image: NDArray[np.uint8], factor: float, brightness: float = 0.0) -> NDArray[np.uint8]:
    """Scale the distance of every value from its channel's mean, as `tf.image.adjust_contrast` does.

    A factor of 0 leaves the mean colour alone, 1 changes nothing. A `brightness`, a share of the full range in [-1, 1],
    is added to every value in the same passage, as `tf.image.adjust_brightness` does after it.
    """
    _check_image(image)
    means = np.array(cv2.mean(image)[:3], dtype=np.float32)
    table = _rounded((_LEVELS - means) * np.float32(factor) + means)
    levels = _rounded(table + np.float32(brightness) * np.float32(255)).astype(np.uint8)
    return np.asarray(cv2.LUT(np.ascontiguousarray(image), levels[None]), dtype=np.uint8)


def _rounded(table: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.clip(np.rint(table), 0, 255)


def _check_image(image: NDArray[np.uint8]) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3:
        raise ValueError(f"expected uint8 (h, w, 3), got {image.dtype} {image.shape}")
