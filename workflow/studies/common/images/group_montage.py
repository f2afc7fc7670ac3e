"""Montage of groups: images that come from one source, side by side."""

from __future__ import annotations

import os
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from drunet.report.figures import STYLE, WIDTH
from studies.common.images.folder import read_image

# Images across the page, and of one group at most.
COLUMNS = 8
# Side of an image and the white beside it, px.
_SIDE, _GAP = 192, 8


def group_montage(images: pd.DataFrame, root: str | os.PathLike[str], groups: pd.Series, rows: int = 6) -> Figure:
    """The images of some groups, side by side; classes in turn, each from its largest group down to its middle one.

    `images`: file, label. `root`: the folder that `file` lies below. `groups`: group of each image, with the index of
    `images`. `rows`: groups shown, fewer where there are fewer. Small groups share a line.
    """
    chosen = choose_groups(images, groups, rows)
    members = {group: images[groups == group].sort_values("file") for group in chosen}
    columns = min(COLUMNS, max(len(own) for own in members.values()))
    across = min(COLUMNS // columns, len(chosen))
    lines = -(-len(chosen) // across)
    with matplotlib.rc_context(STYLE):
        # The title of each line, and the figure's.
        figure = Figure(figsize=(WIDTH, 0.4 + lines * (WIDTH / COLUMNS + 0.2)), layout="constrained")
        FigureCanvasAgg(figure)
        title = f"Images of one source ({groups.nunique():,} groups of {len(images):,} images)"
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
        panels = figure.subplots(lines, across, squeeze=False).ravel()
        for axes in panels:
            axes.set_axis_off()
        for axes, own in zip(panels, members.values(), strict=False):
            axes.imshow(_strip([Path(root) / file for file in own["file"][:columns]], columns), interpolation="lanczos")
            axes.set_anchor("W")
            count = "1 image" if len(own) == 1 else f"{len(own):,} images"
            count = count if len(own) <= columns else f"{columns} of {count}"
            axes.set_title(f"{own['label'].iloc[0]}, {count}", fontsize=9, fontweight="normal", pad=3)
    return figure


def choose_groups(images: pd.DataFrame, groups: pd.Series, rows: int) -> list[str]:
    """Names of the groups to show: classes in turn, each from its largest group to its middle one."""
    sizes = pd.DataFrame({"label": images["label"], "group": groups}).value_counts().reset_index()
    sizes = sizes.sort_values(["count", "group"], ascending=[False, True])
    of_class = [own["group"].to_numpy() for _, own in sizes.groupby("label", sort=True)]
    turns = -(-rows // len(of_class))
    places = [(own, turn / max(1, turns - 1) * (len(own) - 1) / 2) for turn in range(turns) for own in of_class]
    return list(dict.fromkeys(str(own[round(place)]) for own, place in places))[:rows]


def _strip(paths: list[Path], columns: int) -> np.ndarray:
    """Images side by side on white, each as large as fits, with room for `columns`: uint8 (h, w, 3)."""
    strip = Image.new("RGB", (columns * (_SIDE + _GAP), _SIDE), "white")
    for k, path in enumerate(paths):
        picture = Image.fromarray(read_image(path))
        scale = _SIDE / max(picture.size)
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        strip.paste(picture.resize(size, Image.Resampling.LANCZOS), (k * (_SIDE + _GAP), 0))
    return np.asarray(strip)
