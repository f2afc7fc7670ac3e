"""The parsed annotation of a slide: read from the pathologist's file once, by inspection, and from here by all others.

A Parquet table with a row per region: `name` (the class as written), `label` (tumour, non_tumour or ignore) and
`geometry` (WKB, in level-0 px from the corner of the slide). The schema's metadata holds slide, size, kind and
provenance. Coordinates are stored in full, so that what is computed from them is the same to the last bit.
"""

import json
import os
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from drunet.annotation.provenance import Provenance
from drunet.annotation.region import LABELS, Annotation, Kind, Region
from drunet.errors import DrunetError
from drunet.files import AnyPath, whole_file
from drunet.outcome import require_result

_KEY = b"drunet_annotation"
_COLUMNS = pa.schema([("name", pa.string()), ("label", pa.string()), ("geometry", pa.binary())])


def write_parsed(
    path: AnyPath, annotation: Annotation | None, provenance: Provenance | None, *, slide_id: str, size: tuple[int, int]
) -> None:
    """Write an annotation and where it comes from, or that the slide has none (None and None).

    Its regions are valid and inside the slide, as `read_annotation` leaves them; `size` is (width, height) in level-0
    px.
    """
    regions = annotation.regions if annotation else ()
    geometry = [shapely.to_wkb(region.geometry, byte_order=1) for region in regions]
    columns = [[r.name for r in regions], [r.label for r in regions], geometry]
    facts = {
        "slide": slide_id,
        "size": size,
        "kind": annotation.kind if annotation else "",
        "how": provenance.how if provenance else "",
        "sources": provenance.sources if provenance else (),
    }
    schema = _COLUMNS.with_metadata({_KEY: json.dumps(facts).encode()})
    with whole_file(path) as temporary:
        pq.write_table(pa.table(columns, schema=schema), temporary, compression="zstd")


def read_parsed(path: AnyPath, *, slide_id: str, size: tuple[int, int]) -> Annotation | None:
    """Read the annotation of the slide `slide_id` of `size` (width, height) in level-0 px; None if the slide has none.

    Raises FailedSlideError if the slide could not be used, and DrunetError if the file is not a parsed annotation of
    this slide.
    """
    table, facts = _read(path)
    if facts["slide"] != slide_id or facts["size"] != list(size):
        raise _foreign(path, f"slide {facts['slide']} of {facts['size']} px")
    if not facts["kind"]:
        return None
    geometries = shapely.from_wkb(table["geometry"].to_numpy(zero_copy_only=False))
    columns = zip(geometries, table["name"].to_pylist(), table["label"].to_pylist(), strict=True)
    regions = tuple(Region(*column) for column in columns)
    if any(region.label not in LABELS for region in regions):
        raise _foreign(path, "an unknown label")
    return Annotation(cast(Kind, facts["kind"]), regions)


def read_provenance(path: AnyPath) -> Provenance:
    """Read where the annotation of a slide comes from; raises as `read_parsed`."""
    facts = _read(path)[1]
    return Provenance(facts["how"] or "drawn", tuple(facts["sources"]))


def _read(path: AnyPath) -> tuple[pa.Table, dict[str, Any]]:
    require_result(path)
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise _foreign(path, str(error).splitlines()[0]) from error
    if table.column_names != _COLUMNS.names or _KEY not in (table.schema.metadata or {}):
        raise _foreign(path, f"columns {', '.join(table.column_names)}")
    return table, json.loads(table.schema.metadata[_KEY])


def _foreign(path: AnyPath, found: str) -> DrunetError:
    what = "the file is not the parsed annotation of this slide"
    return DrunetError(what, where=os.fspath(path), found=found, mend="Delete it and run the workflow again.")
