"""Which images stem from one source: as a user's file says it, or as what was collected of their files tells.

What a set does not tell is looked for: images without a source are put together by near-duplicates.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from studies.common.errors import ImageSetError
from studies.common.images.folder import read_list
from studies.common.images.near_duplicates import find_groups, group_facts

_SHOWN = 3
_CLASS = ("label", "class")
# Columns of sources.tsv that are no numbers.
_TEXT = ("file", "source", "part", "label", "format")


def read_groups(
    path: str | os.PathLike[str], images: pd.DataFrame, where: str, *, others: Collection[str] = ()
) -> pd.Series:
    """Read the group of every image, a Series of str with the index of `images`, from a CSV or TSV with file and group,
    and perhaps class (or label).

    A file is named by its path below the folder of images, or by as much of its end as leaves no doubt. The table may
    also name `others` that are there, of other classes or unreadable. A group may hold images of several classes (a
    patient's tumour and the normal tissue beside it): two groups would let what is the patient's own leak from training
    to test.

    Raises ImageSetError for a file that cannot be read or lacks a column; files that are not there, in doubt, or in two
    groups; images without a group; one picture in two groups.
    """
    table, kind = _read(path, where)
    unused = sorted(set(others) - set(images["file"]))
    everything = [*images["file"], *unused]
    labels = [*images["label"], *(PurePosixPath(file).parent.name for file in unused)]
    ends = path_ends(everything)
    found: dict[int, str] = {}
    absent: list[str] = []
    doubtful: list[str] = []
    twice: list[str] = []
    empty: list[str] = []
    for row in table.to_dict("records"):
        name, group = PurePosixPath(row["file"].strip()).as_posix(), row["group"].strip()
        places = ends.get(name, [])
        # The whole path comes first: another file's path may end alike.
        places = [p for p in places if everything[p] == name] or places
        if kind is not None:
            label = row[kind].strip()
            own = [p for p in places if labels[p] == label]
            # Of an image that is not used only the folders tell the class: a patient's may lie below it.
            places = own or [p for p in places if p >= len(images) and label in PurePosixPath(everything[p]).parts[:-1]]
        if len(places) != 1:
            (doubtful if places else absent).append(name)
        elif not group:
            empty.append(name)
        elif found.setdefault(places[0], group) != group:
            twice.append(name)
    _refuse(absent, "the groups file names images that are not there", where, "Correct the names, or remove the rows.")
    mend = "Name them by their path below the folder of images, or add a column class."
    _refuse(doubtful, "the groups file leaves open which image it means", where, mend)
    _refuse(twice, "the groups file puts an image into two groups", where, "Keep one.")
    mend = "Add a row for each; an image that shares its source with no other has a group of its own."
    lacking = [file for i, file in enumerate(images["file"]) if i not in found]
    _refuse(lacking, "images have no group", where, mend)
    _refuse(empty, "images have no group", where, mend)
    groups = pd.Series([found[i] for i in range(len(images))], index=images.index, name="group", dtype=str)
    _check(images, groups, where)
    return groups


def _read(path: str | os.PathLike[str], where: str) -> tuple[pd.DataFrame, str | None]:
    """The table and the name of its column of classes, if it has one."""
    mend = "It is a CSV or TSV in UTF-8 with the columns file and group."
    try:
        lines = table_rows(path)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ImageSetError(
            "the groups file cannot be read", where=where, found=type(error).__name__, mend=mend
        ) from error
    header = lines[0][1] if lines else []
    rows = [dict(zip_longest(header, row[: len(header)], fillvalue="")) for _, row in lines[1:]]
    table = pd.DataFrame(rows, columns=list(dict.fromkeys(header)))
    lacking = [key for key in ("file", "group") if key not in table.columns]
    if lacking:
        what = f"the groups file lacks {' and '.join(lacking)}"
        raise ImageSetError(what, where=where, found=",".join(header)[:80] or "an empty file", mend=mend)
    return table, next((key for key in _CLASS if key in table.columns), None)


def table_rows(path: str | os.PathLike[str]) -> list[tuple[int, list[str]]]:
    """The rows of a user's CSV or TSV that are not blank, the header first, each with the number of its first line.

    A quote in a TSV is a character like any other, unless its header is quoted; elsewhere a quote that is not closed,
    or closed within a cell, is an error: read as it stands it would swallow the rows that follow. Raises OSError,
    UnicodeDecodeError or csv.Error.
    """
    text = Path(path).read_text(encoding="utf-8-sig")
    header = text.lstrip("\n").partition("\n")[0]
    tabs = "\t" in header
    # Not `splitlines`, to which some characters end a line that end none in a table.
    reader = csv.reader(
        io.StringIO(text),
        delimiter="\t" if tabs else ",",
        quoting=csv.QUOTE_NONE if tabs and '"' not in header else csv.QUOTE_MINIMAL,
        strict=True,
    )
    rows: list[tuple[int, list[str]]] = []
    line = 1
    for row in reader:
        if any(cell.strip() for cell in row):
            rows.append((line, row))
        line = reader.line_num + 1
    return rows


def path_ends(files: Sequence[str]) -> dict[str, list[int]]:
    """Positions of the files by every end that a path can be named by."""
    ends: dict[str, list[int]] = {}
    for i, file in enumerate(files):
        parts = PurePosixPath(file).parts
        for k in range(len(parts)):
            ends.setdefault("/".join(parts[k:]), []).append(i)
    return ends


def _refuse(files: Sequence[str], what: str, where: str, mend: str) -> None:
    if files:
        raise ImageSetError(what, where=where, found=f"{len(files)}: {_first(files)}", mend=mend)


def _check(images: pd.DataFrame, groups: pd.Series, where: str) -> None:
    pictures = groups.groupby(images["digest"]).transform("nunique") > 1
    mend = "They are the same picture: give them one group."
    _refuse(list(images.loc[pictures, "file"]), "identical images are in different groups", where, mend)


def _first(files: Iterable[str]) -> str:
    names = list(files)
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")


def read_sources(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read sources.tsv: file, label, source and part (text, "" where not known), and facts of the files (numbers)."""
    table = read_list(path)
    # An empty cell is text that says nothing; of a number it is one that is not known.
    return table.assign(**{key: pd.to_numeric(table[key]) for key in table.columns if key not in _TEXT})


def in_order_of(images: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a table for each image, by `file`, in the images' order and with their index; ImageSetError if one
    has none.
    """
    by_file = table.drop_duplicates("file").set_index("file")
    return by_file.loc[images["file"]].set_axis(images.index).assign(file=images["file"])


def sourced_groups(
    images: pd.DataFrame, sources: pd.Series, root: str | os.PathLike[str], search: Mapping[str, Any]
) -> tuple[pd.Series, dict[str, Any]]:
    """The group of every image: its source (`s…`), or its near-duplicates (`n…`) among those without one (source "").

    Identical pictures are never divided: sources that share one (a figure that two articles print) become one group.
    The facts are those of `group_facts`; sourced (by class: images, sources), unsourced (by class: images), joined
    (groups that share a picture with another); and search, the facts of `find_groups`, or None where every image has a
    source.
    """
    known = sources != ""
    groups = ("s" + sources).where(known, "")
    searched = None
    if not known.all():
        found, searched = find_groups(images[~known].reset_index(drop=True), root, **search)
        groups[~known] = ("n" + found.astype(str)).to_numpy()
    whole, joined = _joined(groups, images["digest"])
    facts: dict[str, Any] = {
        **group_facts(images.assign(group=whole)),
        "sourced": {},
        "unsourced": {},
        "joined": joined,
        "search": searched,
    }
    for label, own in images.groupby("label").groups.items():
        told = sources[own][known[own]]
        facts["sourced"][label] = {"images": len(told), "sources": int(told.nunique())}
        facts["unsourced"][label] = len(own) - len(told)
    return whole, facts


def _joined(groups: pd.Series, digests: pd.Series) -> tuple[pd.Series, int]:
    """Groups that share a picture made one, named after the first of them; and how many were joined to another."""
    names, group = np.unique(groups.to_numpy(dtype=str), return_inverse=True)
    pictures, picture = np.unique(digests.to_numpy(dtype=str), return_inverse=True)
    count = len(names) + len(pictures)
    links = coo_matrix((np.ones(len(group)), (group, picture + len(names))), shape=(count, count))
    _, component = connected_components(links, directed=False)
    own = component[: len(names)]
    first = pd.Series(names).groupby(own).transform("first").to_numpy()
    merged = int(sum(size for size in np.bincount(own) if size > 1))
    return pd.Series(first[group], index=groups.index, name="group", dtype=str), merged
