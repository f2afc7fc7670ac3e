"""Whether there is something at a path that a user names, whatever the path.

Unlike those of `pathlib` (before Python 3.14) these raise nothing for what lies in a folder that may not be entered, or
for names that are too long: there is nothing that could be used, and the error would repeat the path.
"""

from __future__ import annotations

import os


def is_folder(path: str | os.PathLike[str]) -> bool:
    """Whether there is a folder."""
    return os.path.isdir(path)  # noqa: PTH112 (see above)


def is_file(path: str | os.PathLike[str]) -> bool:
    """Whether there is a regular file."""
    return os.path.isfile(path)  # noqa: PTH113 (see above)


def is_there(path: str | os.PathLike[str]) -> bool:
    """Whether there is anything."""
    return os.path.exists(path)  # noqa: PTH110 (see above)
