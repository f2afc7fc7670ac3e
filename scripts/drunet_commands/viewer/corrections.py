"""Outlines that are corrected in the viewer: what one begins with, and the GeoJSON that the sheet takes."""

from __future__ import annotations

import errno
import gzip
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drunet.annotation import read_annotation
from drunet.annotation.geojson import drawn_features
from drunet.annotation.parsed import read_parsed
from drunet.annotation.provenance import MODELS, OUTLINE, OUTLINES, RUN, VERSION, provenance_of
from drunet.annotation.region import Source
from drunet.errors import AnnotationError, DrunetError
from drunet.files import whole_file, write_json
from drunet.outcome import outcome_of
from drunet_commands.viewer.layers import rings
from drunet_commands.viewer.opened import Opened
from drunet_commands.viewer.pixels import ShownSlide

_COLOURS = {"tumour": [200, 0, 0], "non_tumour": [0, 114, 178], "ignore": [128, 128, 128]}
Regions = list[dict[str, Any]]


def beginnings(opened: Opened, run: str | None, slide: str, shown: ShownSlide) -> dict[str, Regions]:
    """What a correction may begin with: `saved`, the outline of the `run`, the sheet's `annotation`.

    A region has polygons in the pixels that are shown, the name of its class, and metadata: where it comes from.
    """
    outline = opened.results / "runs" / (run or "") / slide / "segmentation.geojson"
    compressed = outline.with_name(f"{outline.name}.gz")
    run_file = outline if outline.is_file() else compressed
    files = {"saved": opened.saved(slide), "run": run_file, "annotation": Path(opened.rows[slide].annotation)}
    found = {
        name: [
            {"polygons": [[r.tolist() for r in p] for p in f.polygons], "name": f.name or "", "metadata": f.metadata}
            for f in drawn_features(_text(path), Source(slide, name, 0, 0, opened.classes))
        ]
        for name, path in files.items()
        if path.is_file() and path.suffix.casefold() in (".geojson", ".json", ".gz") and not outcome_of(path)
    }
    parsed = opened.results / "slides" / slide / "annotation.parquet"
    if "annotation" not in found and parsed.is_file() and (size := shown.properties):
        drawn = read_parsed(parsed, slide_id=slide, size=(size.width, size.height))
        if drawn:
            found["annotation"] = [{"polygons": rings(r.geometry, shown.origin), "name": r.name} for r in drawn.regions]
    return found


def save(opened: Opened, slide: str, shown: ShownSlide, asked: Mapping[str, Any]) -> dict[str, str]:
    """Write regions, as `beginnings` gives them, if the workflow takes them as an annotation; how to enter them.

    `asked` has `regions` and `kind`, wta or psa. Raises DrunetError, and nothing is written then.
    """
    kind, regions, path = asked.get("kind"), asked.get("regions"), opened.saved(slide)
    if kind not in ("wta", "psa") or not isinstance(regions, list) or not all(isinstance(r, dict) for r in regions):
        raise AnnotationError("these are no outlines", where=slide, mend="Load the viewer's page again.")
    if shown.properties is None:
        raise AnnotationError("the slide has no resolution", where=slide, mend="Add a column `mpp` to the sheet first.")
    width, height = shown.properties.width, shown.properties.height
    source = Source(slide, "the outlines", width, height, opened.classes)
    features = [_feature(region, source, f"region {number}") for number, region in enumerate(regions, start=1)]
    try:
        with whole_file(path) as temporary:
            write_json(temporary, {"type": "FeatureCollection", "features": features})
            read_annotation(
                temporary,
                kind=kind,
                where=slide,
                width=width,
                height=height,
                classes=opened.classes,
                origin=shown.origin,
                max_untangled=opened.max_untangled,
            )
            origin = str(provenance_of(temporary, slide))
    except AnnotationError as error:
        # The file's name is of the moment.
        what = error.what.replace(f"{temporary.name}, feature", "region").replace(f"{temporary.name}: ", "")
        raise AnnotationError(what, where=slide, found=error.found, mend=error.mend) from None
    except (RecursionError, ValueError):
        # Numbers without end, or lists.
        raise AnnotationError("these are no outlines", where=slide, mend="Load the viewer's page again.") from None
    except OSError as error:
        what, mend = "corrections cannot be written here", "Change the folder's permissions, or name another: --save."
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            what, mend = "the disk is full: what was saved before is kept", "Make room, then save again."
        raise DrunetError(what, where=os.fspath(path.parent), found=error.strerror, mend=mend) from None
    entry = {"annotation": os.path.relpath(path, opened.root), "annotation_kind": kind}
    return {"file": os.fspath(path), "origin": origin, **entry}


def _text(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def _feature(region: Mapping[str, Any], source: Source, item: str) -> dict[str, Any]:
    """A region as QuPath writes it; of its metadata what says where it comes from."""
    name, metadata = str(region.get("name", "")), region.get("metadata")
    noted = metadata if isinstance(metadata, dict) else {}
    properties = {
        "objectType": "annotation",
        "classification": {"name": name, "color": _COLOURS[source.label_of(name, item)]},
        "isLocked": False,
        "metadata": {key: str(noted[key]) for key in (RUN, MODELS, VERSION, OUTLINE, OUTLINES) if key in noted},
    }
    geometry = {"type": "MultiPolygon", "coordinates": region.get("polygons")}
    return {"type": "Feature", "id": str(uuid.uuid4()), "geometry": geometry, "properties": properties}
