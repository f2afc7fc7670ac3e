"""The first look at a slide: can it be used, and if not, why and how to mend it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from drunet.annotation import read_annotation
from drunet.annotation.provenance import Provenance, provenance_of
from drunet.console import say
from drunet.errors import AnnotationError, SlideError
from drunet.settings.tissue import TissueSettings
from drunet.slide import Slide
from drunet.tissue import check_brightfield, tissue_mask

COLUMNS = (
    "slide_id",
    "split",
    "annotation_kind",
    "status",
    "width",
    "height",
    "mpp",
    "mpp_source",
    "vendor",
    "levels",
    "objective_power",
    "annotation_origin",
    "reason",
    "mend",
)


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
) -> dict[str, Any]:
    """Look at a slide as all later stages will, once, before anything is spent on it.

    Returns
    -------
    dict
        status (one of `drunet.errors.SLIDE_STATUSES`), reason and mend (empty when ok), and what is known of width,
        height, mpp, mpp_source, vendor, levels, objective_power, annotation_origin (`Provenance` in words).
    """
    facts: dict[str, Any] = {}
    try:
        with Slide(path, slide_id, mpp) as slide:
            properties = slide.properties
            facts = {
                "width": properties.width,
                "height": properties.height,
                "mpp": properties.mpp,
                "mpp_source": properties.mpp_source,
                "vendor": properties.vendor,
                "levels": len(properties.downsamples),
                "objective_power": properties.objective_power,
            }
            find_tissue(slide, tissue)
            # Overviews come from small levels: the last tile at full resolution is what a cut file lacks.
            slide.read(properties.width - 256, properties.height - 256, (256, 256), properties.mpp)
        if annotation:
            read_annotation(
                annotation,
                kind=kind,
                where=slide_id,
                width=properties.width,
                height=properties.height,
                classes=classes,
                origin=properties.geojson_origin(geojson_frame),
            )
            provenance = provenance_of(annotation, slide_id)
            facts["annotation_origin"] = str(provenance)
            _warn_if_unedited(provenance, slide_id)
    except SlideError as error:
        return {"slide_id": slide_id, "status": error.status, **facts, **_reason(error)}
    except AnnotationError as error:
        # File names may hold a patient's name, and this goes into tables and the report.
        reason = {k: v.replace(Path(str(annotation)).name, "annotation") for k, v in _reason(error).items()}
        return {"slide_id": slide_id, "status": "annotation_unusable", **facts, **reason}
    return {"slide_id": slide_id, "status": "ok", **facts, "reason": "", "mend": ""}


def find_tissue(slide: Slide, settings: TissueSettings) -> Any:
    """Tissue mask of a slide, bool (h, w) at `settings.mpp`.

    Raises
    ------
    SlideError
        With status ``not_brightfield`` or ``no_tissue``.
    """
    image = slide.read_whole(slide.shape_at(settings.mpp))
    check_brightfield(image, where=slide.slide_id)
    mask = tissue_mask(image, **dict(settings))
    if not mask.any():
        raise SlideError(
            "no tissue was found",
            status="no_tissue",
            where=slide.slide_id,
            mend="If there is some, try another `tissue.method` or threshold.",
        )
    return mask


def status_table(reports: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """One row per slide with `COLUMNS`, in the order given; what is not known is empty."""
    return pd.DataFrame([{c: report.get(c, "") for c in COLUMNS} for report in reports], columns=list(COLUMNS))


def _warn_if_unedited(provenance: Provenance, slide_id: str) -> None:
    if provenance.how == "unedited":
        say(
            f"WARNING  {slide_id}: the annotation is an outline of {' and '.join(provenance.sources)} that nobody "
            "edited. A model learns nothing new from it, and scores against it say how alike two models are."
        )


def _reason(error: SlideError | AnnotationError) -> dict[str, str]:
    found = "" if error.found is None else f" (found: {error.found})"
    return {"reason": f"{error.what}{found}", "mend": error.mend}
