"""What every page on a folder of images must tell its reader: the data, their sources, the leak, the averages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from studies.common.images.group_montage import COLUMNS
from studies.common.images.protocols import PROTOCOLS
from studies.common.images.tables import ImageArm, compared, protocols_in

_STARTS = {"random": "random weights", "imagenet": "ImageNet's weights"}


def averages_note(scores: pd.DataFrame) -> str:
    """How scores are averaged, for a caption."""
    return (
        "precision, recall, F1 and AUC are plain averages over classes (macro), each against the rest; MCC is the "
        f"multi-class one; {spread_note(scores)}"
    )


def spread_note(scores: pd.DataFrame) -> str:
    """What stands behind a score: its spread over folds, an interval where one fold was run, or either."""
    folds = {int(n) for n in scores["folds"]}
    if max(folds) <= 1:
        return "in brackets the 95 % interval, one fold was run"
    if min(folds) <= 1:
        return "mean ± sd over folds, or in brackets the 95 % interval where one fold was run"
    return f"mean ± sd over {folds.pop()} folds" if len(folds) == 1 else "mean ± sd over folds"


def splits_caption(scores: pd.DataFrame) -> str:
    """What the table of `honest_table` compares."""
    there, spread = protocols_in(scores), spread_note(scores)
    honest = "one that never divides images made from one source"
    if compared(scores):
        return f"What a random split adds: test images under the published, random split and under {honest}; {spread}"
    if len(there) == 2:
        return f"Test images under the published, random split or under {honest}, no arm under both; {spread}"
    words = "the published, random split, which leaks" if there == ["random"] else honest.replace("one", "a split", 1)
    return f"Test images under {words}; {spread}"


def protocols_caption(scores: pd.DataFrame, task: str) -> str:
    """What the figure of `protocol_dumbbell` shows of a task."""
    here = scores[scores["task"] == task]
    there = protocols_in(here)
    if compared(here):
        lone = here.groupby("key")["protocol"].nunique().min() < 2
        words = "; an arm with one point was run under one of them alone" if lone else ""
        return f"Accuracy and MCC of every arm under both ways of splitting{words}."
    return f"Accuracy and MCC of every arm under the {' or the '.join(there)} split."


def protocol_note(scores: pd.DataFrame) -> str:
    """Why there are two protocols, which of them were run, and what MCC and the intervals are."""
    there = protocols_in(scores)
    known = "Its figures say how well a network recognises images that it knows"
    grouped = "The grouped split keeps all versions of a source on one side."
    if len(there) == 2:
        words = f"{known}, and stand here only beside the published ones. {grouped}"
    elif there == ["random"]:
        words = f"{known}; the grouped split, which would tell of new ones, was left out of this run."
    else:
        words = f"{known}; it was left out of this run, so that nothing here compares with them directly. {grouped}"
    intervals = " Intervals draw whole groups of images, not images." if (scores["folds"] <= 1).any() else ""
    return (
        "The published protocol leaks. LC25000 was made by turning, flipping and cropping about 250 photographs of "
        "each class until there were 5,000, and a random split puts versions of one photograph on both sides: what is "
        f"tested was in good part seen before. {words} The share of leaking images counts those with another version "
        f"among the images that were learnt from or that decided when to stop. MCC is R_K (Gorodkin 2004).{intervals}"
    )


def data_notes(
    settings: Mapping[str, Any], grouping: Mapping[str, Any], unreadable: int, protocols: Sequence[str] = PROTOCOLS
) -> list[str]:
    """What the images are, how their groups were found and how far that is to be trusted, and what was left out."""
    notes = []
    if settings["images"]["root"] is None:
        notes.append(
            "The images were drawn in code, so that the study runs anywhere: its figures show that the method works, "
            "and say nothing of medicine."
        )
    notes.append(grouping_note(grouping, protocols))
    noun = "image" if unreadable == 1 else "images"
    notes.append(f"{unreadable} {noun} could not be read and {'was' if unreadable == 1 else 'were'} left out.")
    return notes


def grouping_note(grouping: Mapping[str, Any], protocols: Sequence[str] = PROTOCOLS) -> str:
    """How images of one source were found, and how far that is to be trusted, from groups.json."""
    size = (
        f"{grouping['images']:,} images in {grouping['groups']:,} groups, the largest of {grouping['largest']:,}, "
        f"{grouping['singletons']:,} of one image alone"
    )
    if grouping["source"] == "file":
        words = f"Which images were made from one source is told by a file: {size}."
        search = grouping.get("search")
        if search is None:
            return words
        known = search["agreement"]
        return (
            f"{words} Searched for without it, {_percent(known['precision'])} of the pairs put together belong "
            f"together, and of the pairs that do {_percent(known['recall'])} were found. {_check(search)}"
        )
    if grouping["source"] == "sources":
        return _sourced_note(grouping, size)
    missed = (
        "leave some of the leak in the grouped split"
        if "grouped" in protocols
        else "make the leak look smaller than it is"
    )
    return (
        f"Which images were made from one source was found out by comparing local features of look-alikes: {size}. "
        f"{_check(grouping)} Sources that were not found out to be one {missed}."
    )


def _sourced_note(grouping: Mapping[str, Any], size: str) -> str:
    """Groups of images whose patient or article is known in part, from groups.json."""
    told = ", ".join(
        f"{own['images']:,} images of {label} from {own['sources']:,}"
        for label, own in grouping["sourced"].items()
        if own["images"]
    )
    words = f"Patients and articles that images come from: {told or 'none is known'}. With these, {size}."
    if grouping["joined"]:
        words += f" {grouping['joined']:,} of the sources share a picture with another, and count as one with it."
    search = grouping.get("search")
    if search is None:
        return words
    unknown = ", ".join(f"{n:,} of {label}" for label, n in grouping["unsourced"].items() if n)
    words += f" Of {unknown} the source is not known: near-duplicates among them were looked for."
    return f"{words} {_check(search)}" if search.get("check") else words


def _check(search: Mapping[str, Any]) -> str:
    """What trying the search on pairs that cannot share a source says about its links."""
    check = search["check"]
    least = check["precision_at_least"]
    bound = "" if least is None else f", so that at least {_percent(least)} of the links are right"
    tried = (
        f"{search['pairs_compared']:,} pairs of look-alikes within a class were compared and {search['links']:,} "
        f"linked; links that alone hold two parts of a group together: {search['bridges']:,}."
    )
    if not check["pairs"]:
        return f"{tried} The links are unchecked: no other class was searched, whose pairs would tell of wrong ones."
    return (
        f"{tried} Check: of {check['pairs']:,} look-alike pairs of different classes, which share no source, "
        f"{check['false_links']:,} were linked (with 95 % confidence at most {_percent(check['rate_at_most'])})"
        f"{bound}, if pairs of one class are no more alike than these."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def groups_caption(grouping: Mapping[str, Any]) -> str:
    """What the montage of groups shows, from groups.json."""
    told, most = grouping["source"] == "file", ""
    if grouping["largest"] > COLUMNS:
        most = f", of which {COLUMNS} images at most are shown"
    if grouping["source"] == "sources":
        kinds = "patient, article or set of near-duplicates"
        return f"Images that are never divided, since they belong to one {kinds}: under each heading one group{most}."
    if grouping["largest"] < 2:
        return f"Some of the images: no two {'are said' if told else 'were found'} to be made from one source."
    words = "that a file says were made" if told else "that were found to be made"
    return f"Images {words} from one source: under each heading one group{most}."


def starts_note(arms: Sequence[ImageArm]) -> str:
    """Starting weights of the networks, input sizes, epochs and batches, where a table tells of the rest."""
    networks = list({arm.name: arm for arm in arms if arm.history is not None}.values())
    plans = [arm.facts["training"] for arm in networks]
    epochs, batch = (_commonest([plan[key] for plan in plans]) for key in ("epochs", "batch_size"))
    sizes = " or ".join(str(size) for size in sorted({arm.facts["size"] for arm in networks}))
    return (
        f"{_begun(networks)}, see images of {sizes} px and learn for at most {epochs} epochs in batches of {batch} "
        f"({_commonest([plan['optimiser'] for plan in plans])})."
    )


def training_note(arms: Sequence[ImageArm]) -> str:
    """Starting weights and length of training of the networks, as they were trained; those that differ are named."""
    networks = list({arm.name: arm for arm in arms if arm.history is not None}.values())
    begun = _begun(networks)
    plans = {arm.label: arm.facts["training"] for arm in networks}
    usual = {key: _commonest([plan.get(key) for plan in plans.values()]) for key in next(iter(plans.values()))}
    other = [f"{label}: {words}" for label, plan in plans.items() if (words := _differences(plan, usual))]
    sizes = " or ".join(str(size) for size in dict.fromkeys(arm.facts["size"] for arm in networks))
    return (
        f"{begun}, and see images of {sizes} px for at most {usual['epochs']} epochs in batches of "
        f"{usual['batch_size']} ({usual['optimiser']} at {usual['learning_rate']:g}). "
        + (f"Trained otherwise: {'; '.join(other)}. " if other else "")
        + "Those of the paper were of 224 px."
    )


def _begun(networks: Sequence[ImageArm]) -> str:
    starts: dict[str, list[str]] = {}
    for arm in networks:
        start = _STARTS.get(str(arm.facts["weights"]), "weights from a file")
        starts.setdefault(start, []).append(arm.label)
    if len(starts) == 1:
        return f"All networks start from {next(iter(starts))}"
    most = max(starts, key=lambda words: len(starts[words]))
    others = "; ".join(f"{', '.join(labels)}: {words}" for words, labels in starts.items() if words != most)
    return f"Networks start from {most} ({others})"


def _commonest(values: Sequence[Any]) -> Any:
    """The value that most have; of equals the first."""
    return max(values, key=values.count)


def _differences(plan: Mapping[str, Any], usual: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{key.replace('_', ' ')} {_value(plan.get(key))}"
        for key in {**usual, **plan}
        if plan.get(key) != usual.get(key)
    )


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return " and ".join(f"{key} {_value(part)}" for key, part in value.items())
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def leak_sentence(leak: pd.DataFrame, task: str, protocols: Sequence[str] = PROTOCOLS) -> str:
    """How much of the random split's test images was seen before, beside the grouped split's where there is one."""
    shares = leak[leak["task"] == task].set_index("protocol")["leak"].astype(float)
    if "random" not in protocols or "random" not in shares.index:
        return ""
    seen = "test images come from a source that was also learnt from"
    words = f"{100 * shares['random']:.0f} % of the random split's {seen}"
    if "grouped" in protocols and "grouped" in shares.index:
        return f"{words}, and {100 * shares['grouped']:.0f} % of the grouped split's."
    return f"{words}: such figures tell of images that are known, not of new ones." if shares["random"] else f"{words}."


def engine(cost: pd.DataFrame) -> str:
    """How times were measured, from cost.tsv."""
    row = cost.iloc[0]
    batches = f"{int(row['repeats'])} batches of {int(row['batch_size'])}"
    return f"median of {batches} on ONNX Runtime ({_machine(row)}), the networks in turn"


def time_axis(cost: pd.DataFrame) -> str:
    """Label of an axis of times: what was timed, and on what."""
    return f"milliseconds per image on ONNX Runtime ({_machine(cost.iloc[0])}), logarithmic"


def _machine(row: pd.Series) -> str:
    threads = int(row["threads"])
    return f"{row['provider']}, {f'{threads} thread' + 's' * (threads > 1) if threads else 'all cores'}"
