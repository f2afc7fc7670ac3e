"""Figures of the readers' scores, and the blinded picture of a case."""

from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from drunet.files import whole_file
from drunet.report import overlay as paint
from drunet.report.figures import INK, PALETTE, STYLE, WIDTH
from drunet.slide import Slide
from studies.scores.sheets import SCALE

# Meanings of 0 to 5 in a word or two, for the axis.
SHORT = ("not\njudged", "wrong", "large part\nmissing", "some wrong\nareas", "few wrong\nareas", "whole\ntumour")
MARKERS = ("o", "s", "^", "D", "v", "P")
OUTLINE: paint.Colour = (255, 214, 10)
RIM: paint.Colour = (20, 24, 30)


def distribution_figure(scores: pd.DataFrame) -> Figure:
    """Bars: how often each reader gave each score at the first presentation, a panel per run."""
    first = scores[scores["presentation"] == 1]
    readers = list(dict.fromkeys(first["reader"]))
    width = 0.8 / len(readers)
    with matplotlib.rc_context(STYLE):
        figure, panels = _panels(first, 1.0, 2.3, sharey=True)
        for run, panel in panels.items():
            for number, reader in enumerate(readers):
                given = first.loc[(first["run"] == run) & (first["reader"] == reader), "score"]
                counts = [int((given == value).sum()) for value in SCALE]
                place = np.arange(len(SCALE)) + (number - (len(readers) - 1) / 2) * width
                label = f"{reader} (n = {len(given)})"
                bars = panel.bar(place, counts, width * 0.92, color=PALETTE[number % len(PALETTE)], label=label)
                panel.bar_label(bars, [str(c) if c else "" for c in counts], fontsize=8.5, color=INK, padding=1)
            panel.set_ylabel("segmentations")
            panel.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
            panel.grid(axis="y")
            panel.margins(y=0.12)
            # 0 is no score of quality: a line separates it from the others.
            panel.axvline(0.5, color=INK, linewidth=0.8, linestyle=(0, (1, 2)))
            _legend_beside_title(panel)
        panel.set_xticks(list(SCALE), [f"{v}\n{words}" for v, words in zip(SCALE, SHORT, strict=True)])
        panel.set_xlabel("score")
    return figure


def dice_figure(scores: pd.DataFrame) -> Figure:
    """Points: Dice and score of each rated segmentation, a panel per run, a marker per reader."""
    rated = scores[(scores["presentation"] == 1) & (scores["score"] > 0) & scores["dsc"].notna()]
    readers = list(dict.fromkeys(scores["reader"]))
    with matplotlib.rc_context(STYLE):
        figure, panels = _panels(scores, 0.9, 2.5)
        for run, panel in panels.items():
            for number, reader in enumerate(readers):
                points = rated[(rated["run"] == run) & (rated["reader"] == reader)]
                # A small vertical shift per reader, so that equal scores do not hide each other.
                shifted = points["score"] + 0.16 * (number - (len(readers) - 1) / 2)
                style: Any = {"marker": MARKERS[number % len(MARKERS)], "color": PALETTE[number % len(PALETTE)]}
                label = f"{reader} (n = {len(points)})"
                panel.scatter(points["dsc"], shifted, s=34, alpha=0.85, linewidths=0, label=label, **style)
            panel.set(xlim=(-0.02, 1.02), ylim=(0.5, 5.5), yticks=range(1, 6), ylabel="score")
            panel.grid()
            _legend_beside_title(panel)
        panel.set_xlabel("Dice similarity coefficient of the segmentation")
    return figure


def draw_outline(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Draw the edge of a mask, bool of any size, over an image, uint8 (h, w, 3): a yellow line in a dark rim."""
    height, width = image.shape[:2]
    inside = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR) >= 0.5
    edges, _ = cv2.findContours(inside.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    picture = np.ascontiguousarray(image).copy()
    core = max(1, round(max(height, width) / 700))
    for colour, thickness in ((RIM, core + 2), (OUTLINE, core)):
        cv2.drawContours(picture, edges, -1, colour, thickness, cv2.LINE_AA)
    return picture


def write_case(path: str | Path, slide: Slide, mask: np.ndarray, longest: int) -> None:
    """Write a slide with a model's outline as JPEG, with a scale bar and a legend, without a name of it."""
    size = slide.properties
    scale = min(1.0, longest / max(size.width, size.height))
    shape = max(1, round(size.height * scale)), max(1, round(size.width * scale))
    picture = paint.add_scale_bar(draw_outline(slide.read_whole(shape), mask), size.mpp * size.width / shape[1])
    words = "outlined as tumour" if mask.any() else "nothing on this slide was outlined as tumour"
    with whole_file(path) as temporary:
        # Full colour resolution: halved, it would smear the thin line.
        picture = paint.add_legend(picture, [(words, OUTLINE)])
        Image.fromarray(picture).save(temporary, quality=90, subsampling=0)


def _panels(
    scores: pd.DataFrame, base: float, height: float, *, sharey: bool = False
) -> tuple[Figure, dict[str, Axes]]:
    """A titled panel per run, one below the other; heights in inches."""
    runs = list(dict.fromkeys(scores["run"]))
    figure = Figure(figsize=(WIDTH, base + height * len(runs)), layout="constrained")
    panels = figure.subplots(len(runs), squeeze=False, sharex=True, sharey=sharey)[:, 0]
    for panel, run in zip(panels, runs, strict=True):
        panel.set_title(f"run {run}")
    return figure, dict(zip(runs, panels, strict=True))


def _legend_beside_title(panel: Axes) -> None:
    # Inside, it could hide bars or points.
    panel.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3, fontsize=9, borderaxespad=0.3)
