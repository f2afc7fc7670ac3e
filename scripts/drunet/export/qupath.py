"""A QuPath project of a run: project.qpproj as QuPath's DefaultProject reads it, and a script that imports the run."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drunet.files import write_json, write_text

# It opens every slide that this project reads, counting from the corner that `cohort.geojson_frame` is about.
_READER = "qupath.lib.images.servers.openslide.OpenslideServerBuilder"
# The oldest version whose methods the script calls.
_VERSION = "0.6.0"
_SCRIPT = """\
// Puts the outlines of the run @RUN@, and its tiles if they were exported, into the images of this project.
// In QuPath: Automate > Project scripts > import_@RUN@, then in the editor Run > Run for project.
// What was imported before, and perhaps corrected, is left alone.
import static qupath.lib.scripting.QP.*

def entry = getProjectEntry()
def folder = buildFilePath(PROJECT_BASE_DIR, '..', entry.getOriginalImageName())
def known = getAnnotationObjects().any {
    it.getMetadata()['drunet_run'] == '@RUN@' || it.getMetadata()['drunet_parent'] == '@RUN@'
}
def outlines = new File(folder, 'segmentation.geojson')
def tiles = new File(folder, 'tiles.geojson.gz')
if (!known && outlines.exists())
    importObjectsFromFile(outlines.getPath())
if (!getDetectionObjects().any { it.isTile() } && tiles.exists())
    importObjectsFromFile(tiles.getPath())
if (!getCurrentServer().getPixelCalibration().hasPixelSizeMicrons()) {
    def mpp = Double.parseDouble(entry.getMetadata()['mpp'])
    setPixelSizeMicrons(mpp, mpp)
}
"""


def write_project(
    project: str | os.PathLike[str], script: str | os.PathLike[str], run: str, slides: Mapping[str, tuple[str, float]]
) -> None:
    """Write a project in ``runs/RUN/qupath/`` and its script; `slides` holds file and µm/px of each slide by its ID.

    An image keeps its number when others come and go: under it QuPath keeps what is drawn. Moved together with the
    slides, the project finds them by their place relative to its own.
    """
    now = int(time.time() * 1000)
    images: list[dict[str, Any]] = [
        {
            "serverBuilder": {
                "builderType": "uri",
                "providerClassName": _READER,
                "uri": Path(path).absolute().as_uri(),
                "args": [],
            },
            "entryID": int(hashlib.sha256(slide.encode()).hexdigest()[:12], 16),
            "randomizedName": hashlib.sha256(slide.encode()).hexdigest()[12:24],
            "imageName": slide,
            "metadata": {"mpp": repr(mpp)},
        }
        for slide, (path, mpp) in slides.items()
    ]
    times = {"createTimestamp": now, "modifyTimestamp": now}
    last = max((image["entryID"] for image in images), default=0)
    where = Path(project).absolute().as_uri()
    write_json(project, {"version": _VERSION, **times, "uri": where, "lastID": last, "images": images})
    write_text(script, _SCRIPT.replace("@RUN@", run))
