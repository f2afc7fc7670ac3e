"""Eight tiles with their probabilities: whether a finished model's class and scale are right is seen at a glance."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from drunet.errors import SlideError
from drunet.files import AnyPath
from drunet.grid import Grid
from drunet.report.figures import new_figure, nothing_drawn, save
from drunet.slide import Slide
from drunet.tiles import read_table

COUNT = 8


def chosen_tiles(probabilities: np.ndarray, count: int = COUNT) -> np.ndarray:
    """Places of `count` tiles whose probabilities are spread from the highest to the lowest; NaN is left out.

    >>> chosen_tiles(np.array([0.1, np.nan, 0.9, 0.5, 0.2, 0.1]), 3).tolist()
    [2, 3, 0]
    """
    left = probabilities.astype(float)
    if not np.isfinite(left).any():
        return np.empty(0, int)
    chosen: list[int] = []
    for wanted in np.linspace(np.nanmax(left), np.nanmin(left), count):
        if np.isfinite(left).any():
            chosen.append(int(np.nanargmin(np.abs(left - wanted))))
            left[chosen[-1]] = np.nan
    return np.array(chosen)


def write_tile_picture(
    path: AnyPath, slides: Sequence[tuple[Mapping[str, Any], str]], tiles: Sequence[str], answers: Sequence[str]
) -> None:
    """Draw tiles of slides (ID and µm/px, file) whose tables and classified tiles are given in the same order."""
    tables, grids = [], []
    for number, (table, answer) in enumerate(zip(tiles, answers, strict=True)):
        frame, facts = read_table(table)
        grids.append(Grid.from_dict(facts["grid"]))
        tables.append(frame.merge(read_table(answer)[0], on=["column", "row"]).assign(slide=number))
    known = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame({"p_tumour": [], "slide": []})
    chosen = known.iloc[chosen_tiles(known["p_tumour"].to_numpy())].to_dict("records")
    figure, axes = new_figure(4.4)
    axes[0].set_axis_off()
    if not chosen:
        nothing_drawn(figure, axes[0], "no tile of the first slides is classified")
    for place, tile in enumerate(chosen):
        (row, file), grid = slides[tile["slide"]], grids[tile["slide"]]
        panel = figure.add_subplot(2, COUNT // 2, place + 1)
        panel.set_axis_off()
        panel.set_title(f"{tile['p_tumour']:.3f}  {row['slide_id'][:16]}", fontsize=8)
        try:
            with Slide(file, row["slide_id"], row["mpp"]) as slide:
                panel.imshow(slide.read(tile["x"], tile["y"], (grid.size, grid.size), grid.tile_mpp))
        except SlideError:
            panel.text(0.5, 0.5, "cannot be read", ha="center")
    save(figure, path)
