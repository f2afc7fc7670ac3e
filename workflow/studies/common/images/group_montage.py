"""Montage of groups: images that come from one source, side by side."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from drunet.report.words import plural
from studies.common.images.folder import read_image
from studies.common.saliency.attention_figure import Panel, panel_grid

# Images across the page, and of one group at most.
COLUMNS = 8


def group_montage(images: pd.DataFrame, root: str | os.PathLike[str], groups: pd.Series, rows: int = 6) -> Figure:
    """The images (file, label) of some groups, a row each; `root` is the folder that `file` lies below.

    `groups` has the index of `images`. Classes come in turn, each from its largest group down to its middle one.
    """
    panels: list[list[Panel | None]] = []
    words = []
    for group in choose_groups(images, groups, rows):
        own = images[groups == group].sort_values("file")
        shown = [Panel(read_image(Path(root) / file)) for file in own["file"][:COLUMNS]]
        panels.append([*shown, *[None] * (COLUMNS - len(shown))])
        words.append(f"{own['label'].iloc[0]},\n{plural(len(own), 'image')}")
    columns = max(sum(panel is not None for panel in row) for row in panels)
    return panel_grid([row[:columns] for row in panels], words, bar=False)


def choose_groups(images: pd.DataFrame, groups: pd.Series, rows: int) -> list[str]:
    """Names of the groups to show: classes in turn, each from its largest group to its middle one."""
    sizes = pd.DataFrame({"label": images["label"], "group": groups}).value_counts().reset_index()
    sizes = sizes.sort_values(["count", "group"], ascending=[False, True])
    of_class = [own["group"].to_numpy() for _, own in sizes.groupby("label", sort=True)]
    turns = -(-rows // len(of_class))
    places = [(own, turn / max(1, turns - 1) * (len(own) - 1) / 2) for turn in range(turns) for own in of_class]
    return list(dict.fromkeys(str(own[round(place)]) for own, place in places))[:rows]
