"""Figures of the study of boxes, and where a network of boxes looks: what is drawn is what was measured."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
from box_answers import TRUE
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Polygon
from shapely.geometry import box as square

from studies.common.images.class_figures import protocol_dumbbell
from studies.ct_boxes.figures import ANNOTATED, PREDICTED, BoxPicture, box_pictures, iou_boxes
from studies.ct_boxes.pictures import box_attention

PREDICTED_EDGES = tuple(f"p{edge}" for edge in TRUE)


def picture(predicted: list[float], outline: Any = None) -> BoxPicture:
    image = np.zeros((40, 60), np.uint8)
    image[10:20, 20:35] = 200
    row = dict(zip((*TRUE, *PREDICTED_EDGES), [20.0, 10.0, 35.0, 20.0, *predicted], strict=True))
    return BoxPicture(row, "B\nIoU 0.50", image, outline, np.zeros((40, 60), np.float32))


def rings(figure: Figure, axes: int) -> dict[str, list[list[float]]]:
    """Corners of what is drawn, as edges of pixels, by colour."""
    patches = [patch for patch in figure.axes[axes].patches if isinstance(patch, Polygon)]
    return {to_hex(patch.get_edgecolor()): (patch.get_xy()[:-1] + 0.5).tolist() for patch in patches}


def test_both_boxes_stand_where_they_are_in_the_slice() -> None:
    figure = box_pictures([picture([18, 12, 33, 24], square(20, 12, 30, 22))])
    annotated = {ANNOTATED.lower(): [[20, 10], [35, 10], [35, 20], [20, 20]]}
    assert rings(figure, 1) == annotated
    assert rings(figure, 2) == {**annotated, PREDICTED.lower(): [[18, 12], [33, 12], [33, 24], [18, 24]]}
    assert figure.axes[1].get_xlim() == (-0.5, 59.5) and figure.axes[1].get_ylim() == (39.5, -0.5)
    assert [axes.get_title() for axes in figure.axes[:6]][3:] == ["zoom", "Sobel outline", "attention"]


def test_the_zoom_is_a_square_round_the_predicted_box_and_holds_the_outline() -> None:
    figure = box_pictures([picture([18, 12, 38, 22], square(20, 12, 30, 22))])
    left, right = figure.axes[3].get_xlim()
    bottom, top = figure.axes[3].get_ylim()
    assert (right - left, bottom - top) == pytest.approx((28, 28))  # 20 px and a fifth on either side
    assert ((left + right) / 2, (bottom + top) / 2) == pytest.approx((27.5, 16.5))
    (drawn,) = rings(figure, 4).values()
    assert sorted(map(tuple, drawn))[0] == (20, 12) and len(rings(figure, 3)) == 1


@pytest.mark.parametrize("predicted", [[-30, 5, -10, 20], [20, 10, 20, 20], [35, 10, 20, 20]])
def test_a_box_without_an_area_in_the_slice_is_not_enlarged(predicted: list[float]) -> None:
    figure = box_pictures([picture(predicted)])
    assert [len(axes.images) for axes in figure.axes[:6]] == [1, 1, 1, 0, 0, 2]


def test_an_outline_that_was_not_found_is_not_drawn() -> None:
    assert rings(box_pictures([picture([18, 12, 33, 24])]), 4) == {}


def test_every_iou_is_drawn_with_its_mean_and_number() -> None:
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            "arm": ["simple"] * 30 + ["mean"] * 10,
            "row": (["B"] * 10 + ["A"] * 20) + ["B"] * 10,
            "protocol": ["random", "grouped"] * 20,
            "iou": rng.uniform(0, 1, 40),
        }
    )
    figure = iou_boxes(frame, 0.7)
    first = figure.axes[0]
    assert [text.get_text() for text in first.texts] == ["n 5", "n 5", "n 10", "n 10"]
    means = [float(np.asarray(line.get_xdata())[0]) for line in first.get_lines() if line.get_marker() == "D"]
    there = frame[frame["arm"] == "simple"].groupby(["row", "protocol"], sort=False)["iou"].mean()
    expected = [there[row, p] for row in ("B", "A") for p in ("random", "grouped")]
    assert means == pytest.approx(expected)
    assert [label.get_text() for label in first.get_yticklabels()] == ["B", "A"]


def test_the_dumbbell_takes_one_score_and_says_what_leaks() -> None:
    frame = pd.DataFrame(
        {"arm": ["a", "a"], "metric": "iou", "protocol": ["random", "grouped"], "mean": [0.8, 0.3], "leak": [0.9, 0.0]}
    )
    figure = protocol_dumbbell(frame, {"iou": "mean IoU"}, leak="of the slices leak", of="on slices")
    assert figure.axes[0].get_xlabel() == "mean IoU on slices"
    assert figure.legends[0].texts[0].get_text() == "random split: 90 % of the slices leak"


def test_a_page_without_slices_says_so() -> None:
    nothing = pd.DataFrame(columns=["arm", "row", "protocol", "iou"])
    for figure in (box_pictures([]), iou_boxes(nothing, 0.7)):
        assert len(figure.axes[0].texts) == 1


# Where a network looks


def test_without_attention_of_its_own_a_network_has_no_map() -> None:
    inputs = keras.Input((16, 12, 1))
    model = keras.Model(inputs, keras.layers.Flatten()(inputs))
    assert box_attention(model, np.ones((2, 16, 12, 1), np.float32)) is None
    shown = picture([18, 12, 33, 24])
    titles = [axes.get_title() for axes in box_pictures([replace(shown, attention=None)]).axes]
    # Five panels, and no colour bar either.
    assert titles == ["slice", "annotated", "predicted", "zoom", "Sobel outline"]


def test_attention_of_its_own_is_shown_enlarged() -> None:
    inputs = keras.Input((16, 16, 1))
    pooled = keras.layers.AveragePooling2D(4, name="attention")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(4)(keras.layers.Flatten()(pooled)))
    images = np.zeros((1, 16, 16, 1), np.float32)
    images[0, 8:12, 4:8] = 0.5
    found = box_attention(model, images)
    assert found.shape == (1, 16, 16) and found[0, 9:11, 5:7].min() > 0.7 and found[0, 0, 15] == 0
