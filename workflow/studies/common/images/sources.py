"""Where images come from, as far as it is known: the patient or the article of each, and the part that it was laid in.

What a set does not tell is looked for: images without a source are put together by near-duplicates.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from studies.common.errors import ImageSetError
from studies.common.images.folder import read_list
from studies.common.images.groups import group_facts
from studies.common.images.near_duplicates import find_groups

COLUMNS = ("file", "source", "part")
_TEXT = (*COLUMNS, "label", "format")


def read_sources(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read sources.tsv: file, label, source and part (text, "" where not known), and facts of the files (numbers)."""
    table = read_list(path)
    if lacking := [key for key in COLUMNS if key not in table.columns]:
        mend = "Collect the images again."
        raise ImageSetError("the table of sources lacks a column", where="sources", found=lacking[0], mend=mend)
    # An empty cell is text that says nothing; of a number it is one that is not known.
    return table.assign(**{key: pd.to_numeric(table[key]) for key in table.columns if key not in _TEXT})


def in_order_of(images: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a table for each image, by `file`, in the images' order and with their index; ImageSetError if one
    has none.
    """
    by_file = table.drop_duplicates("file").set_index("file")
    if missing := int((~images["file"].isin(by_file.index)).sum()):
        mend = "Collect the images again."
        found = f"{missing} of {len(images)}"
        raise ImageSetError("images are not in the table of sources", where="sources", found=found, mend=mend)
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
