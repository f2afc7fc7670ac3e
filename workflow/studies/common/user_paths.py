"""Paths that a user names: whether there is something, whatever the path, and folders that are written whole.

Unlike those of `pathlib` (before Python 3.14) the checks raise nothing for what lies in a folder that may not be
entered, or for names that are too long: there is nothing that could be used, and the error would repeat the path.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Whether there is a folder, a regular file, anything.
is_folder, is_file, is_there = os.path.isdir, os.path.isfile, os.path.exists


@contextmanager
def whole_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a new folder beside `path`, and move it into place when the block ends well, else remove it."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    temporary.mkdir()
    try:
        yield temporary
        temporary.replace(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
