"""Whether classes can be told apart by where their images come from: what a source probe found, in words and figures.

The classes of paper 002 come from different sources (slices from a scanner, figures from articles), so that a network
may win by the source alone. A probe sees what cannot hold the answer: the border of the image, a heavy blur of it, or
the facts of its file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from studies.common.images.tables import HEADINGS, ImageArm, protocols_in, with_spread


@dataclass(frozen=True)
class Verdict:
    """What the probe says of the networks: whether it raises the alarm (None: not known), and a page's first words."""

    alarm: bool | None
    words: str


def is_probe(arm: Mapping[str, Any]) -> bool:
    """Whether an arm, by its settings, sees something else than whole images."""
    return bool(arm.get("sees")) or "classic" in arm


def sees_words(arm: Mapping[str, Any]) -> str:
    """What an arm sees of an image."""
    sees = arm.get("sees") or {}
    if "border" in sees:
        return f"the outer {100 * sees['border']:g} % of each side, the inside black"
    if "blur" in sees:
        return f"a blur of sigma {100 * sees['blur']:g} % of the side"
    return "facts of the file, no pixel" if "classic" in arm else "the whole image"


def verdict(
    scores: pd.DataFrame, arms: Sequence[ImageArm], settings: Mapping[str, Any], *, protocol: str, alarm: float
) -> Verdict:
    """Say whether the accuracy may come from the source.

    Parameters
    ----------
    scores : DataFrame
        From `summaries`, of the class that is looked for.
    arms : list of ImageArm
        Of one task.
    settings : mapping
        The study's.
    protocol : str
        The honest one.
    alarm : float
        A probe counts if the lower bound of its AUC is above this. Where several folds were run, the mean less one
        standard deviation stands for the bound. A probe without a bound is named, and says nothing.
    """
    here = scores[(scores["metric"] == "auc") & (scores["protocol"] == protocol)].set_index("key")
    probes = [arm for arm in arms if is_probe(settings["arms"][arm.name]) and arm.key in here.index]
    if not probes:
        return Verdict(None, "No source probe was run: whether the accuracy comes from the source is not known.")
    bounds = {arm.key: _bound(here.loc[arm.key]) for arm in probes}
    bounded = [arm for arm in probes if np.isfinite(bounds[arm.key])]
    telling = [arm for arm in bounded if bounds[arm.key] > alarm]
    unbound = [arm for arm in probes if arm not in bounded]
    missing = f" Too few patients or articles for an interval: {_figures(unbound, here, settings)}." if unbound else ""
    beside = ", ".join(
        f"{arm.label} {with_spread(here.loc[arm.key])}" for arm in _partners(probes, arms, settings, here)
    )
    whole = f" The same network on whole images: {beside}." if beside else ""
    if telling:
        words = (
            f"The accuracy may come from the source of the images, not from the disease. Under the {protocol} split, "
            "what sees no lesion, or a smear of it at most, tells the classes apart as well (AUC): "
            f"{_figures(telling, here, settings)}."
            f"{whole} What the networks score on these images cannot be taken for a score in finding cancer."
        )
        rest = [arm for arm in bounded if arm not in telling]
        below = f" Below the alarm: {_figures(rest, here, settings)}." if rest else ""
        return Verdict(True, words + below + missing)
    if not bounded:
        return Verdict(None, f"Whether the accuracy comes from the source of the images is not known.{missing}{whole}")
    words = (
        f"These probes of the source found nothing: under the {protocol} split none has an AUC whose lower bound is "
        f"above {alarm:g}: {_figures(bounded, here, settings)}.{whole} That does not say that there is no bias, only "
        "that these probes do not see one."
    )
    return Verdict(False, words + missing)


def probe_table(scores: pd.DataFrame, arms: Sequence[ImageArm], settings: Mapping[str, Any]) -> pd.DataFrame:
    """Accuracy, AUC, sensitivity and specificity of some arms under every protocol, and what each sees."""
    rows = []
    for arm in arms:
        for protocol in protocols_in(scores[scores["key"] == arm.key]):
            here = scores[(scores["key"] == arm.key) & (scores["protocol"] == protocol)].set_index("metric")
            cells = {HEADINGS[m]: with_spread(here.loc[m]) for m in ("accuracy", "auc", "recall", "specificity")}
            rows.append({"arm": arm.label, "sees": sees_words(settings["arms"][arm.name]), "split": protocol, **cells})
    return pd.DataFrame(rows)


def probe_points(scores: pd.DataFrame, arms: Sequence[ImageArm], settings: Mapping[str, Any]) -> pd.DataFrame:
    """What `probe_intervals` draws; over folds the bounds are one standard deviation off."""
    there = {arm.key: is_probe(settings["arms"][arm.name]) for arm in arms}
    points = scores[scores["key"].isin(list(there))].copy()
    for bound, sign in (("low", -1), ("high", 1)):
        points[bound] = points[bound].fillna(points["mean"] + sign * points["sd"])
    return points.assign(arm=points["label"], probe=points["key"].map(there).astype(bool))


def _partners(
    probes: Sequence[ImageArm], arms: Sequence[ImageArm], settings: Mapping[str, Any], here: pd.DataFrame
) -> list[ImageArm]:
    """The arms that are built as a probe is, and see whole images."""
    seeing = [settings["arms"][arm.name] for arm in probes if settings["arms"][arm.name].get("sees")]
    built = [own.get("options") for own in seeing]
    return [
        arm
        for arm in arms
        if arm.key in here.index
        and not is_probe(settings["arms"][arm.name])
        and settings["arms"][arm.name].get("options") in built
    ]


def _figures(arms: Sequence[ImageArm], here: pd.DataFrame, settings: Mapping[str, Any]) -> str:
    return "; ".join(
        f"{arm.label} ({sees_words(settings['arms'][arm.name])}) {with_spread(here.loc[arm.key])}" for arm in arms
    )


def _bound(row: Any) -> float:
    low = float(row["low"])
    return low if np.isfinite(low) else float(row["mean"]) - float(row["sd"])
