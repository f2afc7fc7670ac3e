"""View of the page on tumour boxes: its numbers, and tables as they are shown."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from drunet.report.words import number, plural
from studies.common.images.class_figures import PROTOCOL_NAMES
from studies.common.images.protocols import PROTOCOLS
from studies.common.images.tables import Arms
from studies.common.words import with_interval
from studies.ct_boxes.tables import MEAN_BOX, Judged
from studies.ct_boxes.tasks import SUBTYPES, shown_protocol
from studies.ct_boxes.trials import SOURCE, TUNED

# What matching.json counts. The first six are always shown, the others where they are not 0.
_COUNTS = {
    "slices": "slices with a box, read and kept",
    "annotated": "CT slices with an annotation",
    "dicom_without_annotation": "CT slices without an annotation, left out",
    "annotation_without_dicom": "annotations without a CT slice, left out",
    "several_boxes": "slices with several boxes",
    "unreadable": "unreadable files",
    "without_patient": "slices without a patient ID",
    "not_ct": "DICOM files that are not CT slices (other modalities, reports, outlines)",
    "duplicates": "duplicate CT slices (the first counts)",
    "wrong_names": "annotations not named by a UID",
    "duplicate_annotations": "duplicate annotations (the first counts)",
    "unusable_annotations": "invalid annotations",
    "without_box": "annotations without a usable box",
    "outside_boxes": "boxes outside their slice",
    "empty_boxes": "boxes without an area",
    "other_subtype": "slices of other subtypes",
    "no_subtype": "slices without a subtype",
    "subtype_differs": "slices whose box names another subtype than the patient (the patient counts)",
    "left_out": "slices above the maximum number per subtype",
}
_ALWAYS = 6
_RULES = {"largest": "the largest box counts", "union": "the box around all counts", "first": "the first box counts"}


def page_view(
    scores: pd.DataFrame,
    leak: pd.DataFrame,
    arms: Arms,
    what: Sequence[Judged],
    published: pd.DataFrame,
    matching: Mapping[str, Any],
    slices: pd.DataFrame,
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """What `page.md.j2` names.

    `scores`, `leak`, `arms`, `what`: from `studies.ct_boxes.tables`; arms with the mean box. `published`:
    published.tsv, as text. `matching`, `slices`: matching.json and slices.tsv. `settings`: the study's, as of
    `studies.common.study_settings.without_paths`.
    """
    source, targets, protocol = settings["source"], list(settings["targets"]), shown_protocol(settings)
    networks = [arm for arm in arms if arm.history is not None]
    once = list({arm.name: arm for arm in networks}.values())
    means = scores[(scores["protocol"] == protocol) & (scores["metric"] == what[0].metric)].set_index("arm")
    ious = means[["label", "mean", "low", "high"]].to_dict("index")
    of_source = leak[leak["stage"] == SOURCE].set_index("protocol")
    counts = slices.groupby("subtype").agg(slices=("file", "size"), patients=("patient", "nunique")).reset_index()
    used = slices[slices["subtype"].isin([source, *targets])]
    centre, width = (settings["slices"]["window"][key] for key in ("centre", "width"))
    shown = settings["arms"][settings["pictures"]["arm"]]
    skipped = {f"{arm.task}: {t}: {why}" for arm in networks for t, why in arm.facts.get("skipped", {}).items()}
    return {
        **{key: settings[key] for key in ("size", "protocols", "good", "embedded")},
        "source": source,
        "source_name": SUBTYPES[source],
        "targets": targets,
        "protocol": protocol,
        "used": {"slices": len(used), "patients": used["patient"].nunique()},
        "tested": of_source.loc[protocol].to_dict(),
        "ious": [ious[arm.name] for arm in once if arm.name in ious],
        "mean_box": ious[MEAN_BOX],
        "leak": None if "random" not in of_source.index else of_source.loc["random", "leak"],
        "shown_label": shown["label"],
        "own_attention": shown["architecture"] == "compact_box_regressor",
        "scores": scores_table(scores, what, published),
        "good_shares": _wide(scores, what, lambda row: number(100 * row["good"], 0)),
        "splits_table": leak_table(leak),
        "matching": matching_table(matching),
        "subtypes": counts.to_dict("records"),
        "window": {"black": centre - width / 2, "white": centre + width / 2},
        "without_patient": int(matching.get("without_patient", 0)),
        "skipped": sorted(skipped),
    }


def scores_table(scores: pd.DataFrame, what: Sequence[Judged], published: pd.DataFrame) -> pd.DataFrame:
    """Mean IoU and its interval: a row per subtype and stage, the published value, a column per arm and protocol."""
    # The thesis trained on one subtype: its results cannot be compared with training on another.
    comparable = what[0].published(published, what[0].subtype) != ""
    cell = lambda row: with_interval(row["mean"], row["low"], row["high"])  # noqa: E731
    return _wide(scores, what, cell, published if comparable else None)


def leak_table(leak: pd.DataFrame) -> pd.DataFrame:
    """Training and test slices and patients, and how many test slices are of a training patient."""

    def of_patients(kind: str) -> list[str]:
        pairs = zip(leak[kind], leak[f"{kind}_patients"], strict=True)
        return [f"{plural(n, 'slice')} of {plural(patients, 'patient')}" for n, patients in pairs]

    return pd.DataFrame(
        {
            "split": leak["protocol"].map(PROTOCOL_NAMES),
            "subtype": leak["subtype"],
            "stage": leak["stage"].map({SOURCE: "from random weights", TUNED: "fine-tuning"}),
            "training": of_patients("learnt"),
            "test": of_patients("judged"),
            "test slices of a training patient (%)": [number(100 * share, 0) for share in leak["leak"]],
        }
    )


def matching_table(matching: Mapping[str, Any]) -> pd.DataFrame:
    """What was found in the folders; counts of 0 are left out, except the usual ones."""
    rows = []
    for place, (key, words) in enumerate(_COUNTS.items()):
        if place < _ALWAYS or matching.get(key):
            rule = f" ({_RULES[matching['rule']]})" if key == "several_boxes" else ""
            rows.append((words + rule, matching.get(key, 0)))
    return pd.DataFrame(rows, columns=["what", "number"])


def _wide(
    scores: pd.DataFrame, what: Sequence[Judged], cell: Callable[[Any], str], published: pd.DataFrame | None = None
) -> pd.DataFrame:
    both = len(set(scores["protocol"])) > 1
    # The split without a leak first; within a split the arms in their order.
    honesty = scores["protocol"].map({protocol: -k for k, protocol in enumerate(PROTOCOLS)})
    ordered = scores.assign(honesty=honesty).sort_values("honesty", kind="stable")
    ordered["column"] = ordered["label"] + (", " + ordered["protocol"] if both else "")
    ordered["cell"] = [cell(row) for row in ordered.to_dict("records")]
    cells = ordered.pivot_table(index="metric", columns="column", values="cell", aggfunc="first")
    cells = cells.reindex(index=[one.metric for one in what], columns=ordered["column"].unique()).fillna("")
    table = pd.DataFrame({"subtype": [one.subtype for one in what], "stage": [one.words for one in what]})
    if published is not None:
        table["published"] = [one.published(published, what[0].subtype) for one in what]
    return pd.concat([table, cells.reset_index(drop=True).rename_axis(columns=None)], axis=1)
