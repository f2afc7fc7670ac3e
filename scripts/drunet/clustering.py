"""Refinement of a heatmap by clustering, without a network and without training.

Source: the authors' code of DRU-Net (ClustringRefinement.py, GenerateGradients.py), which it ships for its runs on few
and many shots and for first outlines that are then corrected. Not published are its superpixels, which are a watershed
from a regular grid here, and the size of its pictures, by which its kernels are large or small. There, the heatmap is
stretched to 0..1 on every slide, so that each has tumour; here, a slide on which no tile is called tumour has none.
"""

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_fill_holes
from sklearn.cluster import KMeans

from drunet.settings.clustering import ClusteringSettings

# Authors' code: heatmap, red, green, blue, gradient, superpixels.
WEIGHTS = (1.0, 0.8, 1.0, 1.0, 0.2, 0.4)
# Authors' code, px, and grey levels of 255: of the cluster, of the gradient's mask, of the answer.
_CLUSTER_MEDIAN, _GRADIENT_MEDIAN, _LAST_MEDIAN, _LEAST = 3, 11, 21, 10 / 255
# Grey levels of an 8-bit heatmap: what rounds to its highest value is as high.
_HIGHEST = 254.5 / 255
_SUPERPIXEL_PX = 16


def cluster_tumour(
    image: NDArray[np.uint8], heat: NDArray[np.float32], settings: ClusteringSettings, *, threshold: float, seed: int
) -> NDArray[np.bool_]:
    """Outline the tumour of a slide by k-means on its pixels: bool (h, w).

    The cluster with the most pixels of the highest heat is the tumour: its holes are filled, it is blurred and cut at a
    25th, which joins its parts and widens it, and glass is taken away. `image`, uint8 RGB (h, w, 3), is the whole slide
    at low resolution, `heat`, float32 (h, w) in [0, 1], its heatmap; of the settings all but `px` is read;
    `threshold` is the probability from which on a tile is called tumour, `seed` that of the first centres.
    """
    if heat.max() < threshold:
        return np.zeros(heat.shape, bool)
    slope = gradient(image)
    stretched = (heat - heat.min()) / max(float(np.ptp(heat)), 1e-9)
    features = [np.where(stretched < settings.min_heat, 0, stretched)]
    features += [image[..., channel] / 255 for channel in range(3)]
    features += [slope, superpixels(image) / 255]
    weighted = np.stack(features, axis=-1).reshape(-1, len(WEIGHTS)) * WEIGHTS
    labels = KMeans(settings.clusters, n_init=1, random_state=seed).fit_predict(weighted).reshape(heat.shape)
    tumour = np.argmax(np.bincount(labels[stretched >= _HIGHEST], minlength=settings.clusters))
    mask = binary_fill_holes(_median(labels == tumour, _CLUSTER_MEDIAN))
    if settings.smoothing_px > 1:
        mask = cv2.blur(mask.astype(np.float32), (settings.smoothing_px,) * 2) > _LEAST
    tissue = cv2.medianBlur(np.rint(slope * 255).astype(np.uint8), _GRADIENT_MEDIAN) > _LEAST * 255
    return _median(mask & tissue, _LAST_MEDIAN)


def gradient(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Magnitude of the green channel's gradient (differences to the next pixel), over the steepest: float32 (h, w)."""
    green = image[..., 1].astype(np.float32)
    down, right = (np.diff(green, axis=axis, append=green.take([-1], axis=axis)) for axis in (0, 1))
    slope = np.hypot(down, right)
    return np.asarray(slope / max(float(slope.max()), 1e-9), np.float32)


def superpixels(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The green channel, averaged over superpixels: float (h, w) in [0, 255].

    They grow by watershed from a grid of seeds (Machairas et al. 2015, "Waterpixels"); lines between them keep their
    own values.
    """
    seeds = np.zeros(image.shape[:2], np.int32)
    grid = np.s_[_SUPERPIXEL_PX // 2 :: _SUPERPIXEL_PX, _SUPERPIXEL_PX // 2 :: _SUPERPIXEL_PX]
    seeds[grid] = np.arange(1, seeds[grid].size + 1).reshape(seeds[grid].shape)
    # 0 and -1 are what lies outside of all: the lines between them, or all of a picture too small for a seed.
    labels = cv2.watershed(np.ascontiguousarray(image), seeds).clip(0).ravel()
    green = image[..., 1].ravel()
    means = np.bincount(labels, green) / np.maximum(np.bincount(labels), 1)
    return np.where(labels > 0, means[labels], green).reshape(image.shape[:2])


def _median(mask: NDArray[np.bool_], side: int) -> NDArray[np.bool_]:
    return np.asarray(cv2.medianBlur(mask.astype(np.uint8) * 255, side) > 127)
