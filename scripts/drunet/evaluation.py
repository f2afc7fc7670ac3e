"""One slide against its annotation: which arrays are compared with which."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import pandas as pd

from drunet.annotation import Annotation, measured_region, rasterise
from drunet.grid import Grid
from drunet.metrics import segmentation_scores, tile_scores

STAGES = ("heatmap", "refined", "segmentation")


def measure_slide(
    grid: Grid,
    annotation: Annotation,
    *,
    heatmap: np.ndarray,
    refined: np.ndarray | None,
    segmentation: np.ndarray,
    mpp: float,
    threshold: float,
) -> list[dict[str, Any]]:
    """Compare the three stages with the annotation, on one raster of about `mpp` µm/px.

    The heatmap, float32 (rows, columns) of `grid`, is interpolated between cell centres, as it is for the refiner. The
    refined probability, float32 (s, s), or None where the run has no refiner, and the segmentation, bool (h, w), are
    over the whole slide. The threshold is on heatmap and refined probability. On a partially annotated slide only the
    marked regions count. Each dict has stage, dsc, iou, hd_um, hd95_um, precision, recall; what is not defined is None.
    """
    shape = grid.raster(mpp)
    size = (grid.width, grid.height)
    truth = rasterise(annotation.tumour, shape, slide_size=size)
    region = measured_region(annotation, truth, slide_size=size)

    def resized(field: np.ndarray) -> np.ndarray:
        return cv2.resize(field.astype(np.float32), shape[::-1], interpolation=cv2.INTER_LINEAR)

    heat = np.nan_to_num(grid.resample_to_slide(heatmap, shape, smooth=True), nan=0.0)
    masks = {
        "heatmap": heat >= threshold,
        "refined": None if refined is None else resized(refined) >= threshold,
        "segmentation": resized(segmentation) >= 0.5,
    }
    exact = (grid.height * grid.mpp / shape[0], grid.width * grid.mpp / shape[1])
    return [
        {"stage": stage, **_plain(segmentation_scores(mask, truth, mpp=exact, region=region)._asdict())}
        for stage in STAGES
        if (mask := masks[stage]) is not None
    ]


def measure_tiles(labelled: pd.DataFrame, classified: pd.DataFrame, threshold: float) -> dict[str, Any]:
    """Scores of a slide's labelled tiles, with the probabilities and labels themselves for a cohort's ROC curve."""
    joined = labelled[["column", "row", "label"]].merge(classified, on=["column", "row"], validate="1:1")
    joined = joined[joined["label"] >= 0]
    probability, label = joined["p_tumour"].to_numpy(np.float64), joined["label"].to_numpy()
    return {
        **_plain(tile_scores(probability, label, threshold)._asdict()),
        "p_tumour": [None if math.isnan(p) else round(p, 5) for p in probability],
        "label": label.tolist(),
    }


def gather(
    measured: Sequence[Mapping[str, Any] | None], slides: Sequence[Mapping[str, Any]]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tables of a run from its slides' measurements: the slides' metrics, and those of their tiles.

    Per slide `measured` has stages (from `measure_slide`) and tiles (from `measure_tiles`), or None for one that
    failed; `slides` have slide and split, in the same order. The first table has slide, split, stage and scores, a row
    per slide and stage; the second slide, split, tiles, scores, unreadable, a row per slide. A slide that failed has
    the stages of the others and no scores, and no tile of it counts.
    """
    stages = next(([s["stage"] for s in m["stages"]] for m in measured if m), STAGES)
    failed: dict[str, Any] = {"stages": [{"stage": stage} for stage in stages], "tiles": {"tiles": 0, "unreadable": 0}}
    pairs = [(m or failed, {"slide": s["slide"], "split": s["split"]}) for m, s in zip(measured, slides, strict=True)]
    rows = [{**slide, **stage} for m, slide in pairs for stage in m["stages"]]
    columns = ["slide", "split", "stage", "dsc", "iou", "hd_um", "hd95_um", "precision", "recall"]
    tile_columns = ["slide", "split", "tiles", "precision", "recall", "f1", "auc", "unreadable"]
    tiles = [{**slide, **m["tiles"]} for m, slide in pairs]
    metrics = pd.DataFrame(rows, columns=columns)
    return metrics.astype(dict.fromkeys(columns[3:], float)), pd.DataFrame(tiles, columns=tile_columns)


def _plain(scores: Mapping[str, float]) -> dict[str, float | None]:
    """JSON has no NaN: what is not defined is None."""
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in scores.items()}
