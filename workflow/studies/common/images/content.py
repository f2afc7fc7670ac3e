"""What lies in a folder of images, told without opening one: cheap enough to be asked whenever a workflow is read.

Only the standard library is imported, so that asking costs neither Pillow nor OpenCV.
"""

import hashlib
import os
from collections.abc import Collection
from pathlib import Path

from studies.common.user_paths import is_folder

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
ABSENT = "absent"


def content_state(
    root: str | Path, classes: Collection[str] | None, suffixes: tuple[str, ...] | None = SUFFIXES
) -> str:
    """A digest that changes when an image is added, removed, renamed or replaced in place; "absent" without a folder.

    It is over path below `root`, size (bytes) and time of modification (ns) of every image file below folders named as
    `classes`, at whatever depth (None: of all below `root`). `suffixes` None: every file counts, as DICOM files need
    none. Hidden files and folders, and links to folders, are passed over. What cannot be read counts as such: it is for
    the listing to complain.
    """
    if not is_folder(root):
        return ABSENT
    facts: list[tuple[str, int, int]] = []
    for place, inner, files in os.walk(root, onerror=lambda error: facts.append((str(error.filename), -1, -1))):
        inner[:] = [name for name in inner if not name.startswith(".")]
        here = Path(place).relative_to(root)
        if classes is not None and not set(classes) & set(here.parts):
            continue
        for name in files:
            if not name.startswith(".") and name.lower().endswith("" if suffixes is None else suffixes):
                try:
                    found = Path(place, name).stat()
                    facts.append((f"{here}/{name}", found.st_size, found.st_mtime_ns))
                except OSError:
                    facts.append((f"{here}/{name}", -1, -1))
    # No name holds a NUL, so that no two sets of files read alike.
    lines = (os.fsencode(file) + f"\0{size}\0{modified}\0".encode() for file, size, modified in sorted(facts))
    return hashlib.sha256(b"".join(lines)).hexdigest()
