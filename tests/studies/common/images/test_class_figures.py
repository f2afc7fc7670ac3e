"""Figures of image classifiers: what is drawn is what was measured, for few and many arms and classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from image_answers import LUNG, answers, history, image_list
from matplotlib.figure import Figure

from drunet.report.figures import save
from studies.common.class_metrics import confusion, mean_roc, roc_curves
from studies.common.images.class_figures import (
    confusion_matrices,
    loss_curves,
    protocol_dumbbell,
    roc_panels,
)
from studies.common.model_figures import cost_scatter
from studies.common.saliency.attention_figure import image_maps

FRAME = answers(image_list(), {"random": 1.5}, run=range(5))


def words(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def drawn(figure: Figure) -> list[str]:
    """Titles of the panels that show something."""
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    return [title for title in titles if title]


def test_every_cell_shows_its_images_and_their_share_of_the_true_class() -> None:
    counts = confusion(FRAME)
    figure = confusion_matrices({"": {"one": counts}}, list(LUNG))
    shown = words(figure)[:9]
    expected = [
        f"{n}\n{100 * n / counts[y].sum():.0f} %" if (n := counts[y, x]) else "0" for y in range(3) for x in range(3)
    ]
    assert shown == expected
    image = figure.axes[0].images[0]
    assert np.asarray(image.get_array()).sum(axis=1) == pytest.approx([100, 100, 100])
    assert image.get_clim() == (0, 100)  # one scale for all panels


@pytest.mark.parametrize(("classes", "arms"), [(2, 8), (5, 7)])
@pytest.mark.slow
def test_many_arms_find_their_places_group_by_group(classes: int, arms: int, tmp_path: Path) -> None:
    names = [f"class_{k}" for k in range(classes)]
    panels = {f"arm {i}": np.full((classes, classes), 100 * i + 10) for i in range(arms)}
    figure = confusion_matrices({"random": panels, "grouped": panels}, names)
    titles = drawn(figure)
    assert titles == [
        f"{group}\narm 0" if i == 0 else f"arm {i}" for group in ("random", "grouped") for i in range(arms)
    ]
    save(figure, tmp_path / "many.png", dpi=60)


def test_a_class_without_images_has_no_share_but_is_drawn() -> None:
    counts = np.array([[4, 0], [0, 0]])
    assert words(confusion_matrices({"": {"one": counts}}, ["a", "b"]))[:4] == ["4\n100 %", "0", "0", "0"]


def test_roc_panels_take_a_curve_per_class_or_a_mean_curve_per_arm() -> None:
    by_class = roc_curves(FRAME)
    figure = roc_panels({"one arm": by_class, "another": {"mean": mean_roc(list(by_class.values()))}})
    first, second = figure.axes[:2]
    assert [text.get_text() for text in first.get_legend().get_texts()] == [
        f"{name}  {curve.auc:.3f}" for name, curve in by_class.items()
    ]
    assert len(second.lines) == 2  # chance, and the mean


@pytest.mark.parametrize("lines", [1, 2, 3])
def test_no_panel_of_roc_curves_is_drawn_over_the_one_above(lines: int) -> None:
    by_class = roc_curves(FRAME)
    titles = ["\n".join([f"panel {number}"] * lines) for number in range(4)]
    figure = roc_panels(dict.fromkeys(titles, by_class))
    figure.canvas.draw()
    above, below = figure.axes[0], figure.axes[2]
    assert below.get_tightbbox().y1 <= above.get_tightbbox().y0


def test_the_dumbbell_joins_both_protocols_and_names_the_leak() -> None:
    rows = [
        {"arm": arm, "metric": metric, "protocol": protocol, "mean": value, "leak": leak}
        for arm in ("one", "two")
        for metric in ("accuracy", "mcc")
        for protocol, value, leak in (("random", 0.98, 0.953), ("grouped", 0.81, 0.0))
    ]
    figure = protocol_dumbbell(pd.DataFrame(rows))
    lines = figure.axes[0].collections[0].get_segments()
    assert [tuple(segment[:, 0]) for segment in lines] == [(0.81, 0.98)] * 2
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "95 % of the test images come from a source that is also in the training set" in legend[0]
    assert legend[1].startswith("grouped split: 0 %")


def test_a_dumbbell_of_one_protocol_has_no_line() -> None:
    frame = pd.DataFrame([{"arm": "one", "metric": "accuracy", "protocol": "grouped", "mean": 0.9, "leak": 0.0}])
    frame = pd.concat([frame, frame.assign(metric="mcc")])
    assert len(protocol_dumbbell(frame).axes[0].collections) == 1


def test_losses_are_medians_over_the_folds_still_training() -> None:
    table = history(FRAME)
    axes = loss_curves({"one": table}).axes[0]
    learnt = axes.lines[0]
    by_hand = [table.loc[table["epoch"] == epoch, "loss"].median() for epoch in learnt.get_xdata()]
    assert learnt.get_ydata() == pytest.approx(by_hand)
    assert len(learnt.get_xdata()) == table["epoch"].max()


def test_validation_that_there_was_none_of_is_not_drawn() -> None:
    table = history(FRAME).assign(val_loss=np.nan)
    assert len(loss_curves({"one": table}).axes[0].lines) == 1


def test_points_of_cost_have_areas_in_proportion_to_parameters() -> None:
    frame = pd.DataFrame(
        {
            "label": ["small", "large", "not timed"],
            "score": [0.9, 0.95, 0.5],
            "low": [0.89, np.nan, 0.4],
            "high": [0.91, np.nan, 0.6],
            "ms": [1.0, 30.0, np.nan],
            "parameters": [1e6, 4e6, 9e6],
        }
    )
    axes = cost_scatter(frame, unit="ms", score="accuracy").axes[0]
    areas = next(c for c in axes.collections if hasattr(c, "get_sizes") and len(c.get_sizes()) == 2).get_sizes()
    assert areas[1] == pytest.approx(4 * areas[0])
    assert sorted(text.get_text() for text in axes.texts) == ["large (4.0 M)", "small (1.0 M)"]


def test_image_maps_have_a_row_per_image_and_a_column_per_map(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 255, (3, 20, 20, 3), dtype=np.uint8)
    maps = {name: np.full((3, 20, 20), 0.5, np.float32) for name in ("C2", "C3")}
    figure = image_maps(images, ["a", "b", "c"], maps)
    panels = [axes for axes in figure.axes if axes.images]
    assert [len(axes.images) for axes in panels] == [1, 2, 2] * 3
    assert [axes.get_ylabel() for axes in panels[::3]] == ["a", "b", "c"]
    save(figure, tmp_path / "maps.png", dpi=60)


def test_image_maps_of_nothing_say_so() -> None:
    figure = image_maps(np.zeros((0, 1, 1, 3), np.uint8), [], {}, nothing="none was confused")
    assert words(figure) == ["none was confused"]
