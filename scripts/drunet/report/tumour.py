"""Tumour of slides and patients in numbers, whether anybody has annotated them or not."""

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import pandas as pd

from drunet.files import AnyPath
from drunet.tiles import read_mask

YES, NO, UNKNOWN = "yes", "no", "unknown"
_AREAS = ("tumour_mm2", "tissue_mm2", "share")
_AUDIT = ("audited", "differing", "differing_at_most")


def tumour_per_slide(
    slides: pd.DataFrame, patients: Mapping[str, int], masks: Mapping[str, tuple[str, str]], failed: Mapping[str, str]
) -> pd.DataFrame:
    """Tumour of every slide of the sheet: slide, patient, split, status, tumour, tumour_mm2, tissue_mm2, share.

    `slides` is slides.tsv (`drunet.report.collect.read_slides`). By slide, `patients` has a number of its patient, who
    is never named, `masks` the segmentation and the tissue mask (`drunet.tiles.read_mask`), `failed` the status of
    those that failed after inspection. `tumour` is yes, no (nothing was left after post-processing) or unknown
    (the slide has no result); `share` is the share of the tissue that is tumour; tumour outside of it is not in it.
    """
    rows = []
    for slide in slides.to_dict("records"):
        name = slide["slide_id"]
        status = failed.get(name, slide["status"])
        row = {"slide": name, "patient": patients[name], "split": slide["split"], "status": status, "tumour": UNKNOWN}
        if status == "ok":
            tumour, tissue = (read_mask(path) for path in masks[name])
            # On one raster, so that tissue which is all tumour has a share of 1.
            fitted = cv2.resize(tissue.astype(np.uint8), tumour.shape[::-1], interpolation=cv2.INTER_NEAREST_EXACT) > 0
            share = (tumour & fitted).sum() / (fitted.sum() or np.nan)
            mm2 = slide["width"] * slide["height"] * (slide["mpp"] / 1000) ** 2
            areas = dict(zip(_AREAS, (tumour.mean() * mm2, tissue.mean() * mm2, share), strict=True))
            row |= {"tumour": YES if tumour.any() else NO, **areas}
        rows.append(row)
    return pd.DataFrame(rows, columns=["slide", "patient", "split", "status", "tumour", *_AREAS])


def with_audits(table: pd.DataFrame, audits: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """A table of `tumour_per_slide` of a run with a cascade: with audited, differing, differing_at_most and in_full.

    `audits` has the facts of each slide's `drunet.cascade.Certificate`; without an audit nothing is known.
    """
    rows = [audits.get(slide, {}) for slide in table["slide"]]
    most = [row.get("bound") for row in rows]
    numbers = {key: pd.array([row.get(key) for row in rows], dtype="Int64") for key in _AUDIT[:2]}
    full = [(YES if row["in_full"] else NO) if row else UNKNOWN for row in rows]
    return table.assign(**numbers, differing_at_most=pd.to_numeric(pd.Series(most, dtype=object)), in_full=full)


def tumour_per_patient(table: pd.DataFrame) -> pd.DataFrame:
    """Tumour of every patient, from `tumour_per_slide`: patient, slides, segmented, tumour, areas, share, slide_ids.

    A patient has tumour if any slide has; without one it is unknown as long as a slide has no result.
    """
    known = table["tumour"] != UNKNOWN
    each = table.assign(known=known, yes=table["tumour"] == YES, **{area: table[area].where(known) for area in _AREAS})
    by = each.assign(share=each["share"] * each["tissue_mm2"]).groupby("patient", sort=False)
    found = by.agg(slides=("slide", "size"), segmented=("known", "sum"), yes=("yes", "any"))
    tissue = by["tissue_mm2"].sum().replace(0, np.nan)
    answers = np.select([found["yes"], found["segmented"] < found["slides"]], [YES, UNKNOWN], NO).astype(object)
    areas = {"tumour_mm2": by["tumour_mm2"].sum(min_count=1), "tissue_mm2": tissue, "share": by["share"].sum() / tissue}
    found = found.drop(columns="yes").assign(tumour=answers, **areas, slide_ids=by["slide"].agg(", ".join))
    return found.reset_index()


def read_tumour(path: AnyPath) -> pd.DataFrame:
    """Read a table of `tumour_per_slide`."""
    table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    known = [column for column in ("patient", *_AREAS, *_AUDIT) if column in table]
    return table.assign(**{column: pd.to_numeric(table[column]) for column in known})
