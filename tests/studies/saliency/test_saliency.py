"""Maps of influence against finite differences, formulas by hand and exhaustive search."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from keras import layers
from PIL import Image

from drunet.errors import ConfigError, ModelError
from drunet.slide import Slide
from drunet.tiles import write_table
from studies.common.classifier_arms import classified_tiles
from studies.common.page import render_section
from studies.common.saliency.maps import (
    GradCam,
    IntegratedGradients,
    default_layers,
    find_layer,
    grad_cam,
    gradient_saliency,
    integrated_gradients,
    unit_range,
)
from studies.saliency import settings as rules
from studies.saliency.explanation import Explanation, explain, explanation_metrics, read_tiles
from studies.saliency.tables import chosen_table, metrics_table, page_view, saliency_figure
from studies.saliency.tile_choice import FALSE_POSITIVE, TRUE_POSITIVE, choose_tiles, picked_tiles

SIDE = 8
LEGAL_SCORES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "log_odds": lambda p: np.log(p / (1 - p)),
    "log_probability": np.log,
    "probability": lambda p: p,
}


def plain_net(classes: int = 2) -> keras.Model:
    """Convolutions of a smooth activation, so that differences converge."""
    image = keras.Input((SIDE, SIDE, 3))
    x = layers.Conv2D(4, 3, padding="same", activation="softplus", name="first")(image)
    x = layers.Conv2D(3, 3, strides=2, padding="same", activation="tanh", name="second")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(classes, activation="softmax")(x), name="plain")


def three_classes() -> keras.Model:
    return plain_net(3)


def branch(name: str, channels: int, strides: int = 1) -> keras.Model:
    """A trunk in which the same layer names occur in every branch."""
    image = keras.Input((SIDE, SIDE, 3))
    x = layers.Conv2D(4, 3, padding="same", activation="tanh", name="stem")(image)
    x = layers.BatchNormalization(name=f"{name}_bn")(x)
    x = layers.Conv2D(channels, 3, strides=strides, padding="same", activation="softplus", name="last_conv")(x)
    return keras.Model(image, x, name=name)


def fused_net() -> keras.Model:
    """Two models as layers, pooled and joined: DR-fused in small."""
    image = keras.Input((SIDE, SIDE, 3), name="input_image")
    pooled = [layers.GlobalAveragePooling2D()(branch(n, k, s)(image)) for n, k, s in (("dense", 3, 2), ("res", 5, 2))]
    x = layers.Dropout(0.5)(layers.Concatenate()(pooled))
    x = layers.Dense(6, activation="tanh", name="hidden")(x)
    return keras.Model(image, layers.Dense(2, activation="softmax", name="probabilities")(x), name="fused")


def randomised(build: Callable[[], keras.Model], seed: int = 3) -> keras.Model:
    """Weights large enough that the score bends, moving averages other than 0 and 1."""
    model, rng = build(), np.random.default_rng(seed)
    for variable in model.weights:
        drawn = rng.normal(0, 0.5, variable.shape)
        variable.assign(np.abs(drawn) + 0.3 if variable.name in ("moving_variance", "gamma") else drawn)
    return model


def in_float64(build: Callable[[], keras.Model], model: keras.Model) -> keras.Model:
    keras.config.set_dtype_policy("float64")
    try:
        twin = build()
    finally:
        keras.config.set_dtype_policy("float32")
    twin.set_weights(model.get_weights())
    return twin


def pictures(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(size=(count, SIDE, SIDE, 3)).astype(np.float32)


def linear_net() -> tuple[keras.Model, np.ndarray]:
    """A softmax over linear functions, and by how much the last class gains over the first per pixel."""
    image = keras.Input((SIDE, SIDE, 3))
    model = keras.Model(image, layers.Dense(2, activation="softmax")(layers.Flatten()(image)))
    kernel = np.random.default_rng(1).normal(0, 0.3, (SIDE * SIDE * 3, 2))
    model.set_weights([kernel, np.array([0.2, -0.1])])
    return model, (kernel[:, 1] - kernel[:, 0]).reshape(SIDE, SIDE, 3).astype(np.float32)


@pytest.mark.parametrize(
    ("build", "score"),
    [
        (fused_net, "log_odds"),
        (plain_net, "probability"),
        (three_classes, "log_probability"),
        (three_classes, "log_odds"),
    ],
)
def test_the_gradient_is_the_limit_of_central_differences(build: Callable[[], keras.Model], score: Any) -> None:
    model, image, step = randomised(build), pictures(1)[0], 1e-4
    twin = in_float64(build, model)
    nudges = step * np.eye(image.size).reshape(-1, *image.shape)
    value = [LEGAL_SCORES[score](twin.predict(image + s * nudges, verbose=0)[:, 1]) for s in (1, -1)]
    slope = ((value[0] - value[1]) / (2 * step)).reshape(image.shape)
    assert np.abs(slope).max() > 1e-3
    found = gradient_saliency(model, image[None], 1, score=score)
    assert found.shape == (1, SIDE, SIDE) and found.dtype == np.float32
    np.testing.assert_allclose(found[0], np.abs(slope).max(axis=-1), rtol=2e-3, atol=1e-5 * np.abs(slope).max())


def test_batches_change_nothing() -> None:
    model, images = randomised(fused_net), pictures(5)
    for found in (
        [gradient_saliency(model, images, 1, batch_size=n) for n in (2, 16)],
        [integrated_gradients(model, images, 1, steps=7, batch_size=n).attributions for n in (3, 64)],
        [grad_cam(model, images, 1, batch_size=n).combined for n in (2, 16)],
    ):
        np.testing.assert_allclose(found[0], found[1], rtol=1e-4, atol=1e-6)


def test_log_odds_have_a_gradient_where_the_probability_has_none_left() -> None:
    model, gain = linear_net()
    kernel, _ = model.get_weights()
    model.set_weights([kernel, np.array([0.0, 45.0])])  # the other class has a probability of about 1e-20
    images = pictures(2)
    assert model.predict(images, verbose=0)[:, 1].min() == 1
    assert not gradient_saliency(model, images, 1, score="probability").max() > 1e-12
    expected = np.abs(gain).max(axis=-1)
    np.testing.assert_allclose(gradient_saliency(model, images, 1), np.stack([expected] * 2), rtol=1e-4)


@pytest.mark.parametrize("baseline", ["black", "white", "mean"])
def test_integrated_gradients_of_a_linear_score_are_exact_in_one_step(baseline: Any) -> None:
    model, gain = linear_net()
    images = pictures(3)
    start = {
        "black": np.zeros_like(images),
        "white": np.ones_like(images),
        "mean": np.ones_like(images) * images.mean(axis=(1, 2), keepdims=True),
    }[baseline]
    found = integrated_gradients(model, images, 1, baseline=baseline, steps=1)
    np.testing.assert_allclose(found.attributions, (images - start) * gain, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.change, ((images - start) * gain).sum(axis=(1, 2, 3)), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.map, np.abs(((images - start) * gain).sum(axis=-1)), rtol=1e-4, atol=1e-5)


def test_integrated_gradients_add_up_to_the_change_of_the_score() -> None:
    model, images = randomised(fused_net), pictures(3)
    found = integrated_gradients(model, images, 1, baseline="white", steps=16)
    odds = [LEGAL_SCORES["log_odds"](model.predict(x, verbose=0)[:, 1]) for x in (images, np.ones_like(images))]
    np.testing.assert_allclose(found.change, odds[0] - odds[1], rtol=1e-3)
    assert np.abs(found.change).min() > 0.01
    np.testing.assert_allclose(found.attributions.sum(axis=(1, 2, 3)), found.change, rtol=2e-3)
    np.testing.assert_allclose(found.gap, found.attributions.sum(axis=(1, 2, 3)) - found.change, atol=1e-6)


def channel_net(*shares: dict[str, tuple[list[int], list[list[float]], int]]) -> keras.Model:
    """Branches that pick colours, pool by 1 or more, and are weighed by hand: (colours, weights per class, pool)."""
    image = keras.Input((SIDE, SIDE, 3))
    pooled, kernels, picks = [], [], []
    for named in shares:
        for name, (colours, weights, pool) in named.items():
            inner = keras.Input((SIDE, SIDE, 3))
            x = layers.Conv2D(len(colours), 1, use_bias=False, name="pick")(inner)
            trunk = keras.Model(inner, layers.AveragePooling2D(pool, name="shrink")(x), name=name)
            pooled.append(layers.GlobalAveragePooling2D()(trunk(image)))
            kernels.append(np.eye(3)[:, colours].reshape(1, 1, 3, -1))
            picks.extend(weights)
    joined = layers.Concatenate()(pooled) if len(pooled) > 1 else pooled[0]
    model = keras.Model(image, layers.Dense(2, activation="softmax", use_bias=False)(joined))
    model.set_weights([*kernels, np.array(picks)])
    return model


def test_grad_cam_of_one_branch_is_what_the_weights_say() -> None:
    model, images = channel_net({"only": ([0, 2], [[0.5, 2.0], [1.0, -3.0]], 1)}), pictures(2)
    # The log odds are (2 - 0.5) mean(red) + (-3 - 1) mean(blue); a place's gradient is a 64th of that.
    expected = np.maximum((1.5 * images[..., 0] - 4 * images[..., 2]) / SIDE**2, 0)
    assert 0 < (expected > 0).mean() < 1
    found = grad_cam(model, images, 1)
    np.testing.assert_allclose(found.combined, expected, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(found.branches["only"], expected, rtol=1e-4, atol=1e-7)
    against = np.maximum(-(1.5 * images[..., 0] - 4 * images[..., 2]) / SIDE**2, 0)
    np.testing.assert_allclose(grad_cam(model, images, 0).combined, against, rtol=1e-4, atol=1e-7)


def test_branches_of_grad_cam_cancel_before_the_negative_part_is_cut() -> None:
    parts = {"left": ([0], [[0.0, 3.0]], 1), "right": ([1, 2], [[0.0, -2.0], [0.0, 0.5]], 1)}
    images = pictures(2)
    found = grad_cam(channel_net(parts), images, 1)
    left, right = 3 * images[..., 0] / 64, (-2 * images[..., 1] + 0.5 * images[..., 2]) / 64
    np.testing.assert_allclose(found.branches["left"], left, rtol=1e-4)
    np.testing.assert_allclose(found.branches["right"], np.maximum(right, 0), rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(found.combined, np.maximum(left + right, 0), rtol=1e-4, atol=1e-7)


def test_branches_of_unlike_sharpness_count_by_their_area() -> None:
    parts = {"sharp": ([0], [[0.0, 3.0]], 1), "coarse": ([0], [[0.0, 3.0]], 4)}
    even = np.full((1, SIDE, SIDE, 3), 0.5, np.float32)
    found = grad_cam(channel_net(parts), even, 1)
    np.testing.assert_allclose(found.branches["sharp"], 1.5 / 64, rtol=1e-4)
    np.testing.assert_allclose(found.branches["coarse"], 1.5 / 4, rtol=1e-4)
    # Both say the same of an even picture: each gives half of the whole, whose mean place is (64 + 4) / 2 of them.
    np.testing.assert_allclose(found.combined, 2 * 1.5 / 34, rtol=1e-4)


def test_grad_cam_has_the_size_of_the_picture_and_no_negative_values() -> None:
    model = randomised(fused_net)
    for found in (grad_cam(model, pictures(2), 1), grad_cam(model, pictures(2), 1, layers=["dense/stem", "res_bn"])):
        for maps in (found.combined, *found.branches.values()):
            assert maps.shape == (2, SIDE, SIDE) and maps.dtype == np.float32 and maps.min() >= 0
        assert list(found.branches) in (["dense", "res"], ["dense/stem", "res_bn"])
    whole, inner = (
        grad_cam(model, pictures(2), 1, layers=["dense"]),
        grad_cam(model, pictures(2), 1, layers=["dense/last_conv"]),
    )
    np.testing.assert_array_equal(whole.combined, inner.combined)


def test_grad_cam_leaves_the_model_as_it_was() -> None:
    model = randomised(fused_net)
    before = model.predict(pictures(2), verbose=0)
    grad_cam(model, pictures(2), 1)
    with pytest.raises(ModelError, match="no places"):
        grad_cam(model, pictures(2), 1, layers=["dense", model.layers[-2].name])
    assert not any("call" in vars(layer) for layer in [*model.layers, *model.get_layer("dense").layers])
    np.testing.assert_array_equal(model.predict(pictures(2), verbose=0), before)


def test_the_last_layers_with_places_are_found() -> None:
    assert default_layers(fused_net()) == ["dense", "res"]
    assert default_layers(plain_net()) == ["second"]
    image = keras.Input((SIDE, SIDE, 3))
    x = layers.Conv2D(4, 3, name="conv")(branch("trunk", 4)(image))
    gate = layers.Reshape((1, 1, 4))(layers.GlobalAveragePooling2D()(x))  # squeeze and excitation
    x = layers.Multiply(name="gated")([x, gate])
    model = keras.Model(image, layers.Dense(2, activation="softmax")(layers.Flatten()(x)))
    assert default_layers(model) == ["gated"]
    with pytest.raises(ModelError, match="no layer's output has places"):
        default_layers(linear_net()[0])


def test_layers_are_found_by_path_or_by_a_name_that_is_unique() -> None:
    model = fused_net()
    inner = model.get_layer("dense").get_layer("last_conv")
    assert find_layer(model, "dense/last_conv") is inner
    assert find_layer(model, "dense_bn") is model.get_layer("dense").get_layer("dense_bn")
    assert find_layer(model, "res") is model.get_layer("res")
    with pytest.raises(ModelError, match=r"several layers.*dense/stem or res/stem"):
        find_layer(model, "stem")
    with pytest.raises(ModelError, match=r"no such layer.*dens_bn.*dense_bn"):
        find_layer(model, "dens_bn")


def test_display_keeps_zero_and_order_and_ends_at_one() -> None:
    maps = np.stack([pictures(1)[0, ..., 0] * 7, np.zeros((SIDE, SIDE), np.float32)])
    shown = unit_range(maps)
    assert shown[0].max() == 1 and not shown[1].any()
    np.testing.assert_allclose(shown[0] * maps[0].max(), maps[0], rtol=1e-6)
    assert (unit_range(maps, 50)[0] == 1).mean() >= 0.5
    np.testing.assert_allclose(unit_range(maps, top=np.array([14.0, 0.0])), maps / 14, rtol=1e-6)


def table(rows: list[tuple[str, int, float]]) -> pd.DataFrame:
    """Tiles (slide, label, p) that lie far from each other."""
    frame = pd.DataFrame(rows, columns=["slide", "label", "p_tumour"])
    return frame.assign(column=10 * np.arange(len(frame)), row=0, x=0, y=0)


TILE = st.tuples(
    st.sampled_from("abcd"), st.sampled_from([0, 1, 1, 0, -1]), st.integers(400, 999).map(lambda k: k / 999)
)
# The surest false positive lies on the only slide that has a true one.
TRAP = [("a", 1, 0.9), ("a", 0, 0.99), ("b", 0, 0.6)]


@settings(max_examples=40, deadline=None)
@given(st.lists(TILE, max_size=9), st.integers(0, 2), st.integers(0, 2), st.randoms(use_true_random=False))
@example(TRAP, 1, 1, Random(0))
@pytest.mark.slow
def test_the_choice_is_the_best_of_all(rows: list[Any], right: int, wrong: int, random: Random) -> None:
    tiles = table(rows)
    chosen = choose_tiles(tiles, true_positives=right, false_positives=wrong, threshold=0.5)
    counts = chosen["kind"].value_counts()
    groups = []
    for kind, label, wanted in ((TRUE_POSITIVE, 1, right), (FALSE_POSITIVE, 0, wrong)):
        fitting = tiles[(tiles["label"] == label) & (tiles["p_tumour"] >= 0.5)]
        groups.append(list(itertools.combinations(fitting.index, min(wanted, len(fitting)))))
        assert counts.get(kind, 0) == min(wanted, len(fitting))
    best = max(
        (tiles.loc[list(a + b), "slide"].nunique(), tiles.loc[list(a + b), "p_tumour"].sum())
        for a, b in itertools.product(*groups)
    )
    assert chosen["slide"].nunique() == best[0]
    assert chosen["p_tumour"].sum() == pytest.approx(best[1], abs=1e-6)
    order = list(range(len(tiles)))
    random.shuffle(order)
    again = choose_tiles(tiles.iloc[order], true_positives=right, false_positives=wrong, threshold=0.5)
    assert again["p_tumour"].tolist() == chosen["p_tumour"].tolist()


def test_tiles_of_a_slide_lie_apart() -> None:
    tiles = table([("a", 1, 0.9), ("a", 1, 0.95), ("a", 1, 0.8), ("a", 1, 0.7)]).assign(
        column=[3, 4, 4, 6], row=[5, 5, 6, 5]
    )
    chosen = choose_tiles(tiles, true_positives=3, false_positives=0, threshold=0.5)
    assert chosen["p_tumour"].tolist() == [0.95, 0.7]
    touching = choose_tiles(tiles, true_positives=3, false_positives=0, threshold=0.5, apart=1)
    assert touching["p_tumour"].tolist() == [0.95, 0.9, 0.8]


def test_tiles_that_were_not_read_or_not_labelled_are_never_chosen() -> None:
    tiles = table([("a", 1, float("nan")), ("a", -1, 0.99), ("a", 0, 0.49)])
    chosen = choose_tiles(tiles, true_positives=3, false_positives=3, threshold=0.5)
    assert len(chosen) == 0 and "kind" in chosen.columns
    assert len(choose_tiles(tiles.iloc[:0], true_positives=1, false_positives=1, threshold=0.5)) == 0


def test_tiles_that_were_picked_are_shown_and_no_others() -> None:
    tiles = table([("a", 1, 0.9), ("a", 0, 0.99), ("b", 1, 0.6), ("b", 1, 0.3), ("c", -1, 0.9)])
    places = [{"slide": s, "column": c, "row": 0} for s, c in (("b", 20), ("a", 0), ("a", 10))]
    chosen = picked_tiles(tiles, places, 0.5)
    assert chosen["p_tumour"].tolist() == [0.99, 0.9, 0.6]
    assert chosen["kind"].tolist() == [FALSE_POSITIVE, TRUE_POSITIVE, TRUE_POSITIVE]
    assert set(choose_tiles(tiles, true_positives=1, false_positives=0, threshold=0.5)) == set(chosen)


@pytest.mark.parametrize(
    ("slide", "column", "found"),
    [
        ("b", 30, "b, column 30, row 0: label 1, probability 0.30"),
        ("c", 40, "label -1, probability 0.90"),
        ("c", 0, "c, column 0, row 0: label nan"),
    ],
    ids=["called non-tumour", "not labelled", "not there"],
)
def test_a_picked_tile_that_is_no_positive_is_refused(slide: str, column: int, found: str) -> None:
    tiles = table([("a", 1, 0.9), ("a", 0, 0.99), ("b", 1, 0.6), ("b", 1, 0.3), ("c", -1, 0.9)])
    with pytest.raises(ConfigError, match=found):
        picked_tiles(tiles, [{"slide": slide, "column": column, "row": 0}], 0.5)


def test_tiles_are_joined_by_place_and_read_where_they_lie(
    tmp_path: Path, colours: Callable[..., np.ndarray], lossless_slide: Callable[..., Path]
) -> None:
    image = colours(96, 128, softness=2.0)
    path = lossless_slide(image, mpp=0.5)
    labelled = pd.DataFrame({"column": [0, 1], "row": [0, 0], "x": [0, 64], "y": [0, 32], "label": [0, 1]})
    write_table(tmp_path / "tiles.parquet", labelled, {})
    seen = pd.DataFrame({"column": [1, 0], "row": [0, 0], "p_tumour": [0.75, 0.25]})
    write_table(tmp_path / "heat.parquet", seen, {})
    joined = classified_tiles(["s"], [tmp_path / "tiles.parquet"], [tmp_path / "heat.parquet"])
    assert joined["p_tumour"].tolist() == [0.25, 0.75] and joined["slide"].tolist() == ["s", "s"]
    found = read_tiles(joined, {"s": (str(path), None)}, 32, 0.5)
    np.testing.assert_array_equal(found[1], image[32:64, 64:96])
    with Slide(path, "s") as slide:
        np.testing.assert_array_equal(found[0], slide.read(0, 0, (32, 32), 0.5))


def test_an_explanation_agrees_with_its_parts() -> None:
    model = randomised(fused_net)
    images = (pictures(2) * 255).astype(np.uint8)
    options: dict[str, Any] = {"score": "log_odds", "baseline": "white", "steps": 4, "layers": None, "batch_size": 2}
    found = explain(model, images, **options)
    scaled = images.astype(np.float32) / 255
    np.testing.assert_allclose(found.probability, model.predict(scaled, verbose=0)[:, 1], rtol=1e-5)
    np.testing.assert_array_equal(found.gradient, gradient_saliency(model, scaled, 1, batch_size=2))
    assert list(found.shown()) == ["gradient", "integrated gradients", "Grad-CAM", "Grad-CAM dense", "Grad-CAM res"]
    for maps in found.shown().values():
        assert maps.min() >= 0 and maps.max() <= 1


def made_explanation(gradient: np.ndarray, other: np.ndarray) -> Explanation:
    integrated = IntegratedGradients(other[..., None], other.sum(axis=(1, 2)) / np.array([1.0, 1.25]))
    images = np.zeros((*gradient.shape, 3), np.uint8)
    return Explanation(images, np.array([0.9, 0.7]), gradient, integrated, GradCam(other, {"only": other}))


def test_metrics_count_tiles_and_tell_how_far_methods_agree() -> None:
    ramp = np.arange(1, SIDE * SIDE + 1, dtype=np.float32).reshape(1, SIDE, SIDE).repeat(2, axis=0)
    chosen = pd.DataFrame(
        {"slide": ["a", "a"], "kind": [FALSE_POSITIVE, TRUE_POSITIVE], "p_tumour": [0.9, 0.8], "column": 0, "row": 0}
    )
    found = explanation_metrics(made_explanation(ramp, ramp[:, ::-1, ::-1]), chosen)
    assert (found["true_positives"], found["false_positives"], found["slides"]) == (1, 1, 1)
    assert found["rank_correlation gradient / integrated gradients"] == pytest.approx(-1)
    assert found["rank_correlation integrated gradients / Grad-CAM"] == pytest.approx(1)
    assert found["integration_gap"] == pytest.approx(0.25, abs=1e-5)
    assert found["probability_difference"] == pytest.approx(0.1)
    assert set(explanation_metrics(None, chosen.iloc[:0])) == {"true_positives", "false_positives", "slides"}


def test_a_branch_without_influence_does_not_look_as_if_it_had_some() -> None:
    strong, weak = np.full((2, SIDE, SIDE), 2.0, np.float32), np.full((2, SIDE, SIDE), 0.1, np.float32)
    made = made_explanation(strong, strong)
    shown = Explanation(
        made.images, made.probability, strong, made.integrated, GradCam(strong + weak, {"a": strong, "b": weak})
    ).shown()
    np.testing.assert_allclose(shown["Grad-CAM"], 1)
    np.testing.assert_allclose(shown["Grad-CAM b"], 0.1 / 2.1, rtol=1e-5)


def words_of(figure: Any) -> str:
    from matplotlib.text import Text

    return " ".join(text.get_text() for text in figure.findobj(Text))


def test_the_figure_says_what_it_shows() -> None:
    chosen = pd.DataFrame({"slide": ["slide_7"], "kind": [TRUE_POSITIVE], "p_tumour": [0.8761]})
    rows = {"gradient": pictures(1)[..., 0], "Grad-CAM": pictures(1)[..., 1]}
    figure = saliency_figure(np.zeros((1, SIDE, SIDE, 3), np.uint8), chosen, rows, side_um=224)
    said = words_of(figure)
    for words in ("slide_7", "p = 0.876", "a  true positive", "224 µm", "gradient", "influence on the decision"):
        assert words in said
    assert sum(len(axes.images) for axes in figure.axes) == 1 + 2 * 2
    nothing = saliency_figure(np.zeros((0, SIDE, SIDE, 3), np.uint8), chosen.iloc[:0], {}, side_um=224)
    assert "no tile was found" in words_of(nothing)


def test_only_classifiers_that_are_trained_here_are_explained() -> None:
    config = {"classifiers": {"dr_fused": {"architecture": "dr_fused"}, "fin": {"onnx": "a.onnx"}}}
    rules.check({"models": ["dr_fused"]}, config)
    with pytest.raises(ConfigError, match=r"no gradients in the pixels of tiles as they are \(found: fin\)"):
        rules.check({"models": ["fin"]}, config)


def test_the_page_says_how_many_tiles_were_found_and_what_is_in_doubt(tmp_path: Path) -> None:
    chosen = pd.DataFrame(
        {"slide": ["a", "a"], "column": [1, 5], "row": 2, "kind": TRUE_POSITIVE, "p_tumour": [0.9, 0.8]}
    )
    (tmp_path / "figures").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "figures/net.png")
    asked = {
        "true_positives": 2,
        "false_positives": 3,
        "split": "test",
        "score": "log_odds",
        "baseline": "white",
        "tiles": [],
    }

    def page(**metrics: float) -> tuple[dict[str, Any], str]:
        view = page_view([("net", chosen_table(chosen), metrics_table("net", "test", metrics))], asked)
        return view, render_section(tmp_path, Path(rules.__file__).with_name("page.md.j2"), view).text

    metrics = {"true_positives": 2.0, "integration_gap": 0.31, "probability_difference": 0.2, "rank_correlation": 0.5}
    view, said = page(**metrics)
    assert "0 of 3 false positive tiles were found on the test slides" in said and "true positive tiles w" not in said
    assert "the decision of net depend on" in said and "gradient of the log odds of tumour (" in said
    assert "the 2 tiles come from 1 slide," in said and "so that white pixels get no" in said
    assert "miss up to 31 %" in said and "other probabilities" in said and "do not show where tumour is" in said
    assert view["models"][0]["tiles"]["tile"].tolist() == ["a", "b"]
    assert view["checks"]["net"].tolist() == ["2", "31.0 %", "2e-01", "0.50"]
    asked["tiles"] = [{"slide": "a", "column": 1, "row": 2}]
    picked = page(**metrics)[1]
    assert "that the configuration names" in picked and "highest probabilities" not in picked
    assert "were found" not in picked and "come from" not in picked
    asked["tiles"] = []
    sound = page(**{**metrics, "integration_gap": 0.01, "probability_difference": 1e-6})[1]
    assert "miss up" not in sound and "other probabilities" not in sound
