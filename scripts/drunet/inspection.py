"""The first look at a slide: can it be used, where is its tissue, and what did the pathologist draw on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from drunet.annotation import Annotation, read_annotation
from drunet.annotation.fit import fit_to_tissue
from drunet.annotation.provenance import Provenance, provenance_of
from drunet.annotation.region import MAX_UNTANGLED
from drunet.console import say
from drunet.errors import AnnotationError, FailedSlideError, SlideError
from drunet.outcome import reason_of
from drunet.settings.tissue import TissueSettings
from drunet.slide import Slide
from drunet.tissue import check_brightfield, tissue_mask

COLUMNS = (
    "slide_id", "split", "annotation_kind", "status", "width", "height", "mpp", "mpp_source", "vendor", "levels",
    "objective_power", "annotation_origin", "annotation_mended", "reason", "mend",
)  # fmt: skip


@dataclass(frozen=True)
class Inspected:
    """What inspection found.

    The report holds JSON values: slide_id, status (one of `drunet.errors.SLIDE_STATUSES`), reason and mend (empty when
    ok), and what is known of width, height, mpp, mpp_source, vendor, levels, objective_power, annotation_origin
    (`Provenance` in words), annotation_mended (what was passed over or mended in it, in words) and geojson_origin
    (level-0 pixel [x, y] from which coordinates of GeoJSON count). The failure says why the slide cannot be used; the
    tissue mask, bool (h, w), and the annotation, if it has one, are of a usable slide.
    """

    report: dict[str, Any]
    failure: FailedSlideError | None = None
    tissue: np.ndarray | None = None
    annotation: Annotation | None = None
    provenance: Provenance | None = None


def inspect(
    path: str,
    slide_id: str,
    *,
    mpp: float | None,
    tissue: TissueSettings,
    annotation: str | None,
    kind: str,
    classes: Mapping[str, Sequence[str]],
    geojson_frame: str,
    max_untangled: float = MAX_UNTANGLED,
) -> Inspected:
    """Look at a slide once, before anything is spent on it; later stages read what was found.

    `mpp` (µm/px), the path of the annotation and its kind are as the sample sheet has them; `tissue`, `classes`,
    `geojson_frame` and `max_untangled` as the configuration has them under `tissue` and `cohort`.
    """
    facts: dict[str, Any] = {"slide_id": slide_id}
    drawn = provenance = None
    try:
        with Slide(path, slide_id, mpp) as slide:
            properties = slide.properties
            origin = properties.geojson_origin(geojson_frame)
            facts |= {
                "width": properties.width,
                "height": properties.height,
                "mpp": properties.mpp,
                "mpp_source": properties.mpp_source,
                "vendor": properties.vendor,
                "levels": len(properties.downsamples),
                "objective_power": properties.objective_power,
                "geojson_origin": list(origin),
            }
            mask = find_tissue(slide, tissue)
            # Overviews come from small levels: the last tile at full resolution is what a cut file lacks.
            slide.read(properties.width - 256, properties.height - 256, (256, 256), properties.mpp)
        if annotation:
            drawn = read_annotation(
                annotation,
                kind=kind,
                where=slide_id,
                width=properties.width,
                height=properties.height,
                classes=classes,
                origin=origin,
                max_untangled=max_untangled,
            )
            size = properties.width, properties.height
            facts["annotation_mended"] = fit_to_tissue(drawn, mask, where=slide_id, size=size, mpp=properties.mpp)
            provenance = provenance_of(annotation, slide_id)
            facts["annotation_origin"] = str(provenance)
            if provenance.how == "unedited":
                what = f"the annotation is an outline of {' and '.join(provenance.sources)} that nobody edited"
                why = "A model learns nothing new from it, and scores against it say how alike two models are."
                say(f"WARNING  {slide_id}: {what}. {why}")
    except SlideError as error:
        return _unusable(facts, error.status, reason_of(error), error.mend)
    except AnnotationError as error:
        # File names may hold a patient's name, and this goes into tables and the report.
        reason, mend = (
            text.replace(Path(str(annotation)).name, "annotation") for text in (reason_of(error), error.mend)
        )
        return _unusable(facts, "annotation_unusable", reason, mend)
    return Inspected({**facts, "status": "ok", "reason": "", "mend": ""}, None, mask, drawn, provenance)


def find_tissue(slide: Slide, settings: TissueSettings) -> np.ndarray:
    """Tissue mask of a slide, bool (h, w) at `settings.mpp`.

    Raises SlideError with status ``not_brightfield`` or ``no_tissue``.
    """
    image = slide.read_whole(slide.shape_at(settings.mpp))
    check_brightfield(image, where=slide.slide_id)
    mask = tissue_mask(image, **dict(settings))
    if not mask.any():
        mend = "If there is some, try another `tissue.method` or threshold."
        raise SlideError("no tissue was found", status="no_tissue", where=slide.slide_id, mend=mend)
    return mask


def status_table(reports: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """One row per slide with `COLUMNS`, in the order given; what is not known is empty.

    A report is `Inspected.report` with the slide's split and annotation_kind.
    """
    return pd.DataFrame([{c: report.get(c, "") for c in COLUMNS} for report in reports], columns=list(COLUMNS))


def outcome_table(outcomes: Mapping[str, FailedSlideError | None]) -> pd.DataFrame:
    """What became of usable slides (by ID; None: a result) later: slide_id, status (`ok`, or why the slide failed),
    stage, reason, mend.
    """
    rows = [
        [slide, failed.status, failed.stage, reason_of(failed), failed.mend] if failed else [slide, "ok", "", "", ""]
        for slide, failed in outcomes.items()
    ]
    return pd.DataFrame(rows, columns=["slide_id", "status", "stage", "reason", "mend"])


def _unusable(facts: Mapping[str, Any], status: str, reason: str, mend: str) -> Inspected:
    failure = FailedSlideError(reason, stage="inspect_slide", status=status, where=facts["slide_id"], mend=mend)
    return Inspected({**facts, "status": status, "reason": reason, "mend": mend}, failure)
