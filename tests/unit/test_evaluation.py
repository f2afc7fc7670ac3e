from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
import shapely

from drunet.annotation import Annotation, Region
from drunet.evaluation import STAGES, gather, measure_slide, measure_tiles
from drunet.grid import Grid

# 400 x 200 µm: 20 x 10 cells of 20 µm, and a raster of 100 x 50 px of 4 µm.
GRID = Grid(width=800, height=400, mpp=0.5, tile_mpp=1.0, size=20, step=20)
TUMOUR = shapely.box(160, 80, 480, 320)  # 160 x 120 µm: cells 4-11 across and 2-7 down


def annotated(kind: Any = "wta", **regions: shapely.Geometry) -> Annotation:
    return Annotation(kind, tuple(Region(shape, label, label) for label, shape in regions.items()))  # type: ignore[arg-type]


def cells(box: shapely.Geometry = TUMOUR) -> np.ndarray:
    """The heatmap that is 1 inside a box on cell borders."""
    left, top, right, bottom = (round(v / GRID.cell) for v in box.bounds)
    heatmap = np.zeros(GRID.shape, np.float32)
    heatmap[top:bottom, left:right] = 1
    return heatmap


def picture(shape: tuple[int, int], box: shapely.Geometry = TUMOUR) -> np.ndarray:
    y, x = (np.indices(shape) + 0.5) * np.array([400 / shape[0], 800 / shape[1]])[:, None, None]
    left, top, right, bottom = box.bounds
    return (x > left) & (x < right) & (y > top) & (y < bottom)


def measured(annotation: Annotation, box: shapely.Geometry = TUMOUR, **options: Any) -> dict[str, dict[str, Any]]:
    arrays = {
        "heatmap": cells(box),
        "refined": picture((200, 200), box).astype(np.float32),
        "segmentation": picture((200, 400), box),
    }
    rows = measure_slide(GRID, annotation, **{**arrays, "mpp": 4.0, "threshold": 0.5, **options})
    assert tuple(row["stage"] for row in rows) == STAGES
    json.dumps(rows, allow_nan=False)
    return {row["stage"]: row for row in rows}


def test_a_perfect_segmentation_scores_one_at_every_stage() -> None:
    for stage, row in measured(annotated(tumour=TUMOUR)).items():
        scores = [row[k] for k in ("dsc", "iou", "precision", "recall")]
        # Between cell centres the heatmap is interpolated, which rounds its corners off.
        assert scores == pytest.approx([1, 1, 1, 1], abs=0.02 if stage == "heatmap" else 1e-9)
        assert row["hd_um"] <= (6 if stage == "heatmap" else 0)


def test_a_shifted_segmentation_scores_what_a_hand_works_out() -> None:
    # One cell of eight to the right: 7/8 is shared, 9/8 is the union, and the far edge is 20 µm away.
    shifted = shapely.transform(TUMOUR, lambda xy: xy + (40, 0))
    for stage, row in measured(annotated(tumour=TUMOUR), shifted).items():
        near = {"abs": 0.02} if stage == "heatmap" else {"rel": 1e-9}
        assert row["dsc"] == pytest.approx(7 / 8, **near)
        assert row["iou"] == pytest.approx(7 / 9, **near)
        assert (row["precision"], row["recall"]) == pytest.approx((7 / 8, 7 / 8), **near)
        assert row["hd_um"] == pytest.approx(20, abs=4 if stage == "heatmap" else 1e-9)


def test_between_cell_centres_probabilities_change_evenly() -> None:
    # Cell centres at 190 and 210 µm have 1 and 0.4: the line between them falls to 0.55 at 190 + 20 * 0.45 / 0.6 µm.
    heatmap = np.where(np.arange(20) < 10, 1, 0.4).astype(np.float32) * np.ones((10, 1), np.float32)
    annotation = annotated(tumour=shapely.box(0, 0, 205 / GRID.mpp, 400))
    # The refiner's square, too, has 20 columns of 20 µm.
    rows = measured(annotation, heatmap=heatmap, refined=heatmap.repeat(2, axis=0), mpp=1.0, threshold=0.55)
    assert [(rows[stage]["dsc"], rows[stage]["hd_um"]) for stage in ("heatmap", "refined")] == [(1, 0)] * 2


@pytest.mark.parametrize(("shift", "um"), [((2, 0), 2 * 114 / 11), ((0, 2), 2 * 84 / 8)])
def test_distances_on_a_raster_that_does_not_fit_the_slide_are_exact(shift: tuple[int, int], um: float) -> None:
    # 114 x 84 µm at about 10 µm/px: 11 x 8 px.
    grid = Grid(width=114, height=84, mpp=1.0, tile_mpp=1.0, size=20, step=20)
    predicted = np.zeros((8, 11), bool)
    predicted[2 + shift[1] : 5 + shift[1], 3 + shift[0] : 6 + shift[0]] = True
    (_, row) = measure_slide(
        grid,
        annotated(tumour=shapely.box(3 * 114 / 11, 2 * 84 / 8, 6 * 114 / 11, 5 * 84 / 8)),
        heatmap=np.zeros(grid.shape, np.float32),
        refined=None,
        segmentation=predicted,
        mpp=10.0,
        threshold=0.5,
    )
    assert row["hd_um"] == pytest.approx(um)


def test_the_threshold_holds_for_probabilities_and_counts_itself() -> None:
    annotation = annotated(tumour=TUMOUR)
    for value, found in ((0.69, False), (0.7, True)):
        rows = measured(
            annotation,
            heatmap=np.full(GRID.shape, value, np.float32),
            refined=np.full((50, 50), value, np.float32),
            threshold=0.7,
        )
        assert [rows[s]["recall"] for s in ("heatmap", "refined")] == [float(found)] * 2
        assert rows["segmentation"]["dsc"] == 1


def test_a_run_without_a_refiner_has_two_stages() -> None:
    rows = measure_slide(
        GRID,
        annotated(tumour=TUMOUR),
        heatmap=cells(),
        refined=None,
        segmentation=picture((200, 400)),
        mpp=4.0,
        threshold=0.5,
    )
    assert [row["stage"] for row in rows] == ["heatmap", "segmentation"]
    assert rows[1]["dsc"] == 1


def test_what_was_not_looked_at_counts_as_not_tumour() -> None:
    heatmap = cells()
    heatmap[heatmap == 0] = np.nan
    row = measured(annotated(tumour=TUMOUR), heatmap=heatmap)["heatmap"]
    assert (row["precision"], row["recall"]) == pytest.approx((1, 1))


def test_on_a_partially_annotated_slide_only_marked_regions_count() -> None:
    # All is called tumour; of what is marked two thirds are. What is not marked says nothing.
    normal = shapely.box(500, 80, 660, 320)
    rows = measured(annotated("psa", tumour=TUMOUR, non_tumour=normal), shapely.box(0, 0, 800, 400))
    for row in rows.values():
        assert (row["precision"], row["recall"], row["iou"]) == pytest.approx((2 / 3, 1, 2 / 3), rel=0.01)
        assert row["hd_um"] is None and row["hd95_um"] is None


def test_what_is_to_be_ignored_is_left_out() -> None:
    wrong = shapely.box(600, 40, 760, 360)
    called = picture((200, 400)) | picture((200, 400), wrong)
    without = measured(annotated(tumour=TUMOUR), segmentation=called)["segmentation"]
    ignoring = measured(annotated(tumour=TUMOUR, ignore=wrong), segmentation=called)["segmentation"]
    assert without["precision"] == pytest.approx(76_800 / (76_800 + 51_200), rel=0.01)
    assert (ignoring["precision"], ignoring["recall"]) == (1, 1)


def test_a_slide_without_tumour_that_is_left_alone_scores_one_and_the_rest_is_not_defined() -> None:
    nothing = shapely.box(-2, -2, -1, -1)
    for row in measured(annotated(), nothing, heatmap=np.zeros(GRID.shape, np.float32)).values():
        assert row["dsc"] == 1 and row["precision"] is None and row["recall"] is None


def tile_frames() -> tuple[pd.DataFrame, pd.DataFrame]:
    labelled = pd.DataFrame({"column": [0, 1, 2, 3, 4], "row": [0, 0, 0, 0, 1], "label": [1, 0, -1, 1, 0]})
    # Another order, and one tile that could not be read.
    p = pd.DataFrame({"column": [4, 3, 2, 1, 0], "row": [1, 0, 0, 0, 0], "p_tumour": [0.8, np.nan, 0.9, 0.1, 0.7]})
    return labelled.astype({"label": np.int8}), p.astype({"p_tumour": np.float32})


def test_tiles_are_paired_by_place_and_those_without_a_label_do_not_count() -> None:
    scores = measure_tiles(*tile_frames(), threshold=0.5)
    assert scores["label"] == [1, 0, 1, 0] and scores["p_tumour"] == [0.7, 0.1, None, 0.8]
    assert scores["tiles"] == 3 and scores["unreadable"] == 1
    # Called: 0.7 rightly and 0.8 wrongly; of the two pairs one is in order.
    assert (scores["precision"], scores["recall"], scores["auc"]) == (0.5, 1, 0.5)
    assert scores["f1"] == pytest.approx(2 / 3)
    json.dumps(scores, allow_nan=False)


def test_a_tile_that_is_listed_twice_is_a_defect() -> None:
    labelled, p = tile_frames()
    with pytest.raises(pd.errors.MergeError):
        measure_tiles(labelled, pd.concat([p, p.iloc[:1]]), 0.5)


def test_a_runs_tables_have_the_promised_rows_and_columns() -> None:
    slides = [{"slide": "a", "split": "val", "patient": "p1"}, {"slide": "b", "split": "test", "patient": "p2"}]
    tiles = measure_tiles(*tile_frames(), threshold=0.5)
    stages = [
        list(measured(annotated(tumour=TUMOUR)).values()),
        list(measured(annotated("psa", tumour=TUMOUR)).values()),
    ]
    metrics, tile_metrics = gather([{"stages": s, "tiles": tiles} for s in stages], slides)
    names = "slide split stage dsc iou hd_um hd95_um precision recall"
    assert list(metrics) == names.split()
    assert list(tile_metrics) == ["slide", "split", "tiles", "precision", "recall", "f1", "auc", "unreadable"]
    assert metrics[["slide", "stage"]].to_numpy().tolist() == [[s, stage] for s in "ab" for stage in STAGES]
    assert metrics["split"].tolist() == ["val"] * 3 + ["test"] * 3
    assert metrics["hd_um"].dtype == float and metrics["hd_um"].isna().tolist() == [False] * 3 + [True] * 3
    assert tile_metrics["auc"].tolist() == [0.5, 0.5]


def test_a_slide_that_failed_is_listed_without_scores() -> None:
    slides = [{"slide": s, "split": "test"} for s in "ab"]
    tiles = measure_tiles(*tile_frames(), threshold=0.5)
    stages = [row for row in measured(annotated(tumour=TUMOUR)).values() if row["stage"] != "refined"]
    alone = gather([{"stages": stages, "tiles": tiles}], slides[1:])
    metrics, tile_metrics = gather([None, {"stages": stages, "tiles": tiles}], slides)
    # A row for every stage of the run, and nothing else of any slide changes.
    assert metrics[["slide", "stage"]].to_numpy().tolist() == [
        [s, t] for s in "ab" for t in ("heatmap", "segmentation")
    ]
    assert metrics.loc[:1, "dsc":"recall"].isna().all(axis=None)
    for with_failed, without in zip((metrics, tile_metrics), alone, strict=True):
        own = with_failed[with_failed["slide"] == "b"].reset_index(drop=True)
        pd.testing.assert_frame_equal(own, without, check_dtype=False)
    assert tile_metrics.loc[0, ["tiles", "unreadable"]].tolist() == [0, 0] and pd.isna(tile_metrics.loc[0, "auc"])
    assert tile_metrics["tiles"].dtype.kind == "i"
    assert gather([None], slides[:1])[0]["stage"].tolist() == list(STAGES)


def test_a_run_without_slides_still_has_its_columns() -> None:
    metrics, tile_metrics = gather([], [])
    assert metrics.empty and tile_metrics.empty and "dsc" in metrics and "auc" in tile_metrics
