"""Models that are no networks: support vectors, a forest, nearest neighbours, and regression on facts of files.

The first three are the prior models of Tian et al. 2024 (Table 5), which states neither features nor parameters. Here
an image is described by its colours (a joint HSV histogram) and its edges (HOG of a small grey version). The last sees
no pixel. A network that is shown grey pictures of one format does not see these facts, but what goes with them:
sharpness, noise, the grain of a compression.
"""

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import sklearn
from numpy.typing import NDArray
from scipy.special import expit, softmax
from sklearn.base import ClassifierMixin
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from drunet.console import progress, say
from drunet.errors import ConfigError
from drunet.training.trained import Trained
from studies.common.images.file_facts import FACTS
from studies.common.images.folder import read_image
from studies.common.images.groups import in_order_of
from studies.common.images.splits import HISTORY, class_numbers, draw_trials, images_of, prediction_rows

FILE_STATISTICS = "file_statistics"
HSV_BINS = (8, 4, 4)
HOG_SIDE = 64  # px
_CELL, _ANGLES = 16, 9
_CLIPPED = 0.2  # of a block of length 1: what one strong edge may count (Dalal and Triggs, L2-Hys)
TREES, NEIGHBOURS = 500, 5


def image_features(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Describe an image, uint8 (h, w, 3), by its colours and its edges: float32 (452,).

    128 shares of a joint histogram of hue (8 bins), saturation (4) and value (4), which sum to 1; then 324 numbers of
    the HOG of the grey image at 64 px, see `edge_histograms`.
    """
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    counts = cv2.calcHist([hsv], [0, 1, 2], None, list(HSV_BINS), [0, 180, 0, 256, 0, 256]).ravel()
    way = cv2.INTER_AREA if min(image.shape[:2]) >= HOG_SIDE else cv2.INTER_LINEAR
    grey = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (HOG_SIDE, HOG_SIDE), interpolation=way)
    return np.concatenate([counts / counts.sum(), edge_histograms(np.asarray(grey))]).astype(np.float32)


def edge_histograms(grey: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Histograms of oriented gradients (Dalal and Triggs 2005) of a grey image (s, s); OpenCV 5 has them no more.

    Per block of 2 x 2 cells of 16 px, row by row, the 9 angles of each cell, without sign (bins of 20 degrees, a
    gradient shared between the two nearest by distance), weighted by magnitude; each block has length 1, is clipped at
    0.2 and brought to length 1 again. Flat blocks are 0.
    """
    values = cv2.copyMakeBorder(grey, 1, 1, 1, 1, cv2.BORDER_REPLICATE).astype(np.float64)
    across, down = values[1:-1, 2:] - values[1:-1, :-2], values[2:, 1:-1] - values[:-2, 1:-1]
    magnitude = np.hypot(across, down)
    place = np.degrees(np.arctan2(down, across)) % 180 / (180 / _ANGLES) - 0.5
    lower = np.floor(place).astype(np.int64)
    upper_share = place - lower
    cells = grey.shape[0] // _CELL
    row, column = np.indices(grey.shape) // _CELL
    first = (row * cells + column) * _ANGLES
    histogram = np.zeros(cells * cells * _ANGLES)
    for angle, share in ((lower, 1 - upper_share), (lower + 1, upper_share)):
        votes = (first + angle % _ANGLES).ravel()
        histogram += np.bincount(votes, (magnitude * share).ravel(), minlength=len(histogram))
    by_cell = histogram.reshape(cells, cells, _ANGLES)
    corners = (by_cell[:-1, :-1], by_cell[:-1, 1:], by_cell[1:, :-1], by_cell[1:, 1:])
    blocks = np.concatenate(corners, axis=-1).reshape(-1, 4 * _ANGLES)
    return _unit_length(np.minimum(_unit_length(blocks), _CLIPPED)).ravel()


def _unit_length(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    # A grey level's step counts: below it there is no edge to scale up.
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)


def build_prior_model(kind: str, seed: int) -> ClassifierMixin:
    """A scikit-learn classifier; scikit-learn's own parameters but for 500 trees."""
    if kind == "svm":
        # Ties between one-against-one votes are broken by the decision values, of which the probabilities are made.
        return make_pipeline(StandardScaler(), SVC(kernel="rbf", break_ties=True))
    if kind == "random_forest":
        return RandomForestClassifier(TREES, random_state=seed, n_jobs=1)
    if kind == "knn":
        return make_pipeline(StandardScaler(), KNeighborsClassifier(NEIGHBOURS))
    # What is not known takes the median of the training set, and a column of its own says that it is not known: that a
    # file has no JPEG quality tells its source too.
    known = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
    return make_pipeline(known, StandardScaler(), LogisticRegression(max_iter=1000))


def class_probabilities(model: Any, features: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Probabilities (n, classes) of a fitted model.

    A support vector machine has none: the softmax of its decision values stands for them (two classes: the logistic
    function). It orders images as the machine does, and is not calibrated.
    """
    if hasattr(model, "predict_proba"):
        return np.asarray(model.predict_proba(features), dtype=np.float64)
    values = np.asarray(model.decision_function(features), dtype=np.float64)
    if values.ndim == 1:
        return np.stack([expit(-values), expit(values)], axis=1)
    return np.asarray(softmax(values, axis=1))


def fit_prior_model(
    name: str,
    kind: str,
    task: Mapping[str, Any],
    images: pd.DataFrame,
    root: str | Path,
    *,
    validation_share: float,
    seed: int,
    file_facts: pd.DataFrame | None = None,
    threads: int = 1,
) -> Trained:
    """Fit a prior model in every protocol and fold of a task, and test it; its history is empty.

    `images` have file, label, group, and part for the protocol "given"; of `validation_share` what is set aside is not
    used, so that all models of a task learn from the same images. `file_facts` are the facts of each image's file, from
    sources.tsv. Raises ConfigError or ImageSetError as `draw_trials`, and for a model that there is not.
    """
    model = build_prior_model(kind, seed)
    classes, images = list(task["classes"]), images_of(task, images)
    trials = draw_trials(task, images, validation_share=validation_share, seed=seed)
    labels = class_numbers(images, classes)
    features: NDArray[np.floating[Any]]
    if kind == FILE_STATISTICS:
        if file_facts is None:
            mend = "Only a study that collects its images knows facts of their files."
            raise ConfigError("no facts of files are known", where=name, found=kind, mend=mend)
        known_facts = in_order_of(images, file_facts)[list(FACTS)]
        # Names of formats become columns of 0 and 1; what is not known is NaN.
        table = pd.get_dummies(known_facts, columns=["format"], prefix_sep=" ").astype(np.float64)
        features, described = table.to_numpy(), f"facts of the files: {', '.join(table.columns)}"
    else:
        features = _described(images, root, name, threads)
        described = f"HSV histogram {HSV_BINS}, HOG of {HOG_SIDE} px ({features.shape[1]} numbers)"
    rows, facts = [], []
    for trial in trials:
        begun = time.perf_counter()
        model.fit(features[trial.split.training], labels[trial.split.training])
        probability = class_probabilities(model, features[trial.split.test])
        seconds = round(time.perf_counter() - begun, 2)
        rows.append(prediction_rows(images, trial, classes, probability))
        facts.append({**trial.facts(images, classes), "seconds": seconds})
        say(f"{name}: {trial.protocol} {trial.fold} fitted and tested in {seconds} s")
    last = model[-1] if hasattr(model, "steps") else model
    told = {key: value for key, value in last.get_params().items() if isinstance(value, str | int | float)}
    known: dict[str, Any] = {"classic": kind, "features": described, "parameters_of_the_model": told}
    known |= {"classes": classes, "seed": seed, "scikit_learn": sklearn.__version__, "trials": facts}
    return Trained(None, pd.DataFrame(columns=list(HISTORY)), known, pd.concat(rows, ignore_index=True))


def _described(images: pd.DataFrame, root: str | Path, name: str, threads: int) -> NDArray[np.float32]:
    found = []
    with progress(len(images), f"{name}: describing", "images") as bar, ThreadPoolExecutor(threads) as pool:
        for numbers in pool.map(lambda file: image_features(read_image(Path(root) / file)), images["file"]):
            found.append(numbers)
            bar.update()
    return np.stack(found)
