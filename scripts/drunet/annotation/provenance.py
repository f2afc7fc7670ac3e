"""Where an annotation comes from: drawn by hand, or a model's outline that a pathologist corrected.

An exported outline carries its origin in the feature's ``metadata``, a mapping of text to text that QuPath takes in
with an object and writes out with it (QuPath's PathObjectTypeAdapter, since version 0.3). What QuPath makes anew, as by
merging two outlines, has none and counts as drawn. The outline's own digest tells whether anybody touched it.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import shapely
from shapely.geometry import MultiPolygon, Polygon

import drunet
from drunet.annotation.geojson import Drawn, drawn_features
from drunet.annotation.region import Source
from drunet.files import ID_PATTERN, AnyPath

How = Literal["drawn", "corrected", "unedited"]
RUN, MODELS, VERSION = "drunet_run", "drunet_models", "drunet_version"
OUTLINE, OUTLINES = "drunet_outline", "drunet_outlines"
# What a file claims goes into tables and cards: nothing passes that an export could not have written.
_LEGAL = {
    RUN: ID_PATTERN,
    MODELS: rf"{ID_PATTERN} [0-9a-f]{{12}}(, {ID_PATTERN} [0-9a-f]{{12}})*",
    VERSION: r"[0-9A-Za-z.+-]{1,40}",
    OUTLINE: "[0-9a-f]{16}",
    OUTLINES: "[0-9]{1,9}",
}


@dataclass(frozen=True)
class Provenance:
    """Where one slide's annotation comes from.

    How: `drawn` (nothing in it is known to be a model's), `corrected` (somebody changed what a model outlined) or
    `unedited` (it is what the model outlined). `sources` has one entry per export that is in it: run, models with the
    first twelve digits of their SHA-256, and version.
    """

    how: How
    sources: tuple[str, ...] = ()

    def __str__(self) -> str:
        sources = " and ".join(self.sources)
        return {"drawn": "drawn", "corrected": f"corrected from {sources}", "unedited": f"unedited {sources}"}[self.how]


def origin(run: str, models: Mapping[str, str]) -> dict[str, str]:
    """What an exported outline says of itself, for its ``metadata``; `models` are names with their SHA-256."""
    digests = ", ".join(f"{name} {sha256[:12]}" for name, sha256 in models.items())
    return {RUN: run, MODELS: digests, VERSION: drunet.__version__}


def outline_digest(polygons: Sequence[Sequence[Any]], name: str) -> str:
    """Digest of an outline and its class, sixteen hexadecimal digits, the same for all ways to write them.

    Where a ring starts, which way it runs, corners on a straight line and the order of the parts do not count.
    `polygons` holds per polygon its outer ring and its holes, closed, positions (x, y).
    """
    shape = MultiPolygon([Polygon(rings[0], rings[1:]) for rings in ([*map(_corners, p)] for p in polygons)])
    content = shapely.to_wkb(shapely.normalize(shape), byte_order=1, output_dimension=2)
    return hashlib.sha256(" ".join(name.split()).casefold().encode() + b"\0" + content).hexdigest()[:16]


def _corners(ring: Any) -> np.ndarray:
    """A ring's true corners in whole tenths of a pixel."""
    # + 0 turns a negative zero into the other.
    tenths = np.rint(np.asarray(ring, np.float64)[:-1] * 10) + 0.0
    apart = tenths[(tenths != np.roll(tenths, 1, axis=0)).any(axis=1)]
    (ax, ay), (bx, by) = (apart - np.roll(apart, 1, axis=0)).T, (np.roll(apart, -1, axis=0) - apart).T
    corners = apart[ax * by != ay * bx]
    return corners if len(corners) >= 3 else np.asarray(ring, np.float64)


def provenance_of(path: AnyPath, where: str) -> Provenance:
    """Read where an annotation file comes from; formats other than GeoJSON cannot say, and count as drawn.

    `where` is the slide ID, for messages. Raises AnnotationError if the file is GeoJSON that cannot be understood.
    """
    file = Path(path)
    if file.suffix.casefold() not in (".geojson", ".json"):
        return Provenance("drawn")
    features = list(drawn_features(file.read_bytes(), Source(where, file.name, 0, 0, {})))
    origins = [_origin_of(feature) for feature in features]
    known = [o for o in origins if o is not None]
    if not known:
        return Provenance("drawn")
    sources = tuple(dict.fromkeys(f"run {o[RUN]} ({o[MODELS]}; drunet {o[VERSION]})" for o in known))
    # A region that was added, deleted, doubled or given another class is an edit as well.
    outlines = {o[OUTLINE] for o in known}
    complete = len(sources) == 1 and len(origins) == len(outlines) == int(known[0][OUTLINES])
    digests = [outline_digest(feature.polygons, feature.name or "") for feature in features]
    untouched = all(o is not None and o[OUTLINE] == digest for o, digest in zip(origins, digests, strict=True))
    return Provenance("unedited" if complete and untouched else "corrected", sources)


def summarise_provenance(found: Mapping[str, Provenance]) -> dict[str, Any]:
    """Count where the annotations of several slides (by ID) come from.

    The JSON values are `drawn`, `corrected` and `unedited` (numbers of slides), `sources` (what the latter two derive
    from, with the number of slides) and `unedited_slides` (IDs).
    """
    how = Counter(p.how for p in found.values())
    return {
        **{kind: how[kind] for kind in ("drawn", "corrected", "unedited")},
        "sources": dict(Counter(source for p in found.values() for source in p.sources)),
        "unedited_slides": [slide for slide, p in found.items() if p.how == "unedited"],
    }


def provenance_sentence(summary: Mapping[str, Any]) -> str:
    """`summarise_provenance` in words, for a model card."""
    total = summary["drawn"] + summary["corrected"] + summary["unedited"]
    if not total:
        return "not known."
    if not summary["sources"]:
        return f"All {total} annotations were drawn, as far as their files say."
    sources = "; ".join(f"{count} from {source}" for source, count in summary["sources"].items())
    words = f"Of {total} annotations {summary['drawn']} were drawn and {summary['corrected']} corrected from a model's"
    if summary["unedited"]:
        words += (
            f"; {summary['unedited']} are a model's own outline, unedited ({', '.join(summary['unedited_slides'])})"
        )
    return f"{words}: {sources}."


def _origin_of(feature: Drawn) -> dict[str, str] | None:
    values = {key: str(feature.metadata.get(key, "")) for key in _LEGAL}
    return values if all(re.fullmatch(_LEGAL[key], value) for key, value in values.items()) else None
