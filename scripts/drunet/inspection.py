"""The first look at a slide: can it be used, where is its tissue, and what did the pathologist draw on it."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from shapely.geometry import MultiPolygon, Polygon

from drunet.annotation import Annotation, outline, rasterise, read_annotation, read_area
from drunet.annotation.fit import check_frame, fit_to_tissue
from drunet.annotation.outline import polygons_of
from drunet.annotation.provenance import Provenance, provenance_of
from drunet.annotation.region import MAX_UNTANGLED, Region
from drunet.console import say
from drunet.errors import AnnotationError, FailedSlideError, SlideError
from drunet.opening import COPY_AGAIN
from drunet.outcome import reason_of
from drunet.settings.tissue import TissueSettings
from drunet.slide import Slide
from drunet.soundness import MAX_UNREAD, check_resolution, compare_levels, lost_at_full_resolution, missing_tissue
from drunet.tissue import check_brightfield, tissue_mask

if TYPE_CHECKING:
    # Imported where there is a table.
    import pandas as pd

COLUMNS = (
    "slide_id", "split", "annotation_kind", "status", "width", "height", "mpp", "mpp_source", "vendor", "levels",
    "objective_power", "annotation_origin", "annotation_mended", "reason", "mend", "unread_mm2", "noted",
)  # fmt: skip
# A tissue mask of more pixels is made at a coarser resolution, which bounds memory at about 2 GB.
MAX_MASK_PX = 25_000_000
# Grey levels below the glass from which something is there.
FAINT = 8
_COPY = "Copy or export it again; the log of `inspect_slide` says where it failed."


@dataclass(frozen=True)
class Inspected:
    """What inspection found.

    The report holds JSON values: slide_id, status (one of `drunet.errors.SLIDE_STATUSES`), reason and mend (empty when
    ok), and what is known of width, height, mpp, mpp_source, vendor, levels, objective_power, annotation_origin
    (`Provenance` in words), annotation_mended (what was passed over or mended in it, in words), geojson_origin (level-0
    pixel [x, y] from which coordinates of GeoJSON count), unread_mm2 (tissue of which the file has no pixels) and noted
    (what else was mended or differs, in words). The failure says why the slide cannot be used; the tissue mask, bool
    (h, w), and the annotation, if it has one, are of a usable slide.
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
    region: str | None = None,
    own_tissue: str | None = None,
) -> Inspected:
    """Look at a slide once, before anything is spent on it; later stages read what was found.

    `mpp` (µm/px), the path of the annotation and its kind are as the sample sheet has them; `tissue`, `classes`,
    `geojson_frame` and `max_untangled` as the configuration has them under `tissue` and `cohort`; `region` and
    `own_tissue` are the files in the sheet's columns `region` and `tissue`.
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
            check_resolution(slide)
            frame: dict[str, Any] = {"where": slide_id, "width": properties.width, "height": properties.height}
            frame |= {"origin": origin, "max_untangled": max_untangled}
            size = properties.width, properties.height
            given = read_area(own_tissue, **frame) if own_tissue else None
            mask, unread = find_tissue(slide, tissue, given)
            if region:
                looked_at = read_area(region, **frame)
                mask, unread = _within(slide, looked_at, mask, unread)
            # Overviews come from small levels: the last tile at full resolution is what a cut file lacks.
            slide.read(properties.width - 256, properties.height - 256, (256, 256), properties.mpp)
            cell = properties.width / mask.shape[1], properties.height / mask.shape[0]
            area = float(unread.sum()) * cell[0] * cell[1] * (properties.mpp / 1000) ** 2
            facts["unread_mm2"] = round(area, 6)
            if (share := unread.sum() / mask.sum()) > MAX_UNREAD:
                what, found = "too much of the tissue is missing in the file", f"{share:.0%}, {area:.3g} mm²"
                raise SlideError(what, status="unreadable", where=slide_id, found=found, mend=COPY_AGAIN)
            facts["noted"] = "; ".join(dict.fromkeys(slide.notes + compare_levels(slide, mask)))
            if area:
                say(f"WARNING  {slide_id}: {area:.3g} mm² of the tissue ({share:.1%}) are missing in the file.")
        if annotation:
            drawn = read_annotation(
                annotation,
                kind=kind,
                classes=classes,
                **frame,
            )
            facts["annotation_mended"] = fit_to_tissue(drawn, mask, where=slide_id, size=size, mpp=properties.mpp)
            if unread.any():
                # Nothing is learnt or measured where nothing could be seen.
                hidden = Region(outline(unread, *cell), "unread", "ignore")
                drawn = replace(drawn, regions=(*drawn.regions, hidden))
            if region:
                outside = Region(polygons_of(shapely.box(0, 0, *size) - looked_at), "outside the region", "ignore")
                drawn = replace(drawn, regions=(*drawn.regions, outside))
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
        reason, mend = reason_of(error), error.mend
        for column, file in (("annotation", annotation), ("region", region), ("tissue", own_tissue)):
            reason, mend = (text.replace(Path(file).name, column) if file else text for text in (reason, mend))
        return _unusable(facts, "annotation_unusable", reason, mend)
    except Exception as error:  # whatever a strange file brings about concerns this slide alone
        _log(error)
        part, status = ("annotation", "annotation_unusable") if "noted" in facts else ("file", "unreadable")
        return _unusable(facts, status, f"the {part} cannot be read (found: {type(error).__name__})", _COPY)
    return Inspected({**facts, "status": "ok", "reason": "", "mend": ""}, None, mask, drawn, provenance)


def find_tissue(
    slide: Slide, settings: TissueSettings, given: Polygon | MultiPolygon | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Tissue mask, and where it is tissue of which the file has no pixels: bool (h, w) at `settings.mpp`, or coarser.

    The mask has no more than `MAX_MASK_PX`. What somebody drew, `given` in level-0 pixels, is the tissue instead of
    what would be found; it has to lie on that, or at least on what is darker than the glass. Raises AnnotationError for
    a drawing on glass, and SlideError with status ``not_brightfield``, ``no_tissue`` or ``unreadable``.
    """
    # More detail than the slide has would be made up.
    mpp = max(settings.mpp, slide.properties.mpp)
    height, width = slide.shape_at(mpp)
    if height * width > MAX_MASK_PX:
        mpp *= (height * width / MAX_MASK_PX) ** 0.5
        slide.notes.append(f"the tissue mask is at {mpp:.3g} µm/px, as the slide is large")
    image, missing = slide.overview(slide.shape_at(mpp))
    check_brightfield(image, where=slide.slide_id)
    mask = tissue_mask(image, **{**dict(settings), "mpp": mpp})
    if given is not None:
        size = slide.properties.width, slide.properties.height
        faint = image.min(axis=2) < np.percentile(image.min(axis=2), 95) - FAINT
        what = "tissue: the outlines lie"
        check_frame(given, mask | faint, where=slide.slide_id, size=size, mpp=slide.properties.mpp, what=what)
        drawn = rasterise(given, mask.shape, slide_size=size)
        held = f"it holds {(drawn & mask).sum() / mask.sum():.0%} of what" if mask.any() else "nothing"
        slide.notes.append(f"the tissue is as drawn; {held} would have been found")
        mask = drawn
    unread = lost_at_full_resolution(slide, image, mask)
    if (lost := missing_tissue(slide, image, missing)) is not None:
        mask, unread = mask | lost, unread | lost
    if not mask.any():
        mend = "If there is some, try another `tissue.method` or threshold."
        found = None if missing is None else f"{missing.mean():.0%} of the slide has no pixels"
        raise SlideError("no tissue was found", status="no_tissue", where=slide.slide_id, found=found, mend=mend)
    return mask, unread


def _within(
    slide: Slide, region: Polygon | MultiPolygon, mask: np.ndarray, unread: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What of the tissue lies in the region to look at; raises AnnotationError if nothing does."""
    size = slide.properties.width, slide.properties.height
    inside = rasterise(region, (mask.shape[0], mask.shape[1]), slide_size=size)
    if not (inside & mask).any():
        check_frame(region, mask, where=slide.slide_id, size=size, mpp=slide.properties.mpp, what="region: it lies")
        mend = "Draw it larger, or leave the cell empty."
        raise AnnotationError("region: there is no tissue in it", where=slide.slide_id, mend=mend)
    slide.notes.append(f"looked at in its region alone: {(inside & mask).sum() / mask.sum():.0%} of the tissue")
    return inside & mask, inside & unread


def status_table(reports: Sequence[Mapping[str, Any]], remarks: Mapping[str, str] | None = None) -> pd.DataFrame:
    """One row per slide with `COLUMNS`, in the order given; what is not known is empty.

    A report is `Inspected.report` with the slide's split and annotation_kind. `remarks` are from
    `drunet.cohort.remarks`; they are noted.
    """
    import pandas as pd

    rows = [{c: report.get(c, "") for c in COLUMNS} for report in reports]
    for row in rows:
        row["noted"] = "; ".join(filter(None, (row["noted"], (remarks or {}).get(row["slide_id"]))))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def outcome_table(outcomes: Mapping[str, FailedSlideError | None]) -> pd.DataFrame:
    """What became of usable slides (by ID; None: a result) later: slide_id, status (`ok`, or why the slide failed),
    stage, reason, mend.
    """
    import pandas as pd

    rows = [
        [slide, failed.status, failed.stage, reason_of(failed), failed.mend] if failed else [slide, "ok", "", "", ""]
        for slide, failed in outcomes.items()
    ]
    return pd.DataFrame(rows, columns=["slide_id", "status", "stage", "reason", "mend"])


def _unusable(facts: Mapping[str, Any], status: str, reason: str, mend: str) -> Inspected:
    failure = FailedSlideError(reason, stage="inspect_slide", status=status, where=facts["slide_id"], mend=mend)
    return Inspected({**facts, "status": status, "reason": reason, "mend": mend}, failure)


def _log(error: Exception) -> None:
    """The traceback in the job's log, without messages: those of other libraries may hold names."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    print(f"Traceback (most recent call last):\n{frames}{type(error).__name__}", file=sys.stderr, flush=True)  # noqa: T201
