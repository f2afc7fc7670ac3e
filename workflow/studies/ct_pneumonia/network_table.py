"""Models of a study made of a table, a network a row.

The source of networks.tsv is the code of Chu et al. 2024, with which their text agrees but for the share of layers that
is frozen (see `freeze`).
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from drunet.errors import ConfigError, closest
from drunet.models.names import APPLICATIONS, NORMALISATIONS
from drunet.models.options import SMALLEST
from drunet.settings.merging import merged
from studies.common.user_paths import is_file

ARCHITECTURE = "upsampled_classifier"
# What an arm must say that is no row's and like no other.
_NEEDED = ("architecture", "options", "weights", "freeze_fraction", "batch_norm_momentum")
# What an arm that is like another has of its own.
_OWN = ("label", "published", "only")
_SWITCHES = {"true": True, "false": False}
_TINY = 1e-12


def with_networks(settings: Mapping[str, Any], folder: Path, where: str) -> dict[str, Any]:
    """A study's settings with the models that its table makes; settings without `networks` as they are.

    A row becomes a model of the architecture `upsampled_classifier`. What `arms` says of a model of that name differs
    from its row, and null leaves it out. A model may be `like` another: it has all of its settings but label, published
    row and `only`, and what it says itself.

    Parameters
    ----------
    settings : mapping
        With `networks`: `table`, and for all networks, or null for the row's own, `size` (px), `learning_rate` and
        `epsilon`; `weights`; `freeze` ("published": as many layers are trained as the row says; or the frozen share).
    folder : Path
        Of the tables that ship.
    where : str
        The settings' key, for messages.

    Returns
    -------
    dict
        A new one; `arms` holds the rows, in the table's order, then the others.

    Raises
    ------
    ConfigError
        For a table that cannot be used, a model that says too little, or is like one that there is not.
    """
    if "networks" not in settings:
        return dict(settings)
    chosen = settings["networks"]
    own = dict(settings["arms"])
    table = read_table(chosen["table"], folder, f"{where}.networks")
    _check_sizes(chosen["size"], [row["arm"] for row in table], f"{where}.networks.size")
    rows = {row["arm"]: _arm(row, chosen, where) for row in table if own.get(row["arm"], {}) is not None}
    arms = {name: _resolved(name, rows, own, where, ()) for name in [*rows, *(n for n in own if n not in rows)]}
    return {**settings, "arms": arms}


def read_table(table: str, folder: Path, where: str) -> list[dict[str, Any]]:
    """Read a table of networks, a file in `folder` or a path.

    Returns
    -------
    list of dict
        A row each, with the keys `COLUMNS`: size (int, px), dense (list of int), dropout, learning_rate, epsilon
        (float), first_dropout (bool), trainable_layers (int or None), else text.

    Raises
    ------
    ConfigError
        For a file that is not there or no TSV, a column missing or unknown, a cell that is no such value, or an arm or
        a label that stands twice; with row (the header is 1) and column.
    """
    path = next((p for p in (folder / table, Path(table)) if is_file(p)), None)
    where = f"{where}.table"
    if path is None:
        mend = f"Name a file in {folder.name}, or a path; relative ones start in the working directory."
        raise ConfigError("there is no such table", where=where, found=table, mend=mend)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        cells = list(csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        mend = "It is a TSV in UTF-8."
        raise ConfigError("the table cannot be read", where=where, found=type(error).__name__, mend=mend) from error
    header = cells[0] if cells else []
    if wrong := sorted(set(header) ^ set(COLUMNS)) or [name for name in header if header.count(name) > 1]:
        what = "the table lacks a column" if wrong[0] in COLUMNS and wrong[0] not in header else "wrong column"
        mend = f"Its columns, parted by tabs, are {', '.join(COLUMNS)}."
        raise ConfigError(what, where=f"{where}, row 1", found=wrong[0], mend=mend)
    rows: list[dict[str, Any]] = []
    for number, row in enumerate(cells[1:], start=2):
        if not any(cell.strip() for cell in row):
            continue
        if len(row) != len(header):
            mend = f"Give it {len(header)}, parted by tabs."
            raise ConfigError("a row of another length", where=f"{where}, row {number}", found=len(row), mend=mend)
        rows.append(_read(dict(zip(header, row, strict=True)), rows, f"{where}, row {number}"))
    if not rows:
        raise ConfigError("the table has no row", where=where, mend="Add a network.")
    return rows


def _read(row: Mapping[str, str], before: list[dict[str, Any]], where: str) -> dict[str, Any]:
    """The values of a row, unlike those before."""
    found: dict[str, Any] = {}
    for column, (read, mend) in _READERS.items():
        text = row[column].strip()
        try:
            found[column] = read(text)
        except (ValueError, KeyError):
            hint = closest(text, APPLICATIONS) if column == "backbone" and text else mend
            raise ConfigError("no such value", where=f"{where}, column {column}", found=text, mend=hint) from None
    for column in ("arm", "label"):
        if any(found[column] == other[column] for other in before):
            mend = "Name it otherwise, or remove a row."
            raise ConfigError("it stands twice", where=f"{where}, column {column}", found=found[column], mend=mend)
    return found


def _matching(pattern: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if re.fullmatch(pattern, text) is None:
            raise ValueError(text)
        return text

    return read


def _one_of(known: Iterable[str]) -> Callable[[str], str]:
    return _matching("|".join(map(re.escape, known)))


def _whole(least: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if int(text) < least:
            raise ValueError(text)
        return int(text)

    return read


def _number(least: float, below: float) -> Callable[[str], float]:
    """Reads a number in [least, below); `nan` and `inf` are none."""

    def read(text: str) -> float:
        if not least <= float(text) < below:
            raise ValueError(text)
        return float(text)

    return read


def _widths(text: str) -> list[int]:
    return [_whole(1)(part) for part in text.split(",")] if text else []


def _perhaps(read: Callable[[str], int]) -> Callable[[str], int | None]:
    return lambda text: read(text) if text else None


# How each column is read, and what to write instead.
_READERS: dict[str, tuple[Callable[[str], Any], str]] = {
    "arm": (_matching("[A-Za-z0-9][A-Za-z0-9_-]*"), "Use letters, digits, dash and underscore."),
    "label": (_matching(".+"), "Name the network as tables and figures are to call it."),
    "backbone": (_one_of(APPLICATIONS), "Name a backbone."),
    "size": (_whole(SMALLEST), f"Use a whole number of pixels, at least {SMALLEST}."),
    "normalise": (_one_of(NORMALISATIONS), f"Use one of {', '.join(NORMALISATIONS)}."),
    "dense": (_widths, "Use whole numbers of at least 1, parted by commas, or nothing."),
    "dropout": (_number(0, 1), "Use a rate from 0 to below 1."),
    "first_dropout": (_SWITCHES.__getitem__, "Use true or false."),
    "learning_rate": (_number(_TINY, 1), "Use a number above 0 and below 1."),
    "epsilon": (_number(_TINY, 1), "Use a number above 0 and below 1."),
    "trainable_layers": (_perhaps(_whole(0)), "Use a whole number of at least 0, or nothing for all layers."),
}
COLUMNS = tuple(_READERS)


def _arm(row: Mapping[str, Any], chosen: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The arm that a row makes."""
    rates = {key: row[key] if chosen[key] is None else chosen[key] for key in ("learning_rate", "epsilon")}
    size = (sizes.get(row["arm"]) if isinstance(sizes := chosen["size"], Mapping) else sizes) or row["size"]
    options = {
        "backbone": row["backbone"],
        "normalise": row["normalise"],
        "dense_units": row["dense"],
        "dropout": row["dropout"],
        "first_dropout": row["first_dropout"],
    }
    published = chosen["freeze"] == "published"
    if published and row["trainable_layers"] is not None:
        options["trainable_layers"] = row["trainable_layers"]
    return {
        "label": row["label"],
        "published": row["label"],
        "architecture": ARCHITECTURE,
        "options": options,
        "weights": _weights(chosen["weights"], row["backbone"], where),
        "freeze_fraction": 0.0 if published else chosen["freeze"],
        "batch_norm_momentum": None,
        "training": rates,
        "view": {"size": size, "short_side": size},
    }


def _check_sizes(sizes: Any, arms: list[str], where: str) -> None:
    """Refuse the size of a network that has no row."""
    if isinstance(sizes, Mapping) and (wrong := [arm for arm in sizes if arm not in arms]):
        raise ConfigError("the table has no such arm", where=where, found=wrong[0], mend=closest(wrong[0], arms))


def _weights(weights: str | Mapping[str, str], backbone: str, where: str) -> str | dict[str, str]:
    """The initial weights of one network: of files, its own alone."""
    if isinstance(weights, str):
        return weights
    if backbone not in weights:
        found = ", ".join(weights)
        mend = f"Name a file for {backbone} too, or set its arm to null."
        raise ConfigError("a backbone has no file", where=f"{where}.networks.weights", found=found, mend=mend)
    return {backbone: weights[backbone]}


def _resolved(
    name: str, rows: Mapping[str, Any], own: Mapping[str, Any], where: str, before: tuple[str, ...]
) -> dict[str, Any] | None:
    """An arm in full: its row, or the arm that it is like, with what the settings say; None where it is left out."""
    said = own.get(name, {})
    if said is None:
        return None
    place = f"{where}.arms.{name}"
    if name in before:
        found = ", ".join((*before[before.index(name) :], name))
        raise ConfigError("arms are like each other in a circle", where=place, found=found, mend="Write one out.")
    base: Mapping[str, Any] = rows.get(name, {})
    if "like" in said:
        other = said["like"]
        pattern = _resolved(other, rows, own, where, (*before, name)) if other in rows or other in own else None
        if pattern is None:
            known = [n for n in {**rows, **own} if n != name and own.get(n, {}) is not None]
            raise ConfigError(
                "it is like an arm that there is not", where=place, found=other, mend=closest(other, known)
            )
        base = {"published": None, **{key: value for key, value in pattern.items() if key not in _OWN}}
    arm = merged(base, {key: value for key, value in said.items() if key != "like"}, whole=("weights", "only", "sees"))
    lacking = [key for key in ("label", "published", *(() if "classic" in arm else _NEEDED)) if key not in arm]
    if lacking:
        mend = "Give it a row in the table, or say `like: ARM` and what differs."
        raise ConfigError("an arm is not told in full", where=place, found=f"without {', '.join(lacking)}", mend=mend)
    return arm
