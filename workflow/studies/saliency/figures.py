"""Figure of tiles and their saliency maps, after Oskouei et al. 2025, Fig. 7."""

from __future__ import annotations

import string
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from studies.common.saliency.attention_figure import Panel, panel_grid

_COLUMNS = 6  # as in the paper; more tiles make a further block
_ID_LETTERS = 14


def saliency_figure(
    images: np.ndarray, chosen: pd.DataFrame, rows: Mapping[str, np.ndarray], *, side_um: float
) -> Figure:
    """Draw every tile, uint8 (n, h, w, 3), in a column, with a map per row over its grey picture.

    `chosen` has slide, p_tumour and kind of the tiles, `rows` maps float32 (n, h, w) in [0, 1] by name.
    """
    told = chosen[["slide", "kind", "p_tumour"]].itertuples(index=False, name=None)
    grid = [[Panel(image, title=_words(k, *row)) for k, (image, row) in enumerate(zip(images, told, strict=True))]]
    grid += [[Panel(image, own) for image, own in zip(images, maps, strict=True)] for maps in rows.values()]
    names = ["\n".join(name.split(" ", 1)) for name in (f"tile, {side_um:g} µm", *rows)]
    return panel_grid(grid if len(images) else [], names, most=_COLUMNS, letters=7.5, nothing="no tile was found")


def _words(place: int, slide: str, kind: str, p: float) -> str:
    """Letter and kind, the ID on lines that fit over a tile, and the probability."""
    broken = [slide[k : k + _ID_LETTERS] for k in range(0, len(slide), _ID_LETTERS)]
    head = f"{string.ascii_lowercase[place % 26]}  {kind}"
    return "\n".join([head, *broken, "p > 0.999" if p > 0.999 else f"p = {p:.3f}"])
