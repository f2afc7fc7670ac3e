"""Which test images a figure shows: those that a network is surest of, and those that it confuses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from studies.common.class_metrics import called, classes_in, probabilities, truth

RIGHT, WRONG = "right", "wrong"


def with_calls(predictions: pd.DataFrame) -> pd.DataFrame:
    """Predictions with `called` (name of the likeliest class), `p` (its probability) and `index` (its number)."""
    names, index = np.array(classes_in(predictions)), called(predictions)
    p = probabilities(predictions)[np.arange(len(index)), index]
    return predictions.assign(called=names[index], p=p, index=index, own=truth(predictions))


def surest(predictions: pd.DataFrame) -> pd.DataFrame:
    """One image per class that a network is surest of and right about, and the surest wrong one, if there is any.

    Parameters
    ----------
    predictions : DataFrame
        Of one protocol and fold.

    Returns
    -------
    DataFrame
        As `with_calls`, with `kind` ("right" or "wrong"); classes in their order, the wrong one last. A class of which
        nothing is right is left out. Equal probabilities: the first file.
    """
    known = with_calls(predictions).sort_values(["p", "file"], ascending=[False, True], kind="stable")
    right = known[known["label"] == known["called"]]
    chosen = [right[right["label"] == name].head(1) for name in classes_in(predictions)]
    wrong = known[known["label"] != known["called"]].head(1)
    kinds = [frame.assign(kind=RIGHT) for frame in chosen] + [wrong.assign(kind=WRONG)]
    return pd.concat(kinds, ignore_index=True)


def confused(predictions: pd.DataFrame, classes: Sequence[str], *, pairs: int, at_most: int) -> pd.DataFrame:
    """Images of some classes that were taken for another of them, the surest mistakes first.

    Parameters
    ----------
    predictions : DataFrame
        Of one protocol and fold.
    classes : list of str
        E.g. the malignant ones.
    pairs : int
        At most so many for each pair of true and called class.
    at_most : int
        And so many altogether.

    Returns
    -------
    DataFrame
        As `with_calls`; of images from one source (`group`) only the surest is shown, since they look alike.
    """
    known = with_calls(predictions[predictions["label"].isin(list(classes))])
    mistakes = known[known["called"].isin(list(classes)) & (known["called"] != known["label"])]
    mistakes = mistakes.sort_values(["p", "file"], ascending=[False, True], kind="stable")
    chosen = mistakes.drop_duplicates("group").groupby(["label", "called"], sort=False).head(pairs).head(at_most)
    return chosen.reset_index(drop=True)


def count_confused(predictions: pd.DataFrame, classes: Sequence[str]) -> tuple[int, int]:
    """How many images of some classes were taken for another of them, and how many were tested in all."""
    said = with_calls(predictions)
    among = said["label"].isin(list(classes)) & said["called"].isin(list(classes))
    return int((among & (said["label"] != said["called"])).sum()), len(said)
