"""Trials of an arm on a set of images, which is divided at random, as it is given, or with every group whole.

Where several images are made from one source, a random split leaks, and so may a given one: the network is judged by
variants of what it has learnt. All but the given one keep the shares of the classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from studies.common.errors import ImageSetError
from studies.common.images.protocols import folds_of

PART_NAMES = ("training", "validation", "test")
# Keeps the draw of validation images apart from that of folds and parts, which use the same seed.
_VALIDATION_STREAM = 23
_SCORES = ("loss", "accuracy", "f1")
HISTORY = ("protocol", "fold", "epoch", *_SCORES, *(f"val_{score}" for score in _SCORES), "seconds")


@dataclass(frozen=True, eq=False)
class Split:
    """Positions (rows) of the images of each part, sorted; validation may be empty."""

    training: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]


def assign_folds(images: pd.DataFrame, protocol: str, folds: int, seed: int) -> NDArray[np.int64]:
    """The fold in which each image (label, group) is tested, int64 (n,); ImageSetError where a class is too small."""
    _check_enough(images, protocol, folds, "folds")
    kind = StratifiedGroupKFold if protocol == "grouped" else StratifiedKFold
    divide = kind(n_splits=folds, shuffle=True, random_state=seed)
    assigned = np.full(len(images), -1, dtype=np.int64)
    units = images["group"].to_numpy() if protocol == "grouped" else None
    for fold, (_, test) in enumerate(divide.split(np.zeros(len(images)), images["label"].to_numpy(), units)):
        assigned[test] = fold
    _check_present(images, assigned, range(folds), "fold")
    return assigned


def assign_parts(
    images: pd.DataFrame, protocol: str, parts: Mapping[str, float], seed: int | list[int]
) -> NDArray[np.str_]:
    """The part of each image (label, group), by proportion and class by class; str (n,).

    `parts` are counts or shares above 0. Units (images, or groups) are drawn in random order, large groups first, and
    each goes to the part that lacks most to its share of the class: by image, a part's number per class is within 1 of
    its share. Groups that span classes come before all others, which then even out what they leave; each goes where it
    lessens most what the parts lack or exceed, every class counted relative to its size (least squares). No part is
    left without a class while there are units enough: the last ones go where nothing is.

    Raises ImageSetError if a class has fewer images (groups) than there are parts, or is missing from one.
    """
    _check_enough(images, protocol, len(parts), "parts")
    names, total = list(parts), sum(parts.values())

    classes, number = np.unique(images["label"].to_numpy(), return_inverse=True)
    sizes = np.bincount(number)
    members = _members(number, _units(images, protocol), np.random.default_rng(seed))
    counts = [np.bincount(number[unit], minlength=len(classes)) for unit in members]
    left = np.count_nonzero(counts, axis=0)
    lacking = np.array([[parts[name] * size / total for name in names] for size in sizes], dtype=np.float64)
    empty = np.ones(lacking.shape, dtype=bool)
    assigned = np.full(len(images), -1, dtype=np.int64)
    for unit, count in zip(members, counts, strict=True):
        own = np.flatnonzero(count)
        weight = count[own] / sizes[own] ** 2
        # Classes of which no more units are left than parts that lack them.
        due = own[left[own] <= empty[own].sum(axis=1)]
        need = np.column_stack([empty[due].sum(axis=0), (weight / weight.sum()) @ lacking[own]])
        part = max(range(len(names)), key=lambda p: tuple(need[p]))
        assigned[unit] = part
        lacking[own, part] -= count[own]
        empty[own, part] = False
        left[own] -= 1
    named = np.array(names)[assigned]
    _check_present(images, named, names, "part")
    return named


def given_parts(images: pd.DataFrame) -> NDArray[np.str_]:
    """The part (column `part`) that each image lies in already; ImageSetError where it, or a class, is missing."""
    part = images["part"].to_numpy(dtype=str) if "part" in images.columns else np.full(len(images), "")
    lacking = ~np.isin(part, PART_NAMES)
    if lacking.any():
        mend = "Sort all images into Training, Validation and Testing, or use the protocol random or grouped."
        found = f"{np.count_nonzero(lacking)} of {len(images)}"
        raise ImageSetError("images lie in no part of the set", where="protocol given", found=found, mend=mend)
    _check_present(images, part, ("training", "test"), "part")
    return part


def split_of(
    images: pd.DataFrame, protocol: str, split: Mapping[str, Any], fold: int, validation_share: float, seed: int
) -> Split:
    """The images of the training, validation and test set of one fold (with parts: 0).

    `split` is a task's: `{folds: 5}`, or `{parts: {training: …, validation: …, test: …}}` (a validation of 0 is none);
    it means nothing where the parts are given. `validation_share` of what is left beside the test is set aside, by the
    same protocol (image by image, where the parts are given), unless the parts have a validation of their own. Raises
    as `assign_folds`, `assign_parts` and `given_parts`.
    """
    if protocol == "given":
        part = given_parts(images)
    elif "parts" in split:
        part = assign_parts(images, protocol, {name: size for name, size in split["parts"].items() if size}, seed)
    else:
        part = np.where(assign_folds(images, protocol, split["folds"], seed) == fold, "test", "training")
    training, validation, test = (np.flatnonzero(part == name) for name in PART_NAMES)
    if validation_share and not len(validation):
        shares = {"training": 1 - validation_share, "validation": validation_share}
        part = assign_parts(images.iloc[training], protocol, shares, [seed, fold, _VALIDATION_STREAM])
        training, validation = training[part == "training"], training[part == "validation"]
    return Split(training, validation, test)


def leak(images: pd.DataFrame, training: NDArray[np.int64], test: NDArray[np.int64]) -> float:
    """Share of the test images (positions) whose group is in `training`, which holds all that a network has seen."""
    groups = images["group"].to_numpy()
    return float(np.isin(groups[test], groups[training]).mean()) if len(test) else 0.0


def _units(images: pd.DataFrame, protocol: str) -> NDArray[Any]:
    """What is not divided: the group of each image, or the image itself (so too beside parts that are given)."""
    return images["group"].to_numpy() if protocol == "grouped" else np.arange(len(images))


def _members(number: NDArray[np.int64], units: NDArray[Any], rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """Positions of each unit, in random order, larger ones first; those of several classes first, then by class."""
    spanning = (pd.Series(number).groupby(units).transform("nunique") > 1).to_numpy()
    members: list[NDArray[np.int64]] = []
    for chosen in (spanning, *(~spanning & (number == k) for k in range(number.max() + 1))):
        own = np.flatnonzero(chosen)
        if not len(own):
            continue
        _, inverse, sizes = np.unique(units[own], return_inverse=True, return_counts=True)
        some = np.split(own[np.argsort(inverse, kind="stable")], np.cumsum(sizes)[:-1])
        members += sorted((some[i] for i in rng.permutation(len(some))), key=len, reverse=True)
    return members


def _check_enough(images: pd.DataFrame, protocol: str, wanted: int, what: str) -> None:
    counts = pd.Series(_units(images, protocol)).groupby(images["label"].to_numpy()).nunique()
    few = counts[counts < wanted]
    if len(few):
        unit = "groups" if protocol == "grouped" else "images"
        found = f"{few.iloc[0]} {unit} for {wanted} {what}"
        mend = f"Ask for fewer {what}, add images, or leave the class out."
        raise ImageSetError(f"a class has fewer {unit} than {what}", where=str(few.index[0]), found=found, mend=mend)


def _check_present(images: pd.DataFrame, assigned: NDArray[Any], names: Any, what: str) -> None:
    for name in names:
        for label in sorted(set(images["label"]) - set(images["label"].to_numpy()[assigned == name])):
            mend = f"Too few groups hold it, or one holds most of it: ask for fewer {what}s."
            found = f"{what} {name}"
            raise ImageSetError(f"a class is missing from a {what}", where=str(label), found=found, mend=mend)


@dataclass(frozen=True, eq=False)
class Trial:
    """One training and its test; `leak` is the share of the test images whose group is in training or validation."""

    protocol: str
    fold: int
    split: Split
    leak: float

    @property
    def key(self) -> str:
        """How its files are called."""
        return f"{self.protocol}.{self.fold}"

    def facts(self, images: pd.DataFrame, classes: Sequence[str]) -> dict[str, Any]:
        """Protocol, fold, leak, and the images of each class in each part; JSON values."""
        counts = {}
        for name in PART_NAMES:
            labels = images["label"].iloc[getattr(self.split, name)].value_counts()
            counts[name] = labels.reindex(classes, fill_value=0).to_dict()
        return {"protocol": self.protocol, "fold": self.fold, "leak": self.leak, "images": counts}


def images_of(task: Mapping[str, Any], images: pd.DataFrame) -> pd.DataFrame:
    """The images (file, label, group, ...) of a task's classes, numbered anew."""
    return images[images["label"].isin(task["classes"])].reset_index(drop=True)


def draw_trials(task: Mapping[str, Any], images: pd.DataFrame, *, validation_share: float, seed: int) -> list[Trial]:
    """Draw all trials of a task (protocols, split) on images from `images_of`; raises as `split_of`."""
    trials = []
    for protocol in task["protocols"]:
        for fold in folds_of(task["split"], protocol):
            split = split_of(images, protocol, task["split"], fold, validation_share, seed)

            seen = np.concatenate([split.training, split.validation])
            trials.append(Trial(protocol, fold, split, leak(images, seen, split.test)))
    return trials


def class_numbers(images: pd.DataFrame, classes: Sequence[str]) -> NDArray[np.int64]:
    """The number of each image's class, in the order of `classes`; int64 (n,)."""
    return pd.Index(classes).get_indexer(pd.Index(images["label"])).astype(np.int64)


def prediction_rows(
    images: pd.DataFrame, trial: Trial, classes: Sequence[str], probability: NDArray[np.floating[Any]]
) -> pd.DataFrame:
    """Predictions of a trial: file, label, group, protocol, fold, `p_<class>`, from probabilities (n, classes)."""
    rows = images.iloc[trial.split.test][["file", "label", "group"]].reset_index(drop=True)
    rows = rows.assign(protocol=trial.protocol, fold=trial.fold)
    return rows.assign(**{f"p_{label}": probability[:, k].astype(np.float32) for k, label in enumerate(classes)})
