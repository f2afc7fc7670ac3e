"""What the study `histology_resnet50` tells its reader: lead, tables, figures and what to know to judge them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from drunet.report.section import Section
from studies.common.images.notes import (
    averages_note,
    data_notes,
    groups_caption,
    leak_sentence,
    protocol_note,
    protocols_caption,
    splits_caption,
    spread_note,
    training_note,
)
from studies.common.images.tables import (
    ImageArm,
    honest_protocol,
    honest_table,
    per_class_table,
    protocols_in,
    signed,
    with_spread,
)
from studies.histology_resnet50.tables import confused_of, shown_confused

_TITLE_NOTE = (
    "The paper's title speaks of CT images. The set that it names, LC25000, holds photographs of stained tissue under "
    "the microscope, and so does this study: nothing here is about CT."
)
_CONTRADICTION = (
    "The published figures leave a gap: an accuracy of 98.8 % on 2,250 images means 27 errors, of which 17 are "
    "confusions of the two cancers; with every benign image right, the other ten would be cancers that were called "
    "benign. They are shown as printed. What the paper does not say (how much of the network learns, the optimiser, "
    "how long early stopping waits) is a setting here."
)


def section_of(
    scores: pd.DataFrame,
    leak: pd.DataFrame,
    table: pd.DataFrame,
    arms: Sequence[ImageArm],
    settings: Mapping[str, Any],
    folder: Path,
    *,
    grouping: Mapping[str, Any],
    unreadable: int,
    picture: bool = True,
) -> Section:
    """The study's section of the report.

    Parameters
    ----------
    scores, leak : DataFrame
        From `summaries` and `leaks`.
    table : DataFrame
        From `fine_tuning_table`.
    arms : list of ImageArm
    settings : mapping
        The study's.
    folder : Path
        Of the figures.
    grouping : mapping
        groups.json.
    unreadable : int
        Images that were left out because they cannot be read.
    picture : bool
        Whether confused.png is there: the arm that it shows may have been left out.
    """
    return Section(
        title="ResNet-50 on lung patches: how much of it should learn?",
        lead=_lead(scores, leak, arms, settings),
        tables=[
            (splits_caption(scores), honest_table(scores, leak)),
            (f"Beside the published figures: {averages_note(scores)}", table),
            ("Each class against the rest", per_class_table(arms)),
            ("How much of the network learns", _learning(arms)),
        ],
        figures=[f for f in _figures(scores, settings, arms, folder, grouping) if picture or f[1].stem != "confused"],
        notes=[
            _TITLE_NOTE,
            protocol_note(scores),
            *data_notes(settings, grouping, unreadable, protocols_in(scores)),
            training_note(arms),
            _CONTRADICTION,
            "Saliency maps show what the network's decision hangs on, not where the tumour is; that of a wrong "
            "decision explains the mistake, and does not make it right.",
        ],
    )


def _learning(arms: Sequence[ImageArm]) -> pd.DataFrame:
    rows = [
        {
            "arm": arm.label,
            "million parameters": arm.facts["parameters"] / 1e6,
            "of which learn": arm.facts["trainable_parameters"] / 1e6,
        }
        for arm in arms
    ]
    return pd.DataFrame(rows)


def _lead(scores: pd.DataFrame, leak: pd.DataFrame, arms: Sequence[ImageArm], settings: Mapping[str, Any]) -> str:
    task = arms[0].task
    protocol = honest_protocol(scores, task)
    here = scores[(scores["metric"] == "accuracy") & (scores["protocol"] == protocol)].set_index("key")
    there = [arm for arm in arms if arm.key in here.index]
    shown = ", ".join(f"{arm.label} {with_spread(here.loc[arm.key])}" for arm in there)
    best = max(there, key=lambda arm: here["mean"].astype(float)[arm.key])
    words = (
        f"How much of a ResNet-50 should learn to tell {_classes(settings, task)} apart? "
        f"Accuracy on test images under the {protocol} split: {shown} ({spread_note(here)})."
    )
    other = scores[(scores["metric"] == "accuracy") & (scores["protocol"] == "random")].set_index("key")
    if protocol == "grouped" and best.key in other.index:
        gap = other["mean"].astype(float)[best.key] - here["mean"].astype(float)[best.key]
        words += (
            f" Under the published, random split the {best.label} arm has {with_spread(other.loc[best.key])}: a "
            f"difference of {signed(gap)}. {leak_sentence(leak, task)}"
        )
    elif protocol == "random":
        words += f" {leak_sentence(leak, task)}"
    counts = confused_of(arms, settings["confused"]["classes"])
    found = ", ".join(f"{arm.label} {shown_confused(*counts[arm.label, protocol])}" for arm in there)
    return f"{words}\n\nMalignant images taken for the other cancer, {protocol} split: {found}."


def _classes(settings: Mapping[str, Any], task: str) -> str:
    names = list(settings["tasks"][task]["classes"])
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _figures(
    scores: pd.DataFrame,
    settings: Mapping[str, Any],
    arms: Sequence[ImageArm],
    folder: Path,
    grouping: Mapping[str, Any],
) -> list[tuple[str, Path]]:
    confused = settings["confused"]
    label = next((arm.label for arm in arms if arm.name == confused["arm"]), confused["arm"])
    return [
        (protocols_caption(scores, arms[0].task), folder / "protocols.png"),
        ("Confusion on test images.", folder / "confusion.png"),
        (
            f"Malignant images that the {label} arm took for the other cancer, its surest mistakes first, and what the "
            "decision hangs on: gradient and Grad-CAM for the class called, and Grad-CAM for the true one. Blue all "
            "over: nothing there speaks for the class.",
            folder / "confused.png",
        ),
        ("Loss by epoch.", folder / "losses.png"),
        ("Accuracy by epoch.", folder / "accuracies.png"),
        (groups_caption(grouping), folder / "groups.png"),
    ]
