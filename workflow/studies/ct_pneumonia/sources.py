"""Which images stem from one patient or article, as a user's table says it: by number, without a name in a message."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable
from pathlib import PurePosixPath

from drunet.errors import CtError
from studies.common.ct.files import UserFiles
from studies.common.images.groups import path_ends, table_rows


def read_sources(path: str | os.PathLike[str], files: UserFiles, numbers: Iterable[int], where: str) -> dict[int, str]:
    """Read the source of images; those that the table does not name have none.

    Parameters
    ----------
    path : path
        TSV or CSV in UTF-8 with the columns file and source; further ones mean nothing. A file is named by its path
        below the folder of images, or by as much of its end as leaves no doubt. An empty source is as none.
    files : UserFiles
    numbers : iterable of int
        The images among them. Rows that name another file mean nothing.
    where : str
        How messages call the table.

    Returns
    -------
    dict of int to str
        Source by number of the file; the text is for grouping only.

    Raises
    ------
    CtError
        If the table cannot be read, lacks a column or, in a row, a cell of one, leaves open which file a row means,
        gives one image two sources, or names none of the images.
    """
    rows = _rows(path, where)
    images = list(numbers)
    ends = path_ends([files.name(number) for number in images])
    found: dict[int, str] = {}
    for line, file, source in rows:
        places = ends.get(file, [])
        # The whole path comes first: another file's may end alike.
        places = [place for place in places if files.name(images[place]) == file] or places
        if len(places) > 1:
            mend = "Name it by its path below the folder of images."
            raise CtError("a row leaves open which file it means", where=f"{where}, line {line}", mend=mend)
        if places and source and found.setdefault(images[places[0]], source) != source:
            raise CtError("an image has two sources", where=f"{where}, line {line}", mend="Keep one.")
    if rows and images and not any(file in ends for _, file, _ in rows):
        mend = "Name each by its path below the folder of images."
        raise CtError(
            "the table of sources names none of the images", where=where, found=f"{len(rows)} rows", mend=mend
        )
    return found


def _rows(path: str | os.PathLike[str], where: str) -> list[tuple[int, str, str]]:
    """Line, file and source of each row that is not blank."""
    mend = "It is a TSV or CSV in UTF-8 with the columns file and source."
    try:
        table = table_rows(path)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        found = type(error).__name__
        raise CtError("the table of sources cannot be read", where=where, found=found, mend=mend) from None
    header = table[0][1] if table else []
    if lacking := [key for key in ("file", "source") if key not in header]:
        raise CtError(f"the table of sources lacks {' and '.join(lacking)}", where=where, mend=mend)
    file, source = header.index("file"), header.index("source")
    for line, row in table[1:]:
        if len(row) <= max(file, source):
            mend = "Give it all columns of the header; a source may be empty."
            raise CtError("a row is too short", where=f"{where}, line {line}", found=f"{len(row)} cells", mend=mend)
    return [(line, PurePosixPath(row[file].strip()).as_posix(), row[source].strip()) for line, row in table[1:]]
