"""A second folder of images, which every network of a task is tested on once: its images, and what the page shows.

Classes are matched by the names of their folders. An image that shares its source with one of the study's own would
test what was learnt: it is left out.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from studies.common import class_metrics
from studies.common.class_metrics import SCORES
from studies.common.errors import ImageSetError
from studies.common.images.folder import list_images
from studies.common.images.job_settings import NearDuplicates
from studies.common.images.near_duplicates import find_groups, relatives
from studies.common.images.tables import HEADINGS, Arms, strictest_protocol
from studies.common.words import score


def list_external(
    images: pd.DataFrame,
    root: str | Path,
    external: str | Path,
    classes: Sequence[str],
    settings: NearDuplicates,
    *,
    max_unreadable: float,
    seed: int,
    threads: int = 1,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """List the images of a second folder that share no source with `images` (images.tsv, below `root`).

    Returns file, label, digest and group, and facts: tested (images by class), relatives (left out), first (one of
    them and its relative), unreadable. Raises ImageSetError as `list_images`, and where a class is left without image.
    """
    where = "images.external"
    found, unreadable = list_images(external, classes, max_unreadable=max_unreadable, where=where, threads=threads)
    own = images[images["label"].isin(list(classes))].reset_index(drop=True)
    near = relatives(own, root, found, external, settings, threads=threads)
    related = near >= 0
    kept = found[~related].reset_index(drop=True)
    if lost := [name for name in classes if name not in set(kept["label"])]:
        what = "every image of a class shares its source with one of the study's own"
        mend = "Add images of others; where these are others, raise `near_duplicates.inliers`."
        raise ImageSetError(what, where=where, found=lost[0], mend=mend)
    groups, _ = find_groups(kept, external, settings, seed, threads=threads)
    first = [found.loc[related, "file"].iloc[0], own["file"].iloc[near[related][0]]] if related.any() else []
    counts = kept["label"].value_counts().reindex(list(classes)).to_dict()
    facts = {"tested": counts, "relatives": int(related.sum()), "first": first, "unreadable": len(unreadable)}
    return kept[["file", "label", "digest"]].assign(group=groups), facts


def external_metrics(answers: Mapping[str, pd.DataFrame]) -> list[pd.DataFrame]:
    """Rows of metrics.tsv, protocol `external`, from the answers by `task/arm`."""
    found = [class_metrics.fold_scores(frame).assign(arm=key) for key, frame in answers.items()]
    columns = ["arm", "protocol", "repeat", "metric", "value"]
    return [frame.rename(columns={"fold": "repeat"})[columns] for frame in found]


def external_view(
    arms: Arms,
    answers: Mapping[str, pd.DataFrame],
    facts: Mapping[str, Any],
    scores: pd.DataFrame,
    *,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """What `external.md.j2` names: the table, a row per network, and the facts of `list_external`; {} without answers.

    `scores` are those of the study's own test images; the trainings tested are of the protocol with the least leak.
    """
    if not answers:
        return {}
    protocol = strictest_protocol(scores, next(iter(answers)).partition("/")[0])
    home: Any = scores[(scores["protocol"] == protocol) & (scores["metric"] == "accuracy")].set_index("key")
    rows = []
    for arm in (arm for arm in arms if arm.key in answers):
        own: Any = class_metrics.summary(answers[arm.key], resamples=resamples, seed=seed).set_index("metric")
        cells = {HEADINGS[name]: score(own.loc[name]) for name in SCORES}
        rows.append({"network": arm.label, **cells, f"accuracy, {protocol} split": score(home.loc[arm.key])})
    return {**facts, "table": pd.DataFrame(rows), "images": sum(facts["tested"].values()), "protocol": protocol}
