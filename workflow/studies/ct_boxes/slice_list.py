"""The list of slices that everything after the conversion reads: a grey picture and a box each."""

from __future__ import annotations

import os

import pandas as pd

from studies.ct_boxes.geometry import COORDINATES

COLUMNS = ("file", "subtype", "patient", "width", "height", *COORDINATES, "boxes")


def read_slices(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read slices.tsv: file, subtype and patient as text, sides and edges (px), and how many boxes the slice had.

    Raises
    ------
    ValueError
        If a column is missing.
    """
    frame = pd.read_csv(path, sep="\t", dtype={"file": str, "subtype": str, "patient": str}, keep_default_na=False)
    if missing := [column for column in COLUMNS if column not in frame.columns]:
        raise ValueError(f"a list of slices lacks {', '.join(missing)}")
    return frame.astype(dict.fromkeys(COORDINATES, float))
