"""A QuPath project of a run: project.qpproj, as QuPath's DefaultProject reads it."""

import hashlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drunet.files import AnyPath, write_json

# It opens every slide that this project reads, counting from the corner that `cohort.geojson_frame` is about.
_READER = "qupath.lib.images.servers.openslide.OpenslideServerBuilder"
# The oldest version whose methods the script calls.
_VERSION = "0.6.0"


def write_project(path: AnyPath, slides: Mapping[str, tuple[str, float]]) -> None:
    """Write a project; `slides` holds file and µm/px of each slide by its ID.

    An image keeps its number when others come and go: under it QuPath keeps what is drawn. Moved together with the
    slides, the project finds them by their place relative to its own.
    """
    now = int(time.time() * 1000)
    images: list[dict[str, Any]] = [
        {
            "serverBuilder": {
                "builderType": "uri",
                "providerClassName": _READER,
                "uri": Path(file).absolute().as_uri(),
                "args": [],
            },
            "entryID": int(hashlib.sha256(slide.encode()).hexdigest()[:12], 16),
            "randomizedName": hashlib.sha256(slide.encode()).hexdigest()[12:24],
            "imageName": slide,
            "metadata": {"mpp": repr(mpp)},
        }
        for slide, (file, mpp) in slides.items()
    ]
    times = {"createTimestamp": now, "modifyTimestamp": now}
    last = max((image["entryID"] for image in images), default=0)
    where = Path(path).absolute().as_uri()
    write_json(path, {"version": _VERSION, **times, "uri": where, "lastID": last, "images": images})
