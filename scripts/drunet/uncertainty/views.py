"""How much a classifier's answer depends on what should not matter: how a tile lies, and which patients were left out.

A tile has no up and no left, so that a network which answers a turned or mirrored tile otherwise is unsure of it
(test-time augmentation, Wang et al. 2019). Networks that learnt from other patients disagree where the answer depends
on a few of them (deep ensembles, Lakshminarayanan et al. 2017). Neither shows an error that all views share.
"""

from collections.abc import Callable, Sequence
from contextlib import closing

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from drunet.inference import EngineOptions, Layout, check_classifier, probabilities, streamed
from drunet.slide import Slide


def turned(tiles: NDArray[np.uint8], view: int) -> NDArray[np.uint8]:
    """Tiles (n, s, s, 3) in one of eight views: turned by quarters, from the fifth on mirrored first.

    The order is such that the first two and the first four views differ the most: 0, 180, 90, 270 degrees.
    """
    mirrored = tiles[:, :, ::-1] if view >= 4 else tiles
    return np.ascontiguousarray(np.rot90(mirrored, (0, 2, 1, 3)[view % 4], axes=(1, 2)))


def spread(
    sessions: Sequence[object],
    open_reader: Callable[[], Slide],
    table: pd.DataFrame,
    *,
    views: int,
    size: int,
    mpp: float,
    options: EngineOptions,
    layout: Layout,
    where: str,
) -> pd.DataFrame:
    """Mean and standard deviation of the answers of several networks to several views of every tile of a slide.

    `sessions` are of networks for the same tiles, from `drunet.inference.open_session`; `table` has column, row, and x,
    y: level-0 px of the tiles' top left corners; `views` are 1 to 8, see `turned`; the rest is as for
    `drunet.inference.classify`. A tile is read once. Gives column, row, mean, sd (float32; of all answers, divided by
    their number, so at most 1/2); NaN for a tile that could not be read. Raises ModelError and SlideError as
    `classify`.
    """
    names = [check_classifier(session, layout, size, where=where) for session in sessions]
    answers = np.full((len(table), len(names) * views), np.nan, np.float32)
    x, y = table["x"].to_numpy(), table["y"].to_numpy()
    with closing(streamed(open_reader, x, y, size=size, mpp=mpp, options=options, where=where)) as batches:
        for index, tiles, readable in batches:
            asked = [
                probabilities(session, name, turned(tiles, view), layout, where)
                for session, name in zip(sessions, names, strict=True)
                for view in range(views)
            ]
            answers[index] = np.where(readable[:, None], np.stack(asked, axis=1)[: len(index)], np.nan)
    return table[["column", "row"]].assign(mean=answers.mean(axis=1), sd=answers.std(axis=1))
