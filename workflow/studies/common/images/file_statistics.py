"""A classifier that sees no pixel: logistic regression on facts of the files that images were collected from.

What it distinguishes differs by where it comes from. A network that is shown grey pictures of one format does not see
these facts themselves, but what goes with them: sharpness, noise, the grain of a compression, a scaled-down picture.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from studies.common.ct.facts import FACTS
from studies.common.errors import ImageSetError

# Facts that are names and no numbers: each name becomes a column of 0 and 1.
_NAMES = ("format",)


def file_features(facts: pd.DataFrame) -> tuple[NDArray[np.float64], list[str]]:
    """Describe images by the files that they were collected from: float64 (n, d), NaN where not known, and what each
    column is.

    `facts` has a row per image with the columns `studies.common.ct.facts.FACTS`; ImageSetError if one is missing.
    """
    if lacking := [name for name in FACTS if name not in facts.columns]:
        mend = "Collect the images again."
        raise ImageSetError("the table of sources lacks facts", where="sources", found=", ".join(lacking), mend=mend)
    numbers = facts[[name for name in FACTS if name not in _NAMES]].astype(np.float64)
    names = pd.get_dummies(facts[list(_NAMES)].astype(str), prefix_sep=" ", dtype=np.float64)
    table = pd.concat([numbers, names], axis=1)
    return table.to_numpy(np.float64), [str(column) for column in table.columns]


def file_statistics_model() -> ClassifierMixin:
    """Logistic regression (L2, C = 1) on standardised facts.

    What is not known takes the median of the training set, and a column of its own says that it is not known:
    that a file has no JPEG quality tells its source too.
    """
    return make_pipeline(
        SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True),
        StandardScaler(),
        LogisticRegression(max_iter=1000),
    )
