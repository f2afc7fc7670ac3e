"""Choice of test images for figures: those with the most certain answers, and those that are confused."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from studies.common.class_metrics import called, classes_in, probabilities, truth


def trial_of(predictions: pd.DataFrame, trial: str) -> pd.DataFrame:
    """The predictions of one trial, named `protocol.fold`."""
    protocol, _, fold = trial.rpartition(".")
    return predictions[(predictions["protocol"] == protocol) & (predictions["fold"] == int(fold))]


def with_calls(predictions: pd.DataFrame) -> pd.DataFrame:
    """Predictions with `called` (predicted class), `p` (its probability), `index` (its number), `own` (true number)."""
    names, index = np.array(classes_in(predictions)), called(predictions)
    p = probabilities(predictions)[np.arange(len(index)), index]
    return predictions.assign(called=names[index], p=p, index=index, own=truth(predictions))


def _most_certain_first(predictions: pd.DataFrame) -> pd.DataFrame:
    return with_calls(predictions).sort_values(["p", "file"], ascending=[False, True], kind="stable")


def surest(predictions: pd.DataFrame) -> pd.DataFrame:
    """The most certain correct image of each class, and the most certain wrong one, if there is any, of one trial.

    As `with_calls`, with `kind` ("right" or "wrong"); classes in their order. Of equal probabilities the first file.
    """
    known = _most_certain_first(predictions)
    right = known[known["label"] == known["called"]]
    chosen = [right[right["label"] == name].head(1).assign(kind="right") for name in classes_in(predictions)]
    wrong = known[known["label"] != known["called"]].head(1).assign(kind="wrong")
    return pd.concat([*chosen, wrong], ignore_index=True)


def confused(predictions: pd.DataFrame, classes: Sequence[str], *, pairs: int, at_most: int) -> pd.DataFrame:
    """Images of some classes (the malignant ones) that were taken for another of them, the most certain ones first.

    Of one trial, as `with_calls`; at most `pairs` for each pair of true and predicted class, and `at_most` altogether.
    Of images from one source (`group`) only one is shown, since they look alike.
    """
    mistakes = _most_certain_first(predictions)
    mistakes = mistakes[_mistaken(mistakes, classes)]
    chosen = mistakes.drop_duplicates("group").groupby(["label", "called"], sort=False).head(pairs).head(at_most)
    return chosen.reset_index(drop=True)


def count_confused(predictions: pd.DataFrame, classes: Sequence[str]) -> tuple[int, int]:
    """How many images of some classes were taken for another of them, and how many were tested in all."""
    return int(_mistaken(with_calls(predictions), classes).sum()), len(predictions)


def _mistaken(known: pd.DataFrame, classes: Sequence[str]) -> pd.Series:
    among = known["label"].isin(list(classes)) & known["called"].isin(list(classes))
    return among & (known["label"] != known["called"])
