"""What the study `ct_boxes` tells its reader: lead, tables, figures and what to know to judge them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from drunet.metrics import Summary
from drunet.report.section import Section
from studies.common.images.class_figures import PROTOCOL_NAMES
from studies.ct_boxes.scores import MEAN_BOX, SOURCE, TUNED, UNTOUCHED, BoxArm, Judged
from studies.ct_boxes.tables import (
    count,
    good_table,
    interval,
    leak_table,
    matching_table,
    of_patients,
    scores_table,
    size_table,
)
from studies.ct_boxes.tasks import SUBTYPES, shown_protocol

# HU: a window that begins above it shows the lung, of -900 to -600, as black.
_LUNG = -500
_UNSAID = (
    "The thesis does not say through which window a slice becomes grey, how large its batches and its learning rate "
    "are, how many patients its slices are of, what becomes of a slice with several boxes, or whether its test slices "
    "had a say in when to stop. All of these are settings here."
)
_NO_QUESTION = (
    "Every slice that was learnt from or judged holds an annotated tumour, and the network answers with one box "
    "whatever it is shown: it does not say whether there is a tumour."
)
_OUTLINE = (
    "The outline follows where the grey changes most inside the predicted box (Sobel's gradient): it is the edge of "
    "whatever stands out there, a vessel or the chest wall too, and no segmentation that anybody has checked. "
    "figures/outlines.geojson holds the polygons, in px of the collected slices."
)


def section_of(
    scores: pd.DataFrame,
    leak: pd.DataFrame,
    arms: Sequence[BoxArm],
    what: Sequence[Judged],
    gains: Mapping[tuple[str, str], Summary],
    published: pd.DataFrame,
    matching: Mapping[str, Any],
    slices: pd.DataFrame,
    settings: Mapping[str, Any],
    folder: Path,
) -> Section:
    """The study's section of the report.

    Parameters
    ----------
    scores, leak : DataFrame
        From `scores` and `leaks`.
    arms : list of BoxArm
        With the mean box.
    what : list of Judged
    gains : mapping of (arm, metric) to Summary
        From `gains`, of the most honest protocol.
    published : DataFrame
        ct_boxes.tsv of the published figures, as text.
    matching : mapping
        matching.json.
    slices : DataFrame
        slices.tsv.
    settings : mapping
        The study's, as of `studies.common.study_settings.without_paths`.
    folder : Path
        Of the figures.
    """
    networks = [arm for arm in arms if arm.history is not None]
    return Section(
        title="Boxes round lung tumours on CT" + (", from one subtype to others" if settings["targets"] else ""),
        lead=_lead(scores, leak, networks, gains, published, slices, settings),
        tables=[
            (_scores_caption(settings), scores_table(scores, what, published)),
            (
                f"Share of slices whose IoU is at least {settings['good']:g}, which the thesis calls a good result (%)",
                good_table(scores, what),
            ),
            ("What was learnt from, and what was judged", leak_table(leak)),
            ("How large the networks are", size_table(networks)),
            ("Slices and annotations, matched by SOPInstanceUID", matching_table(matching)),
        ],
        figures=_figures(settings, folder, networks),
        notes=[
            *_data_notes(settings, slices, matching),
            *_protocol_notes(settings, leak),
            "The thesis' figures after fine-tuning are of the whole set and of its test part. Most of the whole set "
            "was learnt from: that figure says how well slices are remembered.",
            f"“{arms[-1].label.capitalize()}” is the mean box of the slices that were learnt from, whatever the slice "
            "shows. No constant answer has a smaller squared error on them: what is not above it has learnt where "
            "tumours mostly lie, and nothing of the picture.",
            *_skipped_notes(networks),
            _training_note(networks, settings),
            _NO_QUESTION,
            _OUTLINE,
            _attention_note(settings),
            _UNSAID,
        ],
    )


def _scores_caption(settings: Mapping[str, Any]) -> str:
    both = len(settings["protocols"]) > 1
    ways = ", under the published, random split and under one that divides no patient" if both else ""
    return f"Mean IoU of annotated and predicted box{ways}; in brackets the 95 % interval over patients"


def _lead(
    scores: pd.DataFrame,
    leak: pd.DataFrame,
    networks: Sequence[BoxArm],
    gains: Mapping[tuple[str, str], Summary],
    published: pd.DataFrame,
    slices: pd.DataFrame,
    settings: Mapping[str, Any],
) -> str:
    protocol, source, targets = shown_protocol(settings), settings["source"], list(settings["targets"])
    used = slices[slices["subtype"].isin([source, *targets])]
    question = f"Can a network draw the box round a lung tumour ({SUBTYPES[source]}, {source})"
    if targets:
        question += f", and does what it learnt hold for other subtypes ({', '.join(targets)})"
    words = [f"{question}? {of_patients(len(used), used['patient'].nunique())}, seen at {settings['size']} px."]
    here = scores[scores["protocol"] == protocol]
    tested = leak[(leak["protocol"] == protocol) & (leak["stage"] == SOURCE)].iloc[0]
    judged = of_patients(tested["judged"], tested["judged_patients"])
    seen = "never seen" if protocol == "grouped" else f"learnt from in {100 * tested['leak']:.0f} % of the cases"
    said = [f"{arm.label} {_mean(here, arm.name, Judged(source, SOURCE))}" for arm in _once(networks)]
    said.append(f"against {_mean(here, MEAN_BOX, Judged(source, SOURCE))} for the mean box, which looks at nothing")
    words.append(f"Mean IoU on {judged}, {seen} ({PROTOCOL_NAMES[protocol]}): {', '.join(said)}.")
    words += [_gain_words(networks, gains, Judged(source, SOURCE))]
    words += _target_words(here, networks, targets)
    words += _random_words(scores, leak, networks, source, protocol)
    known = Judged(source, SOURCE).published(published, source)
    after = [Judged(t, TUNED).published(published, source) for t in targets]
    before = [Judged(t, UNTOUCHED).published(published, source) for t in targets]
    if known and all(before + after) and targets:
        words.append(
            f"The thesis has {known} on {source}, {', '.join(before)} on {', '.join(targets)} untouched and "
            f"{', '.join(after)} on their test parts after fine-tuning, all under random splits of its own slices."
        )
    first, rest = words[0], [w for w in words[1:] if w]
    return f"{first} {rest[0]}\n\n{' '.join(rest[1:])}" if len(rest) > 1 else " ".join([first, *rest])


def _once(networks: Sequence[BoxArm]) -> list[BoxArm]:
    return list({arm.name: arm for arm in reversed(networks)}.values())[::-1]


def _mean(scores: pd.DataFrame, arm: str, one: Judged) -> str:
    found = scores[(scores["arm"] == arm) & (scores["metric"] == one.metric)]
    return interval(found.iloc[0]) if len(found) else "(not judged)"


def _gain_words(networks: Sequence[BoxArm], gains: Mapping[tuple[str, str], Summary], one: Judged) -> str:
    """Which networks are above the mean box, or below it, by more than chance over patients."""
    above: list[str] = []
    below: list[str] = []
    between: list[str] = []
    alone: list[str] = []
    for arm in _once(networks):
        gain = gains.get((arm.name, one.metric))
        if gain is None or not gain.n:
            continue
        apart = above if gain.low > 0 else below if gain.high < 0 else between
        (alone if pd.isna(gain.low) else apart).append(arm.label)
    words = []
    if above:
        words.append(f"Above the mean box by more than chance: {', '.join(above)}.")
    if below:
        words.append(f"Below the mean box by more than chance: {', '.join(below)}.")
    if between:
        words.append(f"Not told apart from the mean box: {', '.join(between)}.")
    if alone:
        words.append("With one patient judged, nothing can be said of others.")
    return " ".join(words)


def _target_words(here: pd.DataFrame, networks: Sequence[BoxArm], targets: Sequence[str]) -> list[str]:
    words = []
    for arm in _once(networks) if targets else []:
        untouched = [_mean(here, arm.name, Judged(t, UNTOUCHED)).partition(" (")[0] for t in targets]
        tuned = [_mean(here, arm.name, Judged(t, TUNED)).partition(" (")[0] for t in targets]
        words.append(
            f"{arm.label[0].upper()}{arm.label[1:]}: {', '.join(untouched)} on {', '.join(targets)} untouched, "
            f"{', '.join(tuned)} on their test parts after fine-tuning."
        )
    return words


def _random_words(
    scores: pd.DataFrame, leak: pd.DataFrame, networks: Sequence[BoxArm], source: str, honest: str
) -> list[str]:
    """What the random split adds, and how much of it was seen before."""
    there = scores[scores["protocol"] == "random"]
    shares = leak[(leak["protocol"] == "random") & (leak["stage"] == SOURCE)]["leak"]
    if there.empty or shares.empty:
        return []
    share = f"{100 * shares.iloc[0]:.0f} % of the test slices are of a patient who was learnt from"
    words = f"Under the published, random split {share}"
    if honest == "random":
        return [f"{words}; a split by patient was left out of this run."]
    said = ", ".join(f"{arm.label} {_mean(there, arm.name, Judged(source, SOURCE))}" for arm in _once(networks))
    return [f"{words}; there the IoU on {source} is: {said}."]


def _figures(settings: Mapping[str, Any], folder: Path, networks: Sequence[BoxArm]) -> list[tuple[str, Path]]:
    losses = "Loss by epoch. The first epochs dwarf the rest, hence each once more without its first tenth."
    if any(arm["loss"].startswith("giou") for arm in settings["arms"].values() if arm):
        losses += " GIoU is the generalised IoU; a mean error is that of the edges, in shares of the side."
    figures = [
        (_slices_caption(settings, networks), folder / "boxes.png"),
        (
            "IoU of every slice that was judged: a point each, by subtype and stage. After fine-tuning the test parts "
            "alone.",
            folder / "iou.png",
        ),
        (losses, folder / "losses.png"),
    ]
    if len(settings["protocols"]) > 1:
        words = "What a random split adds: mean IoU on test parts under both ways of splitting."
        figures.insert(1, (words, folder / "protocols.png"))
    return figures


def _slices_caption(settings: Mapping[str, Any], networks: Sequence[BoxArm]) -> str:
    """What `box_pictures.choose_slices` has chosen."""
    name, protocol = settings["pictures"]["arm"], shown_protocol(settings)
    stages = ", each untouched and after fine-tuning" if settings["targets"] else ""
    words = (
        f"Test slices of the arm “{settings['arms'][name]['label']}” ({PROTOCOL_NAMES[protocol]}){stages}. They are no "
        "choice of the best: of each subtype they stand at even distances in the order of their final IoU, and one "
        "alone is the middle one."
    )
    shown = [arm for arm in networks if (arm.name, arm.protocol) == (name, protocol)]
    if undivided := sorted({target for arm in shown for target in arm.facts.get("skipped", {})}):
        words += f" What could not be divided has no test part and is shown untouched: {', '.join(undivided)}."
    return f"{words} The outline follows the grey inside the predicted box; attention is what the box hangs on."


def _data_notes(settings: Mapping[str, Any], slices: pd.DataFrame, matching: Mapping[str, Any]) -> list[str]:
    notes = []
    if settings["embedded"]:
        notes.append(
            "The slices were drawn in code, so that the study runs anywhere: its figures show that the method works, "
            "and say nothing of medicine."
        )
    counts = slices.groupby("subtype").agg(n=("file", "size"), patients=("patient", "nunique"))
    by = "; ".join(f"{s} {of_patients(int(r['n']), int(r['patients']))}" for s, r in counts.iterrows())
    centre, width = (settings["slices"]["window"][key] for key in ("centre", "width"))
    black = centre - width / 2
    words = (
        f"Slices by subtype: {by}. Grey runs from {black:g} to {centre + width / 2:g} HU; the thesis says only “grey”."
    )
    if black > _LUNG:
        words += " Tumours stand out from the mediastinum and the chest wall so, and the lung is black."
    notes.append(words)
    if lone := int(matching.get("without_patient", 0)):
        notes.append(
            f"{count(lone, 'slice')} {'has' if lone == 1 else 'have'} no patient ID: those of one study, else of one "
            "series, count as one patient's, else each by itself, so that a split by patient may divide one."
        )
    return notes


def _protocol_notes(settings: Mapping[str, Any], leak: pd.DataFrame) -> list[str]:
    if "random" not in settings["protocols"]:
        return ["Only the split by patient was run; the published one divides slices at random."]
    note = (
        "The published protocol leaks. Slices are divided at random, and neighbouring slices of a patient show the "
        "same tumour a few millimetres on: a box that fits the one fits the other."
    )
    if "grouped" in settings["protocols"]:
        return [f"{note} The grouped split keeps all slices of a patient on one side."]
    return [f"{note} The split by patient was left out of this run."]


def _skipped_notes(networks: Sequence[BoxArm]) -> list[str]:
    """Targets that could not be divided, as trainings report them."""
    found = {f"{arm.protocol}: {t}: {why}" for arm in networks for t, why in arm.facts.get("skipped", {}).items()}
    return [f"Not fine-tuned, too little to divide ({'; '.join(sorted(found))})."] if found else []


def _training_note(networks: Sequence[BoxArm], settings: Mapping[str, Any]) -> str:
    said: dict[str, list[str]] = {}
    for arm in _once(networks):
        plan, tuning = arm.facts["training"], arm.facts["fine_tuning"]["training"]
        words = f"{plan['epochs']} epochs on the source"
        if settings["targets"]:
            words += f", {tuning['epochs']} on each target"
        words += f", batches of {plan['batch_size']}, {plan['optimiser']} at {plan['learning_rate']:g}"
        said.setdefault(words, []).append(arm.label)
    how = "; ".join(f"{' and '.join(labels)}: {words}" for words, labels in said.items())
    return (
        f"Networks start from random weights and see slices of {settings['size']} px ({how}). Published: 512 px, 1,000 "
        "epochs, and 100 on each target. The weights of the epoch with the lowest loss are tested; the loss is that of "
        "validation slices where the settings set some aside."
    )


def _attention_note(settings: Mapping[str, Any]) -> str:
    own = settings["arms"][settings["pictures"]["arm"]]["architecture"] == "compact_box_regressor"
    kind = (
        "the network's own attention map, over which it averages the places of a slice"
        if own
        else "the sum of the absolute gradients of the four numbers of the box with respect to each pixel, blurred"
    )
    said = "It says what the answer hangs on, not where the tumour is."
    return f"Attention is {kind}; each map is stretched by itself. {said}"
