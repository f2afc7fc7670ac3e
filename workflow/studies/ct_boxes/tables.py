"""Tables of the study `ct_boxes`: IoU beside the thesis' figures, what was learnt from, sizes, what was matched."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from studies.common.images.class_figures import PROTOCOL_NAMES
from studies.common.images.protocols import PROTOCOLS
from studies.ct_boxes.scores import SOURCE, BoxArm, Judged

# What matching.json counts. The first six are always told, the others where there is anything to tell.
_COUNTS = {
    "slices": "slices with a box, read and kept",
    "annotated": "CT slices with an annotation",
    "dicom_without_annotation": "CT slices without an annotation, left out",
    "annotation_without_dicom": "annotations without a CT slice, left out",
    "several_boxes": "slices with several boxes",
    "unreadable": "files that could not be read",
    "without_patient": "slices without a patient ID",
    "not_ct": "DICOM files that are no CT slices (other modalities, reports, outlines)",
    "duplicates": "CT slices that came twice, the first counts",
    "wrong_names": "annotations that are not named by a UID",
    "duplicate_annotations": "annotations that came twice, the first counts",
    "unusable_annotations": "annotations that could not be understood",
    "without_box": "annotations without a usable box",
    "outside_boxes": "boxes outside their slice",
    "empty_boxes": "boxes without an area",
    "other_subtype": "slices of a subtype that is not asked for",
    "no_subtype": "slices whose subtype nothing tells",
    "subtype_differs": "slices whose box is named otherwise than their patient, who counts",
    "left_out": "slices above the number that is wanted of a subtype",
}
_ALWAYS = 6
_RULES = {
    "largest": "the largest box counts",
    "union": "the smallest box round all of them counts",
    "first": "the first of the file counts",
}


def scores_table(scores: pd.DataFrame, what: Sequence[Judged], published: pd.DataFrame) -> pd.DataFrame:
    """Mean IoU and its interval: a row per subtype and stage, the thesis' figure, a column per arm and protocol."""
    # The thesis learnt from one subtype: figures of others say nothing of what was learnt elsewhere.
    comparable = what[0].published(published, what[0].subtype) != ""
    return _wide(scores, what, interval, published if comparable else None)


def good_table(scores: pd.DataFrame, what: Sequence[Judged]) -> pd.DataFrame:
    """Per cent of the slices whose IoU is good, laid out as `scores_table`."""
    return _wide(scores, what, lambda row: f"{100 * row['good']:.0f}")


def leak_table(leak: pd.DataFrame) -> pd.DataFrame:
    """Slices and patients on either side, and how many of those judged belong to a patient who was learnt from."""
    return pd.DataFrame(
        {
            "split": [PROTOCOL_NAMES[p] for p in leak["protocol"]],
            "subtype": leak["subtype"],
            "stage": [{SOURCE: "learnt from scratch"}.get(stage, stage) for stage in leak["stage"]],
            "learnt from": [of_patients(n, p) for n, p in zip(leak["learnt"], leak["learnt_patients"], strict=True)],
            "judged": [of_patients(n, p) for n, p in zip(leak["judged"], leak["judged_patients"], strict=True)],
            "of a patient who was learnt from (%)": [f"{100 * share:.0f}" for share in leak["leak"]],
        }
    )


def size_table(networks: Sequence[BoxArm]) -> pd.DataFrame:
    """Weights of each network as it was trained, and of the thesis' at its own 512 px."""
    rows = []
    for arm in {arm.name: arm for arm in networks}.values():
        facts, full = arm.facts, arm.facts["at_published_size"]
        rows.append(_size_row(arm.label, facts["size"], facts["parameters"], facts["dense_parameters"]))
        if arm.published and facts["size"] != full["size"]:
            rows.append(_size_row(f"{arm.label}, published", full["size"], full["parameters"], full["largest"]))
    return pd.DataFrame(rows)


def matching_table(matching: Mapping[str, Any]) -> pd.DataFrame:
    """What was found in the folders, in words; what never happened is left out, but for what everybody asks."""
    rows = []
    for place, (key, words) in enumerate(_COUNTS.items()):
        if place < _ALWAYS or matching.get(key):
            rule = f"; {_RULES[matching['rule']]}" if key == "several_boxes" else ""
            rows.append((words + rule, matching.get(key, 0)))
    return pd.DataFrame(rows, columns=["what", "number"])


def _wide(
    scores: pd.DataFrame, what: Sequence[Judged], cell: Callable[[Any], str], published: pd.DataFrame | None = None
) -> pd.DataFrame:
    both = len(set(scores["protocol"])) > 1
    # The honest protocol first; of one protocol the arms as they come.
    honesty = scores["protocol"].map({protocol: -k for k, protocol in enumerate(PROTOCOLS)})
    ordered = scores.assign(honesty=honesty).sort_values("honesty", kind="stable")
    columns = list(ordered[["label", "protocol"]].drop_duplicates().itertuples(index=False, name=None))
    rows = []
    for one in what:
        row = {"subtype": one.subtype, "stage": one.words}
        if published is not None:
            row["published"] = one.published(published, what[0].subtype)
        here = scores[scores["metric"] == one.metric].set_index(["label", "protocol"])
        for label, protocol in columns:
            found = cell(here.loc[(label, protocol)]) if (label, protocol) in here.index else ""
            row[f"{label}, {protocol}" if both else label] = found
        rows.append(row)
    return pd.DataFrame(rows)


def interval(row: pd.Series) -> str:
    """`0.53 (0.41–0.64)`; without an interval where one patient alone was judged."""
    mean = f"{row['mean']:.2f}"
    return mean if pd.isna(row["low"]) else f"{mean} ({row['low']:.2f}–{row['high']:.2f})"


def of_patients(slices: int, patients: int) -> str:
    """`20 slices of 4 patients`."""
    return f"{count(slices, 'slice')} of {count(patients, 'patient')}"


def count(number: int, noun: str) -> str:
    """`1 slice`, `2 slices`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _size_row(label: str, size: int, parameters: int, dense: int) -> dict[str, Any]:
    words = f"{dense:,} ({100 * dense / parameters:.5g} %)" if dense else "none"
    return {"network": label, "px": str(size), "weights": f"{parameters:,}", "of which in one dense layer": words}
