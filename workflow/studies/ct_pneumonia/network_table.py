"""Models of a study made of a table, a network a row.

The source of networks.tsv is the code of Chu et al., with which their text agrees but for the share of layers that
is frozen (see `freeze`).
"""

import csv
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from drunet.errors import ConfigError, closest
from drunet.models.names import APPLICATIONS, NORMALISATIONS
from drunet.models.options import SMALLEST
from drunet.settings.base import Block, refusal
from drunet.settings.merging import merged
from studies.common.settings import Id, Text
from studies.common.user_paths import is_file

ARCHITECTURE = "upsampled_classifier"
# What an arm must say that is no row's and like no other.
_NEEDED = ("architecture", "options", "weights", "freeze_fraction", "batch_norm_momentum")
# What an arm that is like another has of its own.
_OWN = ("label", "published", "only")
_SWITCHES = {"true": True, "false": False}


def _number(text: str) -> int | float | str:
    """The number that a cell holds; another text as it is, to be refused."""
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text


def _one_of(known: Collection[str]) -> AfterValidator:
    def checked(name: str) -> str:
        if name not in known:
            raise refusal("no such value", found=name, mend=closest(name, known))
        return name

    return AfterValidator(checked)


_CELL = BeforeValidator(_number)
_Rate = Annotated[float, Field(gt=0, lt=1), _CELL]


class NetworkRow(Block):
    """A row of a table of networks, read from text."""

    arm: Id
    """name of the arm: letters, digits, dash and underscore"""
    label: Text
    """how tables and figures call the network"""
    backbone: Annotated[str, _one_of(APPLICATIONS)]
    """name of its backbone"""
    size: Annotated[int, Field(ge=SMALLEST), _CELL]
    """side of what it sees, px"""
    normalise: Annotated[str, _one_of(NORMALISATIONS)]
    """how pixels are scaled"""
    dense: Annotated[
        list[Annotated[int, Field(ge=1), _CELL]], BeforeValidator(lambda text: text.split(",") if text else [])
    ]
    """widths of dense layers, parted by commas, or nothing"""
    dropout: Annotated[float, Field(ge=0, lt=1), _CELL]
    """rate of dropout"""
    first_dropout: Annotated[bool, BeforeValidator(lambda text: _SWITCHES.get(text, text))]
    """whether there is dropout before the first dense layer"""
    learning_rate: _Rate
    """step size"""
    epsilon: _Rate
    """Adam's"""
    trainable_layers: Annotated[int | None, Field(ge=0), BeforeValidator(lambda text: _number(text) if text else None)]
    """how many layers learn; nothing: all"""


COLUMNS = tuple(NetworkRow.model_fields)


def with_networks(settings: Mapping[str, Any], folder: Path, where: str) -> dict[str, Any]:
    """A study's settings with the models that its table makes: the rows, in the table's order, then the other arms.

    A row becomes a model of the architecture `upsampled_classifier`. What `arms` says of a model of that name differs
    from its row, and null leaves it out. A model may be `like` another: it has all of its settings but label, published
    row and `only`, and what it says itself. Raises ConfigError for a table or a model that cannot be used.
    """
    chosen, own = settings["networks"], settings["arms"]
    table = read_table(chosen["table"], folder, f"{where}.networks")
    if isinstance(chosen["size"], Mapping) and (wrong := [arm for arm in chosen["size"] if arm not in table]):
        mend = closest(wrong[0], table)
        raise ConfigError("the table has no such arm", where=f"{where}.networks.size", found=wrong[0], mend=mend)
    rows = {name: _arm(row, chosen, where) for name, row in table.items() if own.get(name, {}) is not None}
    arms = {name: _resolved(name, rows, own, where, ()) for name in [*rows, *(n for n in own if n not in rows)]}
    return {**settings, "arms": arms}


def read_table(table: str, folder: Path, where: str) -> dict[str, NetworkRow]:
    """Read a table of networks, in `folder` or a path, by arm; a ConfigError names row (1: header) and column."""
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
        mend = f"Its columns, separated by tabs, are {', '.join(COLUMNS)}."
        raise ConfigError("a column is missing or wrong", where=f"{where}, row 1", found=wrong[0], mend=mend)
    rows: dict[str, NetworkRow] = {}
    for number, row in ((n, row) for n, row in enumerate(cells[1:], start=2) if any(cell.strip() for cell in row)):
        place = f"{where}, row {number}"
        if len(row) != len(header):
            mend = f"Give it {len(header)}, separated by tabs."
            raise ConfigError("a row of another length", where=place, found=len(row), mend=mend)
        network = NetworkRow.of({key: cell.strip() for key, cell in zip(header, row, strict=True)}, place)
        if rows.setdefault(network.arm, network) is not network:
            raise ConfigError("an arm stands twice", where=place, found=network.arm, mend="Rename one.")
    return rows


def _arm(row: NetworkRow, chosen: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The arm that a row makes."""
    rates = {key: getattr(row, key) if chosen[key] is None else chosen[key] for key in ("learning_rate", "epsilon")}
    size = (sizes.get(row.arm) if isinstance(sizes := chosen["size"], Mapping) else sizes) or row.size
    options: dict[str, Any] = {"backbone": row.backbone, "normalise": row.normalise, "dense_units": row.dense}
    options |= {"dropout": row.dropout, "first_dropout": row.first_dropout}
    weights = chosen["weights"]
    if not isinstance(weights, str):
        if row.backbone not in weights:
            found, mend = ", ".join(weights), f"Name a file for {row.backbone} too, or set its arm to null."
            raise ConfigError("a backbone has no file", where=f"{where}.networks.weights", found=found, mend=mend)
        weights = {row.backbone: weights[row.backbone]}
    published = chosen["freeze"] == "published"
    if published and row.trainable_layers is not None:
        options["trainable_layers"] = row.trainable_layers
    return {
        "label": row.label,
        "published": row.label,
        "architecture": ARCHITECTURE,
        "options": options,
        "weights": weights,
        "freeze_fraction": 0.0 if published else chosen["freeze"],
        "batch_norm_momentum": None,
        "training": rates,
        "view": {"size": size, "short_side": size},
    }


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
        raise ConfigError("circular `like` reference", where=place, found=found, mend="Write one out.")
    base: Mapping[str, Any] = rows.get(name, {})
    if "like" in said:
        other = said["like"]
        pattern = _resolved(other, rows, own, where, (*before, name)) if other in rows or other in own else None
        if pattern is None:
            mend = closest(other, [n for n in {**rows, **own} if n != name and own.get(n, {}) is not None])
            raise ConfigError("it is like an arm that there is not", where=place, found=other, mend=mend)
        base = {"published": None, **{key: value for key, value in pattern.items() if key not in _OWN}}
    arm = merged(base, {key: value for key, value in said.items() if key != "like"}, whole=("weights", "only", "sees"))
    lacking = [key for key in ("label", "published", *(() if "classic" in arm else _NEEDED)) if key not in arm]
    if lacking:
        mend = "Give it a row in the table, or say `like: ARM` and what differs."
        raise ConfigError("an arm is not told in full", where=place, found=f"without {', '.join(lacking)}", mend=mend)
    return arm
