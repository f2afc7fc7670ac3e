"""What the study `ct_pneumonia` tells its reader: the probe's verdict first, then scores, maps and what to know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from drunet.report.section import Section
from studies.common.images.notes import grouping_note, groups_caption, spread_note, starts_note
from studies.common.images.tables import (
    HONEST,
    ImageArm,
    compared,
    honest_protocol,
    honest_table,
    protocols_in,
    signed,
    with_spread,
)
from studies.ct_pneumonia.notes import AVERAGES_NOTE, authors_note, kept_epoch, maps_note
from studies.ct_pneumonia.scores import parameters_table, performance_table, probing_arms, whole_image_arms
from studies.ct_pneumonia.source_probe import Verdict, probe_table, verdict

_LAST = (
    "Grad-CAM of the last convolution of every network, for {positive}, on test images; the green box is the annotated "
    "tumour. {chosen} Each map is stretched by itself; blue all over: nothing there speaks for the class."
)


def section_of(
    scores: pd.DataFrame,
    leak: pd.DataFrame,
    arms: Sequence[ImageArm],
    settings: Mapping[str, Any],
    published: pd.DataFrame,
    covered: pd.DataFrame,
    shown: pd.DataFrame,
    folder: Path,
    *,
    grouping: Mapping[str, Any],
    collected: Mapping[str, Any],
) -> Section:
    """The study's section of the report.

    Parameters
    ----------
    scores, leak : DataFrame
        From `summaries` (of the class that is looked for) and `leaks`.
    arms : list of ImageArm
    settings : mapping
        The study's, as of `studies.common.study_settings.without_paths`.
    published : DataFrame of text
        published.tsv.
    covered : DataFrame
        From `coverage_table`; empty where no test image has a box.
    shown : DataFrame
        chosen.tsv: the images of the maps.
    folder : Path
        Of the figures.
    grouping : mapping
        groups.json.
    collected : mapping
        collected.json.
    """
    protocol = honest_protocol(scores, arms[0].task)
    probed = verdict(scores, arms, settings, protocol=protocol, alarm=settings["probe"]["alarm"])
    tables = [
        (
            f"Finding {settings['positive']}: {_columns_caption(scores)}",
            performance_table(scores, arms, published, settings),
        ),
        (_honest_caption(scores), _by_arm(honest_table(scores, leak, metrics=("accuracy", "auc")))),
        (_probe_caption(probed, settings), probe_table(scores, probing_arms(arms, settings), settings)),
    ]
    tables += [(_coverage_caption(settings, protocol), covered)] if len(covered) else []
    tables.append(("Size of the networks and how they were trained", parameters_table(arms, published, settings)))
    return Section(
        title="Cancer or pneumonia on CT, and whether the networks see the disease",
        lead=_lead(scores, leak, arms, settings, probed, published, grouping, protocol),
        tables=tables,
        figures=_figures(scores, arms, settings, shown, folder, grouping),
        notes=_notes(scores, arms, settings, covered, grouping, collected, protocol),
    )


def _lead(
    scores: pd.DataFrame,
    leak: pd.DataFrame,
    arms: Sequence[ImageArm],
    settings: Mapping[str, Any],
    probed: Verdict,
    published: pd.DataFrame,
    grouping: Mapping[str, Any],
    protocol: str,
) -> str:
    here: Any = scores[scores["protocol"] == protocol].set_index(["key", "metric"])
    networks = [arm for arm in whole_image_arms(arms, settings) if (arm.key, "accuracy") in here.index]
    accuracy = {arm.key: float(here.loc[(arm.key, "accuracy"), "mean"]) for arm in networks}
    best = max(networks, key=lambda arm: accuracy[arm.key])
    tested = arms[0].of(protocol)
    words = (
        f"Can a network tell lung cancer from pneumonia on single CT slices? {_data(grouping)}. Accuracy of "
        f"{len(networks)} networks on {_tested(networks[0].of(protocol) if networks else tested)} under the "
        f"{protocol} split: {_range(accuracy.values())}; {best.label} has "
        f"{with_spread(here.loc[(best.key, 'accuracy')])}, AUC {with_spread(here.loc[(best.key, 'auc')])} "
        f"({spread_note(here.reset_index())}). Published, on the paper's images under a random split: "
        f"{_range(published['accuracy'].astype(float))}."
    )
    if protocol != HONEST:
        words += " A split that never divides a patient or an article was left out of this run."
    words += _leak_words(scores, leak, networks, protocol)
    unknown = {label: n for label, n in grouping.get("unsourced", {}).items() if n}
    if unknown:
        found = ", ".join(f"{n:,} of {label}" for label, n in unknown.items())
        words += (
            f" Of some images the patient or article is not known ({found}): of these near-duplicates alone were kept "
            "together, and what a patient's or an article's images share may still leak."
        )
    return f"{words}\n\n{probed.words}"


def _data(grouping: Mapping[str, Any]) -> str:
    told, unknown = grouping.get("sourced", {}), grouping.get("unsourced", {})
    parts = []
    for label in dict.fromkeys([*told, *unknown]):
        own = told.get(label, {"images": 0, "sources": 0})
        many = own["images"] + unknown.get(label, 0)
        source = f" of {own['sources']:,} patients or articles" if own["sources"] else ""
        parts.append(f"{many:,} {label}{source}")
    return f"{grouping['images']:,} images" + (f" ({', '.join(parts)})" if parts else "")


def _tested(test: pd.DataFrame) -> str:
    return f"{len(test):,} test images of {test['group'].nunique():,} groups"


def _range(values: Any) -> str:
    known = sorted(values)
    return f"{known[0]:.3f}" if len(known) == 1 else f"{known[0]:.3f} to {known[-1]:.3f}"


def _leak_words(scores: pd.DataFrame, leak: pd.DataFrame, networks: Sequence[ImageArm], protocol: str) -> str:
    """What a split that divides patients adds to the best network that was run under both, and how much it leaks."""
    shares = leak.set_index("protocol")["leak"].astype(float)
    own = scores[(scores["metric"] == "accuracy") & scores["key"].isin([arm.key for arm in networks])]
    accuracy = own.pivot_table(index="label", columns="protocol", values="mean")
    words = ""
    for other in protocols_in(scores):
        if other == HONEST:
            continue
        seen = f"{100 * shares[other]:.0f} % of its test images come from a source that was also learnt from"
        if other == protocol:
            words += f" {seen[0].upper()}{seen[1:]}." if shares[other] else ""
        elif other in accuracy and not (both := accuracy[[other, protocol]].dropna()).empty:
            best: Any = both.sort_values(protocol).iloc[-1]
            gap = signed(float(best[other]) - float(best[protocol]))
            words += (
                f" Under the {other} split {best.name} has {best[other]:.3f} instead of {best[protocol]:.3f} ({gap}): "
                f"{seen}."
            )
    return words


def _columns_caption(scores: pd.DataFrame) -> str:
    return f"recall is the sensitivity; published figures are of a random split of other images; {spread_note(scores)}"


def _honest_caption(scores: pd.DataFrame) -> str:
    there = protocols_in(scores)
    if compared(scores):
        added = "What a split that divides patients and articles adds"
        return f"{added}: scores on test images under each protocol, and its leak"
    return f"Scores on test images under the {' or the '.join(there)} split, and its leak"


def _by_arm(table: pd.DataFrame) -> pd.DataFrame:
    return table.drop(columns="task")


def _probe_caption(probed: Verdict, settings: Mapping[str, Any]) -> str:
    said = {True: "it raises the alarm", False: "no alarm", None: "no verdict"}[probed.alarm]
    return f"The source probe: {said} (lower bound of an AUC above {settings['probe']['alarm']:g})"


def _coverage_caption(settings: Mapping[str, Any], protocol: str) -> str:
    options = settings["attention"]
    return (
        f"Annotated tumour boxes and the map of the last convolution, test images of the {protocol} split: a place is "
        f"highlighted from {100 * options['threshold']:g} % of its map's maximum on (the paper gives no figure), a "
        f"box is found if more than {100 * options['found']:g} % of it is highlighted, as published. A map that marks "
        "places anywhere covers on average as much of a box as of the image; in brackets the 95 % interval"
    )


def _figures(
    scores: pd.DataFrame,
    arms: Sequence[ImageArm],
    settings: Mapping[str, Any],
    shown: pd.DataFrame,
    folder: Path,
    grouping: Mapping[str, Any],
) -> list[tuple[str, Path]]:
    positive = settings["positive"]
    by = "under each way of splitting" if compared(scores) else f"under the {protocols_in(scores)[-1]} split"
    return [
        (
            "The source probe: a network on whole images above, what sees no lesion, or a smear of it, below. Dashed: "
            "always calling the more frequent class (accuracy) or chance (AUC), and where the alarm begins.",
            folder / "probe.png",
        ),
        (f"Receiver operating characteristics of finding {positive}.", folder / "roc.png"),
        (f"Accuracy and AUC of every arm {by}.", folder / "protocols.png"),
        (
            f"Loss by epoch. The weights that are tested are of the epoch with {kept_epoch(arms)}.",
            folder / "losses.png",
        ),
        (_LAST.format(positive=positive, chosen=_chosen(shown)), folder / "attention_last.png"),
        ("Grad-CAM over the depth of some networks, first image.", folder / "attention_layers.png"),
        (
            "Grad-CAM averaged over convolutions that were held fixed, that learnt, and all; first image.",
            folder / "attention_averages.png",
        ),
        (groups_caption(grouping), folder / "groups.png"),
    ]


def _chosen(shown: pd.DataFrame) -> str:
    if shown.empty:
        return "There was no test image of the class."
    right = (shown["right"].astype(int) == shown["networks"].astype(int)).sum()
    if right == len(shown):
        return "All networks call them rightly, as the paper chose its three; one per patient, the surest first."
    if not right:
        return "No test image is called rightly by all networks: these are by the most, one per patient."
    return f"All networks call {right} of the {len(shown)} rightly, the others most of them; one per patient."


def _notes(
    scores: pd.DataFrame,
    arms: Sequence[ImageArm],
    settings: Mapping[str, Any],
    covered: pd.DataFrame,
    grouping: Mapping[str, Any],
    collected: Mapping[str, Any],
    protocol: str,
) -> list[str]:
    networks = whole_image_arms(arms, settings)
    missing = [name for name in settings["tables"]["networks"] if name not in {arm.name for arm in networks}]
    notes = []
    if settings["embedded"]:
        notes.append(
            "The images were drawn in code, and their two sources were made to differ as the paper's do: the figures "
            "show that the method works, the probe among it, and say nothing of medicine."
        )
    notes += [
        "The paper's cancers are slices from scanners' archives, its pneumonias figures from articles. Whatever "
        "differs between an archive and a journal (window, size, margins, compression) tells the classes apart, and a "
        "test set from the same two sources cannot show that. Hence the probe.",
        _protocols_note(scores),
        grouping_note(grouping, protocols_in(scores)),
        _collected_note(collected, settings),
        starts_note(networks),
        authors_note(networks, settings),
        maps_note(settings),
        AVERAGES_NOTE,
    ]
    if covered.empty:
        annotated = int(collected.get("annotated", 0))
        why = "no annotated image is in the test part" if annotated else "no image has an annotated box"
        notes.append(f"Boxes were not compared with maps: {why}.")
    if missing:
        notes.append(f"Not trained in this run: {', '.join(missing)}.")
    return notes


def _protocols_note(scores: pd.DataFrame) -> str:
    there = protocols_in(scores)
    words = {
        "random": "the random split, as published, draws images, so that slices of a patient and figures of an article "
        "fall on both sides",
        "given": "the given split takes the parts that the folders name, and leaks where these divide a patient or an "
        "article",
        HONEST: "the grouped split keeps a patient's slices, an article's figures and near-duplicates on one side",
    }
    found = "; ".join(words[protocol] for protocol in there)
    return f"{found[0].upper()}{found[1:]}. Intervals draw those groups, not images. MCC is R_K (Gorodkin 2004)."


def _collected_note(collected: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    window = settings["collect"]["window"]
    known = {key: int(collected.get(key, 0)) for key in ("images", "dicom", "annotated", "unreadable")}
    words = (
        f"{known['images']:,} images were read, {known['dicom']:,} of them DICOM, shown through a window of "
        f"{window['width']:g} HU about {window['centre']:g} HU (not stated in the paper). {known['annotated']:,} have "
        f"an annotated box. {known['unreadable']:,} {'file' if known['unreadable'] == 1 else 'files'} could not be "
        "read."
    )
    lone = int(collected.get("annotation_without_dicom", 0))
    words += f" {lone:,} annotations fit no slice." if lone else ""
    if nameless := int(collected.get("without_patient", 0)):
        words += (
            f" {nameless:,} DICOM {'file has' if nameless == 1 else 'files have'} no patient ID: where no table of "
            "sources names them, those of one study, else of one series, count as one patient's, and of others the "
            "source is unknown."
        )
    return words
