"""What lies in a folder of images, told without opening one: cheap enough to be asked whenever a workflow is read.

Only the standard library is imported, so that asking costs neither Pillow nor OpenCV.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterator

from studies.common.user_paths import is_folder

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
ABSENT = "absent"


def content_state(
    root: str | os.PathLike[str], classes: Collection[str] | None, suffixes: tuple[str, ...] | None = SUFFIXES
) -> str:
    """A digest that changes when an image is added, removed, renamed or replaced in place; "absent" without a folder.

    It is over path below `root`, size (bytes) and time of modification (ns) of every image file below folders named as
    `classes`, at whatever depth (None: of all below `root`). `suffixes` None: every file counts, as DICOM files need
    none. Hidden files and folders, and links to folders, are passed over. What cannot be read counts as such: it is for
    the listing to complain.
    """
    if not is_folder(root):
        return ABSENT
    wanted = None if classes is None else frozenset(classes)
    facts = sorted(_facts(os.fspath(root), "", wanted, wanted is None, "" if suffixes is None else suffixes))
    digest = hashlib.sha256()
    for file, size, modified in facts:
        # No name holds a NUL, so that no two sets of files read alike.
        digest.update(os.fsencode(file) + f"\0{size}\0{modified}\0".encode())
    return digest.hexdigest()


def _facts(
    folder: str, prefix: str, wanted: frozenset[str] | None, inside: bool, ends: str | tuple[str, ...]
) -> Iterator[tuple[str, int, int]]:
    """Path, size and time of the images below a folder; `inside`: a folder of a class, or below one."""
    try:
        with os.scandir(folder) as found:
            entries = [entry for entry in found if not entry.name.startswith(".")]
    except OSError:
        yield prefix, -1, -1
        return
    for entry in entries:
        file = prefix + entry.name
        if entry.is_dir(follow_symlinks=False):
            # `wanted` is None only where everything counts.
            yield from _facts(entry.path, f"{file}/", wanted, inside or entry.name in (wanted or ()), ends)
        elif inside and entry.name.lower().endswith(ends):
            try:
                fact = entry.stat()
            except OSError:
                yield file, -1, -1
            else:
                yield file, fact.st_size, fact.st_mtime_ns
