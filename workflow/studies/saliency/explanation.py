"""Saliency maps of a classifier on tiles of slides."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import cv2
import keras
import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from drunet.slide import Slide
from drunet.tiles import TUMOUR
from studies.common.saliency.maps import (
    GradCam,
    IntegratedGradients,
    ScoreKind,
    batches,
    grad_cam,
    gradient_saliency,
    integrated_gradients,
    unit_range,
)
from studies.saliency.tile_choice import FALSE_POSITIVE, TRUE_POSITIVE

# Places per side on which maps of different sharpness are compared.
_COMPARED = 8
# A few pixels far above all others would make the rest invisible.
PERCENTILE = 99.0


@dataclass(frozen=True)
class Explanation:
    """Maps of three methods for the same tiles.

    `images`: uint8 (n, h, w, 3). `probability`: float32 (n,), of tumour, as the model gives it for these very pixels.
    `gradient`: float32 (n, h, w).
    """

    images: np.ndarray
    probability: np.ndarray
    gradient: np.ndarray
    integrated: IntegratedGradients
    cam: GradCam

    def maps(self) -> dict[str, np.ndarray]:
        """A map per method, float32 (n, h, w)."""
        return {"gradient": self.gradient, "integrated gradients": self.integrated.map, "Grad-CAM": self.cam.combined}

    def shown(self) -> dict[str, np.ndarray]:
        """A map per method in [0, 1], for display, and where there are several branches the Grad-CAM of each.

        Every map is stretched by itself, those over pixels to their 99th percentile; Grad-CAM and its branches have one
        scale per tile, so that a branch without influence does not look as if it had some.
        """
        branches = self.cam.branches if len(self.cam.branches) > 1 else {}
        cams = {"Grad-CAM": self.cam.combined, **{f"Grad-CAM {name}": maps for name, maps in branches.items()}}
        top = np.max([maps.max(axis=(1, 2)) for maps in cams.values()], axis=0)
        return {
            "gradient": unit_range(self.gradient, PERCENTILE),
            "integrated gradients": unit_range(self.integrated.map, PERCENTILE),
            **{name: unit_range(maps, top=top) for name, maps in cams.items()},
        }


def explain(
    model: keras.Model,
    images: np.ndarray,
    *,
    score: ScoreKind,
    baseline: str,
    steps: int,
    layers: Sequence[str] | None,
    batch_size: int,
) -> Explanation:
    """Make all maps of the tumour class; images uint8 (n, h, w, 3), for options see the three methods."""
    scaled = images.astype(np.float32) / 255
    found = [keras.ops.convert_to_numpy(model(batch, training=False)) for batch in batches(scaled, batch_size)]
    options: dict[str, Any] = {"score": score, "batch_size": batch_size}
    return Explanation(
        images,
        np.concatenate(found)[:, TUMOUR],
        gradient_saliency(model, scaled, TUMOUR, **options),
        integrated_gradients(model, scaled, TUMOUR, baseline=baseline, steps=steps, **options),  # type: ignore[arg-type]
        grad_cam(model, scaled, TUMOUR, layers=layers, **options),
    )


def read_tiles(
    chosen: pd.DataFrame, slides: Mapping[str, tuple[str, float | None]], size: int, mpp: float
) -> np.ndarray:
    """Read tiles (slide, x, y) as uint8 (n, size, size, 3); `slides` gives each slide's path and µm/px in the sheet."""
    images = np.empty((len(chosen), size, size, 3), np.uint8)
    places = chosen[["x", "y"]].to_numpy(np.int64)
    for slide_id in chosen["slide"].unique():
        path, sheet_mpp = slides[slide_id]
        with Slide(path, slide_id, sheet_mpp) as slide:
            for i in np.flatnonzero(chosen["slide"] == slide_id):
                images[i] = slide.read(int(places[i, 0]), int(places[i, 1]), (size, size), mpp)
    return images


def explanation_metrics(explanation: Explanation | None, chosen: pd.DataFrame) -> dict[str, float]:
    """Counts, checks, and agreement of the methods; `explanation` is None where there are no tiles.

    integration_gap: error of integrated gradients, as a share of the change of the score, and probability_difference:
    that between the heatmap and the model on the tiles as read here, maximum over the tiles; rank_correlation of each
    pair of methods, mean over the tiles, on a grid of 8 × 8 places.
    """
    kinds = {"true_positives": TRUE_POSITIVE, "false_positives": FALSE_POSITIVE}
    found = {name: float((chosen["kind"] == kind).sum()) for name, kind in kinds.items()}
    found["slides"] = float(chosen["slide"].nunique())
    if explanation is None:
        return found
    integrated = explanation.integrated
    change = np.maximum(np.abs(integrated.change), np.finfo(np.float32).tiny)
    difference = np.abs(explanation.probability - chosen["p_tumour"].to_numpy(np.float64))
    found["integration_gap"] = float((np.abs(integrated.gap) / change).max())
    found["probability_difference"] = float(difference.max())
    for (a, maps_a), (b, maps_b) in combinations(explanation.maps().items(), 2):
        found[f"rank_correlation {a} / {b}"] = _agreement(maps_a, maps_b)
    return found


def _agreement(a: np.ndarray, b: np.ndarray) -> float:
    """Mean of Spearman's correlation over pictures, without those of which a map is constant."""
    coarse = ([cv2.resize(m, (_COMPARED,) * 2, interpolation=cv2.INTER_AREA).ravel() for m in maps] for maps in (a, b))
    found = [spearmanr(x, y).statistic for x, y in zip(*coarse, strict=True) if np.ptp(x) > 0 and np.ptp(y) > 0]
    return float(np.mean(found)) if found else float("nan")
