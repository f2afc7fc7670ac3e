"""Which images stem from one source: as a user's file says it, or as what was collected of their files tells.

What a set does not tell is looked for: images without a source are put together by near-duplicates.
"""

import csv
import io
from collections.abc import Collection, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from drunet.errors import DrunetError
from studies.common.errors import ImageSetError
from studies.common.images.folder import read_list
from studies.common.images.near_duplicates import find_groups, group_facts

# Bytes: a million images by long paths.
LARGEST_TABLE = 256 << 20
_SHOWN = 3
_CLASS = ("label", "class")
# Columns of sources.tsv that are no numbers.
_TEXT = ("file", "source", "part", "label", "format")


def read_groups(path: str | Path, images: pd.DataFrame, where: str, *, others: Collection[str] = ()) -> pd.Series:
    """Read the group of every image from a CSV or TSV with the columns file, group, and perhaps class (or label).

    A file is named by its path below the folder of images, or by as much of its end as leaves no doubt. The table may
    also name `others` that are there, of other classes or unreadable. A group may hold images of several classes (a
    patient's tumour and the normal tissue beside it): divided, the patient's own would leak from training to test.

    Raises ImageSetError for a file that cannot be read or lacks a column; files that are not there, in doubt, or in two
    groups; images without a group; one picture in two groups.
    """
    header, lines = read_columns(path, ("file", "group"), ImageSetError, "the groups file", where)
    kind = next((key for key in _CLASS if key in header), None)
    unused = sorted(set(others) - set(images["file"]))
    everything = [*images["file"], *unused]
    labels = [*images["label"], *(PurePosixPath(file).parent.name for file in unused)]
    ends = path_ends(everything)
    found: dict[int, str] = {}
    wrong: dict[str, list[str]] = {"absent": [], "doubtful": [], "twice": []}
    for row in (dict(zip_longest(header, cells[: len(header)], fillvalue="")) for _, cells in lines):
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
            wrong["doubtful" if places else "absent"].append(name)
        elif group and found.setdefault(places[0], group) != group:
            wrong["twice"].append(name)
    mend = "Correct the names, or remove the rows."
    _refuse(wrong["absent"], "the groups file names images that are not there", where, mend)
    mend = "Name them by their path below the folder of images, or add a column class."
    _refuse(wrong["doubtful"], "the groups file leaves open which image it means", where, mend)
    _refuse(wrong["twice"], "the groups file puts an image into two groups", where, "Keep one.")
    mend = "Add a row for each; an image that shares its source with no other has a group of its own."
    lacking = [file for i, file in enumerate(images["file"]) if i not in found]
    _refuse(lacking, "images have no group", where, mend)
    groups = pd.Series([found[i] for i in range(len(images))], index=images.index, name="group", dtype=str)
    pictures = groups.groupby(images["digest"]).transform("nunique") > 1
    mend = "They are the same picture: give them one group."
    _refuse(list(images.loc[pictures, "file"]), "identical images are in different groups", where, mend)
    return groups


def read_columns(
    path: str | Path, columns: Sequence[str], error: type[DrunetError], what: str, where: str
) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Header and rows of a user's table, see `table_rows`; raises `error` if it cannot be read or lacks a column."""
    mend = f"It is a CSV or TSV in UTF-8 with the columns {' and '.join(columns)}."
    try:
        if (size := Path(path).stat().st_size) > LARGEST_TABLE:
            found, limit = f"{size / 2**20:.0f} MiB", f"At most {LARGEST_TABLE / 2**20:.0f} MiB are read."
            raise error(
                f"{what} is larger than a table of images can be", where=where, found=found, mend=f"{mend} {limit}"
            )
        table = table_rows(path)
    except (OSError, UnicodeDecodeError, csv.Error) as found:
        raise error(f"{what} cannot be read", where=where, found=type(found).__name__, mend=mend) from None
    header = table[0][1] if table else []
    if lacking := [key for key in columns if key not in header]:
        raise error(f"{what} lacks {' and '.join(lacking)}", where=where, mend=mend)
    return header, table[1:]


def table_rows(path: str | Path) -> list[tuple[int, list[str]]]:
    """The rows of a user's CSV or TSV that are not blank, the header first, each with the number of its first line.

    A quote in a TSV is a character like any other, unless its header is quoted; elsewhere a quote that is not closed,
    or closed within a cell, is an error: read as it stands it would swallow the rows that follow. Raises OSError,
    UnicodeDecodeError or csv.Error.
    """
    text = Path(path).read_text(encoding="utf-8-sig")
    header = text.lstrip("\n").partition("\n")[0]
    tabs = "\t" in header
    # Not `splitlines`, to which some characters end a line that end none in a table.
    quoting: Any = csv.QUOTE_NONE if tabs and '"' not in header else csv.QUOTE_MINIMAL
    reader = csv.reader(io.StringIO(text), delimiter="\t" if tabs else ",", quoting=quoting, strict=True)
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
        first = ", ".join(files[:_SHOWN]) + (", …" if len(files) > _SHOWN else "")
        raise ImageSetError(what, where=where, found=f"{len(files)}: {first}", mend=mend)


def read_sources(path: str | Path) -> pd.DataFrame:
    """Read sources.tsv: file, label, source and part (text, "" where not known), and facts of the files (numbers)."""
    table = read_list(path)
    # An empty cell is text that says nothing; of a number it is one that is not known.
    return table.assign(**{key: pd.to_numeric(table[key]) for key in table.columns if key not in _TEXT})


def in_order_of(images: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a table for each image, by `file`, in the images' order and with their index."""
    by_file = table.drop_duplicates("file").set_index("file")
    return by_file.loc[images["file"]].set_axis(images.index).assign(file=images["file"])


def sourced_groups(
    images: pd.DataFrame, sources: pd.Series, root: str | Path, search: Mapping[str, Any]
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
        others = images.assign(source=sources)[known]
        found, searched = find_groups(images[~known].reset_index(drop=True), root, **search, known=others)
        groups[~known] = ("n" + found.astype(str)).to_numpy()
    whole, joined = _joined(groups, images["digest"])
    facts: dict[str, Any] = dict(group_facts(images.assign(group=whole)))
    facts |= {"sourced": {}, "unsourced": {}, "joined": joined, "search": searched}
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
