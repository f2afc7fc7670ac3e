"""Features of tiles by an encoder, kept once per slide: a NumPy file with a row per tile of the slide's tile table.

It is mapped into memory, so that a slide of any size takes no more than a batch. NaN is a tile that could not be read.
"""

import os
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import numpy as np
import pandas as pd

from drunet.errors import DrunetError, ModelError
from drunet.files import AnyPath, whole_file
from drunet.inference import Classified, EngineOptions, Layout, check_classifier, streamed
from drunet.outcome import require_result
from drunet.slide import Slide

_ROWS = 4096


def write_features(
    path: AnyPath,
    session: Any,
    open_reader: Callable[[], Slide],
    table: pd.DataFrame,
    *,
    kept: str,
    size: int,
    mpp: float,
    options: EngineOptions,
    where: str,
) -> None:
    """Write the features of a slide's tiles, (tiles, features), in the order of its table.

    `session` is of an encoder in the form of `drunet.export.encoder`; `table` has x, y: level-0 px of the tiles' top
    left corners; `kept`, float16 or float32, is the type in which they are kept; the rest is as for
    `drunet.inference.classify`. Raises ModelError if features are not finite, or too large for that type, and
    SlideError as `classify`.
    """
    name = check_classifier(session, Layout(), size, where=where, outputs=False)
    width = int(session.get_outputs()[0].shape[1])
    x, y = table["x"].to_numpy(), table["y"].to_numpy()
    batches = streamed(open_reader, x, y, size=size, mpp=mpp, options=options, where=where)
    with whole_file(path) as temporary, closing(batches):
        if not len(table):
            # An empty file cannot be mapped.
            np.save(temporary, np.zeros((0, width), kept))
            return
        rows = np.lib.format.open_memmap(temporary, "w+", np.dtype(kept), (len(table), width))
        for index, tiles, readable in batches:
            answer = session.run(None, {name: tiles.astype(np.float32)})[0]
            with np.errstate(over="ignore"):
                held = answer.astype(kept)
            if not np.isfinite(held).all():
                found = f"up to {np.abs(answer).max():g}, kept as {kept}"
                mend = "Set `kept: float32`; with `inference.precision: float16`, try float32."
                raise ModelError("features of tiles are not finite", where=where, found=found, mend=mend)
            rows[index] = np.where(readable[:, None], held, np.array(np.nan, kept))
        rows.flush()


def open_features(path: AnyPath, table: pd.DataFrame) -> np.ndarray:
    """Map a slide's features, (tiles, features), into memory.

    Raises FailedSlideError if the slide has none, and DrunetError if they are not those of this tile table.
    """
    require_result(path)
    rows: np.ndarray = np.load(path, mmap_mode="r" if len(table) else None, allow_pickle=False)
    if len(rows) != len(table):
        found, mend = f"{len(rows)} rows for {len(table)} tiles", "Delete the file and run the workflow again."
        raise DrunetError("features and tiles do not belong together", where=os.fspath(path), found=found, mend=mend)
    return rows


def classify_features(session: Any, features: np.ndarray, *, where: str) -> Classified:
    """Classify tiles by features (tiles, features) with a head's session; raises ModelError if they do not fit."""
    entry, start = session.get_inputs()[0], time.perf_counter()
    if entry.shape[-1] != features.shape[1]:
        found = f"{features.shape[1]} features, where the head learnt from {entry.shape[-1]}"
        mend = "Delete the features and run the workflow again."
        raise ModelError("the head was trained on other features", where=where, found=found, mend=mend)
    p_tumour = np.full(len(features), np.nan, np.float32)
    for begin in range(0, len(features), _ROWS):
        rows = features[begin : begin + _ROWS].astype(np.float32)
        readable = np.isfinite(rows[:, 0])
        answer = session.run(None, {entry.name: np.where(readable[:, None], rows, 0)})[0][:, 1]
        p_tumour[begin : begin + _ROWS] = np.where(readable, answer, np.nan)
    return Classified(p_tumour, int(np.isnan(p_tumour).sum()), time.perf_counter() - start)
