"""What a DICOM series says of itself beside its pixels, and whether it can be opened at all."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from drunet.errors import SlideError

if TYPE_CHECKING:
    from pydicom import Dataset

# Opening reads headers; of the largest series it takes seconds.
SECONDS = 120
_OPEN = "import sys, openslide; openslide.OpenSlide(sys.argv[1]).close()"


def is_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM does."""
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


@cache
def try_apart(path: Path, slide_id: str) -> None:
    """Open a series in a process of its own: some broken ones end the process that opens them.

    Raises SlideError (``unreadable``) if that happens, or takes without end; other errors are the opener's own.
    """
    try:
        status = subprocess.run(  # noqa: S603 - this interpreter
            [sys.executable, "-P", "-c", _OPEN, path], capture_output=True, timeout=SECONDS, check=False
        ).returncode
        found = f"signal {-status}" if status < 0 else ""
    except subprocess.TimeoutExpired:
        found = f"no end after {SECONDS} s"
    if found:
        what, mend = (
            "the series breaks the program that opens it",
            "Export it again; its headers contradict each other.",
        )
        raise SlideError(what, status="unreadable", where=slide_id, found=found, mend=mend)


def volume_headers(path: Path, *tags: str) -> list[Dataset]:
    """Headers of the levels beside a file and of its series, the finest first; with `tags` only so much of them."""
    import pydicom

    wanted = ["SeriesInstanceUID", "ImageType", "TotalPixelMatrixColumns", *tags] if tags else None
    headers, series = list[pydicom.Dataset](), None
    for file in (path, *sorted(path.parent.iterdir())):
        try:
            if series is not None and (file == path or not file.is_file() or not is_dicom(file)):
                continue
            data = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=wanted)
            own = data.get("SeriesInstanceUID", "")
            series = own if series is None else series
            if own == series and "VOLUME" in data.ImageType and data.TotalPixelMatrixColumns:
                headers.append(data)
        except Exception:  # noqa: S112 - pydicom raises a dozen kinds; a file that is broken states nothing
            continue
    return sorted(headers, key=lambda data: -data.TotalPixelMatrixColumns)


def stated_by_levels(path: Path) -> list[tuple[int, list[float] | None]]:
    """Width in px, and µm/px across and down, of the levels beside a file and of its series, the finest first."""
    levels = list[tuple[int, list[float] | None]]()
    for data in volume_headers(path, "SharedFunctionalGroupsSequence"):
        with suppress(Exception):
            groups = data.SharedFunctionalGroupsSequence[0]
            down, across = (float(v) * 1000 for v in groups.PixelMeasuresSequence[0].PixelSpacing)
            levels.append((int(data.TotalPixelMatrixColumns), [across, down]))
    return levels
