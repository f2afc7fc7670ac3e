"""Grad-CAM of the CT networks: the images that are chosen, the maps, and the boxes that they cover."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from keras import layers
from PIL import Image

from studies.ct_pneumonia import attention as ct_attention
from studies.ct_pneumonia import tables
from studies.ct_pneumonia.attention_maps import COVERAGE, ArmMaps, read_coverage

CLASSES = ["Non-cancer", "Cancer"]


def answers(files: list[str], groups: list[str], p: list[float], label: str = "Cancer") -> pd.DataFrame:
    frame = pd.DataFrame({"file": files, "label": label, "group": groups, "protocol": "grouped", "fold": 0})
    return frame.assign(**{"p_Non-cancer": 1 - np.array(p), "p_Cancer": p})


def boxes_of(files: list[str]) -> pd.DataFrame:
    return pd.DataFrame({"file": files, "xmin": "8", "ymin": "8", "xmax": "24", "ymax": "20"})


def test_images_on_which_all_are_correct_come_first_then_the_most_certain_one_per_patient() -> None:
    files, groups = list("abcdef"), ["1", "1", "2", "3", "4", "5"]
    first = answers(files, groups, [0.9, 0.95, 0.99, 0.7, 0.6, 0.99])
    second = answers(files, groups, [0.9, 0.95, 0.4, 0.7, 0.6, 0.99])
    other = answers(["z"], ["9"], [0.99], "Non-cancer")
    shown, compared = ct_attention.choose_images(
        [pd.concat([first, other]), pd.concat([second, other])],
        boxes_of(list("abcde")),  # f has none
        trial="grouped.0",
        positive="Cancer",
        images=4,
        coverage_images=3,
    )
    # c is surer than d and e, but one network is wrong about it; a is of b's patient.
    assert shown["file"].tolist() == ["b", "d", "e", "c"]
    assert shown["right"].tolist() == [2, 2, 2, 1] and (shown["networks"] == 2).all()
    assert shown["p"].tolist() == pytest.approx([0.95, 0.7, 0.6, 0.695])
    assert compared["file"].tolist() == ["a", "c", "e"]
    bare, none = ct_attention.choose_images(
        [first, second], boxes_of([]), trial="grouped.0", positive="Cancer", images=2, coverage_images=3
    )
    assert bare["file"].tolist() == ["f", "b"] and none.empty


@pytest.fixture(scope="module")
def mapped(tmp_path_factory: pytest.TempPathFactory) -> tuple[ArmMaps, pd.DataFrame, Path]:
    """A small network whose class score is the mean of its red channel's convolution: the map is the picture's red."""
    folder = tmp_path_factory.mktemp("maps")
    image = keras.Input((16, 16, 3), name="input_image")
    x = layers.Conv2D(3, 1, use_bias=False, trainable=False, name="first")(image)
    x = layers.Conv2D(2, 1, use_bias=False, name="second")(x)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(image, layers.Dense(2, use_bias=False, activation="softmax", name="softmax")(x))
    model.set_weights(
        [
            np.eye(3).reshape(1, 1, 3, 3),
            np.array([[1, 0], [0, 0], [0, 0]]).reshape(1, 1, 3, 2),
            np.array([[-1, 1], [0, 0]]),
        ]
    )
    pictures = {}
    for name, (left, right) in {"a": (8, 24), "b": (0, 8)}.items():
        pixels = np.zeros((32, 32, 3), np.uint8)
        pixels[8:20, left:right, 0] = 255
        Image.fromarray(pixels).save(folder / f"{name}.png")
        pictures[name] = pixels
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ct_attention, "rebuild", lambda facts, weights: model)
        facts = {
            "classes": CLASSES,
            "view": {
                "size": 16,
                "short_side": 16,
                "fit": "stretch",
                "crop_scale": [1.0, 1.0],
                "crop_ratio": [1.0, 1.0],
            },
        }
        frame = answers(["a.png", "b.png"], ["1", "2"], [0.9, 0.4])
        boxes = boxes_of(["a.png", "b.png"])
        shown, compared = ct_attention.choose_images(
            [frame], boxes, trial="grouped.0", positive="Cancer", images=3, coverage_images=9
        )
        maps, covered = ct_attention.map_arm(
            facts,
            folder,
            folder,
            boxes,
            shown,
            compared,
            frame,
            trial="grouped.0",
            positive="Cancer",
            options={"score": "log_odds", "threshold": 0.5, "found": 0.5},
            layer=None,
            layers=2,
        )
    maps.write(folder / "maps.npz")
    covered.to_csv(folder / "coverage.tsv", sep="\t", index=False)
    return maps, covered, folder


def test_a_map_lies_where_its_evidence_is_and_boxes_are_measured_there(
    mapped: tuple[ArmMaps, pd.DataFrame, Path],
) -> None:
    maps, covered, folder = mapped
    assert maps.layer_names.tolist() == ["first", "second"] and str(maps.last_name) == "second"
    np.testing.assert_allclose(maps.last[0], maps.images[0][..., 0] / 255, atol=1e-5)
    assert maps.boxes_of(0).tolist() == [[4, 4, 12, 10]]  # half of the image's size
    assert maps.group_sizes.tolist() == [1, 1, 2] and np.isfinite(maps.groups).all()
    assert list(covered.columns) == list(COVERAGE)
    rows = covered.set_index("file")
    assert rows["share"].tolist() == pytest.approx([1.0, 0.0]) and rows["found"].tolist() == [True, False]
    assert rows["right"].tolist() == [True, False]
    assert rows["highlighted"].tolist() == pytest.approx([16 * 12 / 32**2, 8 * 12 / 32**2])
    again, table = ArmMaps.read(folder / "maps.npz"), read_coverage(folder / "coverage.tsv")
    np.testing.assert_array_equal(again.groups, maps.groups)
    assert table["right"].tolist() == [True, False] and table["group"].tolist() == ["1", "2"]


def test_the_table_of_boxes_counts_what_is_found_and_averages_shares(
    mapped: tuple[ArmMaps, pd.DataFrame, Path],
) -> None:
    _, covered, _ = mapped
    table = tables.coverage_table({"net": covered, "other": covered.iloc[:0]}, resamples=50, seed=0)
    row = table.iloc[0]
    assert len(table) == 1 and (row["boxes"], row["layer"]) == (2, "second")
    assert row["found"] == "1 of 2" and row["found, of correct images"] == "1 of 1"
    assert row["share of the box covered"].startswith("0.500 (")
    long = tables.coverage_metrics(["ct/net"], [covered], "grouped").set_index("metric")["value"]
    assert long["box_covered"] == pytest.approx(0.5) and long["box_found"] == 0.5


@pytest.mark.slow
def test_the_figures_of_maps_have_a_picture_for_every_network_and_say_where_there_is_none(
    mapped: tuple[ArmMaps, pd.DataFrame, Path],
) -> None:
    maps, _, _ = mapped
    shown = pd.DataFrame({"file": ["a", "b"], "group": ["1", "2"], "p": [0.9, 0.4], "right": [7, 3], "networks": 7})
    by_label = {f"network {k}": maps for k in range(7)}
    for figure, pictures in (
        (tables.last_maps_figure(by_label, shown), 2 * 8),
        (tables.layers_figure(by_label), 7 * 3),
        (tables.averages_figure(by_label), 3 * 7),
    ):
        assert sum(bool(axes.get_images()) for axes in figure.axes[:-1]) == pictures
    titles = [axes.get_title() for axes in tables.last_maps_figure(by_label, shown).axes]
    assert "network 0\nsecond" in titles
    shallow = {"net": replace(maps, layer_names=maps.layer_names[:0], layers=maps.layers[:0])}
    assert "no layers over the depth" in tables.layers_figure(shallow).axes[0].texts[0].get_text()
