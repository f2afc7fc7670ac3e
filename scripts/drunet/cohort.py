"""The sample sheet: which slides, whose, in which split, annotated how."""

import csv
import math
import operator
import os
import re
import stat
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from drunet.errors import SheetError, spelt_alike
from drunet.files import LONGEST_ID, is_safe_id, same_files

# An ID becomes a folder name and a wildcard: letters, digits, dot, dash, underscore, and no way out of a folder.
SPLITS = ("train", "val", "test", "")
KINDS = ("wta", "psa", "")
REQUIRED = ("slide_id", "patient_id", "path", "split", "annotation", "annotation_kind")
OPTIONAL = ("mpp", "cohort", "region", "tissue")
# Files, whose relative paths start at the root.
FILES = ("path", "annotation", "region", "tissue")
# Share of letters in common from which a column is taken for a misspelt one.
_ALIKE = 0.75
# Small files beside which the pixels lie: two slides may have the same.
_PIXELS_ELSEWHERE = (".mrxs", ".vms", ".vmu")
# Slides that are named in one line.
_NAMED = 5
# What stands beside the slides in the folder of a run; tables and JSON are no IDs anyway.
NAMES_OF_A_RUN = ("qupath", "fastpathology", "model_card.md", "ro-crate.zip")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\ud800-\udfff]")
# Corners in GeoJSON and the XML of ASAP, ImageScope and HALO; anything but text is a mask.
_OUTLINES = re.compile(rb'"coordinates"\s*:\s*\[\s*[^\s\]]|<Coordinate\b|<Vertex\b|<V\b|\x00')


@dataclass(frozen=True)
class SheetRow:
    """One slide of the sheet.

    Files are relative to the working directory or absolute, and empty where there is none: of a slide only the `region`
    is looked at, and `tissue` is taken for what is found otherwise. `split` is ``train``, ``val``, ``test`` or empty
    (segment only); `annotation_kind` is ``wta`` (the whole tumour is outlined), ``psa`` (parts are marked, the rest is
    unknown) or empty. `mpp` is level-0 µm/px, where the file does not say it or says it wrongly. `cohort` names the
    collection that it belongs to, by which models choose what they learn from; it may be empty.
    """

    slide_id: str
    patient_id: str
    path: str
    split: str
    annotation: str
    annotation_kind: str
    mpp: float | None = None
    cohort: str = ""
    region: str = ""
    tissue: str = ""


def read_sheets(paths: str | Sequence[str], root: str | None = None) -> dict[str, SheetRow]:
    """Read one sample sheet (tab-separated) or several, checked, keyed by slide ID in the sheets' order.

    Relative paths start at `root`, by default at each sheet's own folder. Raises SheetError for a column missing or
    misspelt, an ID missing, unsafe or given twice, an unknown split or kind, an annotation without kind or the reverse,
    µm/px that is no positive number, a patient in two splits, a slide file in two rows.
    """
    rows: dict[str, SheetRow] = {}
    for path in [paths] if isinstance(paths, str) else paths:
        for number, values in _records(path):
            row = _row(values, f"{path}, line {number}", Path(root) if root is not None else Path(path).parent)
            if row.slide_id in rows:
                found = row.slide_id
                mend = "Give every slide its own slide_id."
                raise SheetError("a slide_id is given twice", where=f"{path}, line {number}", found=found, mend=mend)
            rows[row.slide_id] = row
    if not rows:
        raise SheetError("the sheet lists no slide", where=str(paths), mend="Add one row per slide.")
    check_joined(rows.values(), str(paths))
    return rows


def check_files(rows: Iterable[SheetRow], made_by_workflow: Iterable[str] = ()) -> None:
    """Check that every file of the sheet exists, or is one that the workflow makes; no outline is of two slides, and
    no slide on both sides of the split under two IDs.

    Raises SheetError naming the first few that are missing, or the slides. Several slides may share an annotation that
    outlines nothing: it says that they hold no tumour.
    """
    made, rows = set(made_by_workflow), list(rows)
    wanted = [(row.slide_id, path) for row in rows for column in FILES if (path := getattr(row, column))]
    problems = ((slide, path, _problem(path)) for slide, path in wanted if path not in made)
    missing = [(slide, path, problem) for slide, path, problem in problems if problem is not None]
    if missing:
        first = "; ".join(f"{slide}: {path}{problem}" for slide, path, problem in missing[:3])
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        what = f"{len(missing)} file{'s' * (len(missing) > 1)} of the sheet cannot be found"
        mend = "Correct the path in the sheet, or `cohort.root`, where relative paths start."
        raise SheetError(what, where="cohort.sheet", found=first + more, mend=mend)
    _check_twins(rows, made)


def _check_twins(rows: Iterable[SheetRow], made: Collection[str]) -> None:
    first: dict[str, str] = {}
    for row in rows:
        if not row.annotation or row.annotation in made:
            continue
        other = first.setdefault(os.path.realpath(row.annotation), row.slide_id)
        if other != row.slide_id and _OUTLINES.search(Path(row.annotation).read_bytes()):
            what, found = "an annotation with outlines stands in two rows", f"{other} and {row.slide_id}"
            mend = "Give each slide its own: outlines are in the pixels of one slide."
            raise SheetError(what, where="cohort.sheet", found=found, mend=mend)
    twin_slides(rows, made)


def twin_slides(rows: Iterable[SheetRow], made_by_workflow: Iterable[str] = ()) -> dict[str, list[str]]:
    """Slides whose files hold the same bytes as those of others: by ID the others, in the order of the rows.

    Raises SheetError if two of them are on two sides of the split: what is learnt from would be measured.
    """
    made = set(made_by_workflow)
    own = {r.path: r for r in rows if r.path not in made and Path(r.path).suffix.casefold() not in _PIXELS_ELSEWHERE}
    twins: dict[str, list[str]] = {}
    for group in same_files(own):
        alike = [own[path] for path in group]
        used = [row for row in alike if row.split]
        for row in used[1:]:
            if row.split != used[0].split:
                what = "one slide is on both sides of the split: two files hold the same bytes"
                found = f"{used[0].slide_id} in {used[0].split}, {row.slide_id} in {row.split}"
                mend = "Keep one of the two; if they were to be different slides, copy the right file again."
                raise SheetError(what, where="cohort.sheet", found=found, mend=mend)
        twins |= _others(row.slide_id for row in alike)
    return twins


def shared_outlines(rows: Iterable[SheetRow], made_by_workflow: Iterable[str] = ()) -> dict[str, list[str]]:
    """Slides whose outlines are those of others to the byte, as `twin_slides`; masks without tumour are often alike."""
    made = set(made_by_workflow)
    slides = {row.annotation: row.slide_id for row in rows if row.annotation and row.annotation not in made}
    shared: dict[str, list[str]] = {}
    for group in same_files(slides):
        text = Path(group[0]).read_bytes()
        if b"\0" not in text and _OUTLINES.search(text):
            shared |= _others(slides[path] for path in group)
    return shared


def remarks(rows: Iterable[SheetRow], made_by_workflow: Iterable[str] = ()) -> dict[str, str]:
    """What is to be noted of slides, by ID, that hold the same bytes as others."""
    together, made = list(rows), list(made_by_workflow)
    told = {
        slide: f"its outlines are those of {few(others)} to the byte"
        for slide, others in shared_outlines(together, made).items()
    }
    # A copy of a slide may have a copy of its outlines.
    for slide, others in twin_slides(together, made).items():
        told[slide] = f"its file holds the same bytes as that of {few(others)}: it counts twice"
    return told


def few(slides: Sequence[str]) -> str:
    """The first names of a list, and how many more there are."""
    return ", ".join(slides[:_NAMED]) + (f" and {len(slides) - _NAMED} more" if len(slides) > _NAMED else "")


def _others(slides: Iterable[str]) -> dict[str, list[str]]:
    alike = list(slides)
    return {slide: [other for other in alike if other != slide] for slide in alike}


def _problem(path: str) -> str | None:
    """Why there is no file to use, in brackets where it is not absence; None if there is one."""
    try:
        return None if stat.S_ISREG(Path(path).stat().st_mode) else " (not a file)"
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f" ({error.strerror})"


def patient_folds(patients: Iterable[str], folds: int, seed: int) -> dict[str, int]:
    """Assign patients to folds as equal as can be, by the seed; raises SheetError if they are fewer than folds."""
    names = sorted(set(patients))
    if len(names) < folds:
        what = f"cross-fitting in {folds} folds needs at least {folds} training patients"
        mend = "Lower `cross_fit_folds`, or train the classifier and the refiner on different patients."
        raise SheetError(what, where="cohort", found=f"{len(names)} ({', '.join(names)})", mend=mend)
    order = np.random.default_rng(seed).permutation(len(names))
    return {names[index]: position % folds for position, index in enumerate(order)}


def _records(path: str) -> list[tuple[int, Mapping[str, str]]]:
    """Line number and values by column of every row; empty lines and those that begin with # are left out."""
    numbered = enumerate(_text(path).split("\n"), start=1)
    kept = [(number, line) for number, line in numbered if line.strip() and not line.startswith("#")]
    table = [(number, _cells(line, f"{path}, line {number}")) for number, line in kept]
    header = table[0][1] if table else []
    lacking = [c for c in REQUIRED if c not in header]
    if lacking:
        what = f"the sheet lacks the column{'s' * (len(lacking) > 1)} {', '.join(lacking)}"
        mend = f"Its header needs {', '.join(REQUIRED)}, separated by tabs; {', '.join(OPTIONAL)} may be added."
        raise SheetError(what, where=path, found=", ".join(header)[:200] or "nothing", mend=mend)
    _check_spelling(header, path)
    if len(set(header)) < len(header):
        found = ", ".join(sorted({c for c in header if header.count(c) > 1}))
        raise SheetError("a column is given twice", where=path, found=found, mend="Keep one of them.")
    records: list[tuple[int, Mapping[str, str]]] = []
    for number, cells in table[1:]:
        if any(cells[len(header) :]):
            what = "a row has more values than the header has columns"
            found = f"{len(cells)} values, {len(header)} columns"
            mend = "Remove the extra tab, or name the column in the header."
            raise SheetError(what, where=f"{path}, line {number}", found=found, mend=mend)
        # Editors strip the tabs of empty cells at the end of a line.
        cells += [""] * (len(header) - len(cells))
        records.append((number, dict(zip(header, cells, strict=False))))
    return records


def _check_spelling(header: Sequence[str], path: str) -> None:
    """Refuse a column that would be passed over for its spelling; those that are not ours are no matter."""
    for column in header:
        folded = column.casefold()
        # The required ones are all there: beside one of them, only the same word in other letters is no other column.
        meant = [folded] if folded in REQUIRED else spelt_alike(folded, OPTIONAL, alike=_ALIKE)
        if column not in (*REQUIRED, *OPTIONAL) and meant:
            mend = f"Did you mean {meant[0]}? Columns of another meaning need another name."
            raise SheetError("a column would be passed over for its name", where=path, found=column, mend=mend)


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and not Path(path).exists():
            mend = "Correct `cohort.sheet` in the configuration."
            raise SheetError("the sample sheet is not there", where="cohort.sheet", found=path, mend=mend) from error
        what, found = "the sample sheet is not a tab-separated table", str(error).splitlines()[0]
        mend = "Save it as UTF-8 text with tabs between the columns and a header line."
        raise SheetError(what, where=path, found=found, mend=mend) from error


def _cells(line: str, where: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter="\t", strict=True))]
    except csv.Error as error:
        raw = line.split("\t")
        if all(cell.count('"') % 2 == 0 for cell in raw):
            # Marks within a text, as in `"5 mm" core`.
            return [cell.strip() for cell in raw]
        what = "a cell begins with a quotation mark that does not end with it"
        mend = "Remove the mark, or close it before the next tab; a cell holds no line break."
        # Not the cell itself, nor its neighbours: a patient may be named there.
        found = f"cell {next(n for n, cell in enumerate(raw, start=1) if cell.count(chr(34)) % 2)}"
        raise SheetError(what, where=where, found=found, mend=mend) from error


def _row(values: Mapping[str, str], where: str, root: Path) -> SheetRow:
    for column in ("slide_id", "patient_id", "path"):
        if not values[column]:
            raise SheetError(f"`{column}` is empty", where=where, mend="Fill it in, or remove the row.")
    if not is_safe_id(values["slide_id"]):
        found = values["slide_id"]
        mend = (
            "Use letters, digits, dash, underscore and, between them, single dots; begin with a letter or digit; "
            f"at most {LONGEST_ID} characters, not the same ones over and over, and no ending of a table's."
        )
        raise SheetError("a slide_id is not safe to use as a folder name", where=where, found=found, mend=mend)
    if values["slide_id"].casefold() in NAMES_OF_A_RUN:
        what, mend = "a slide_id is the name of a file or folder that every run has", "Add something to it: -1, say."
        raise SheetError(what, where=where, found=values["slide_id"], mend=mend)
    for column, legal in (("split", SPLITS), ("annotation_kind", KINDS)):
        if values[column] not in legal:
            allowed = ", ".join(v for v in legal if v)
            mend = f"Write {allowed}, or leave it empty."
            raise SheetError(f"`{column}` has an unknown value", where=where, found=values[column], mend=mend)
    if bool(values["annotation"]) != bool(values["annotation_kind"]):
        found = f"annotation '{values['annotation']}', annotation_kind '{values['annotation_kind']}'"
        mend = "Fill in both (wta: the whole tumour is outlined, psa: parts are marked) or neither."
        raise SheetError("`annotation` and `annotation_kind` go together", where=where, found=found, mend=mend)
    for column in FILES:
        if odd := re.search(r"[{}<>\x00-\x1f]", values.get(column, "")):
            what = f"`{column}` holds a character that Snakemake reads as its own"
            mend = "Rename the file or folder, or link to it by another name."
            raise SheetError(what, where=where, found=odd.group(), mend=mend)
    for column in (*REQUIRED, *OPTIONAL):
        if control := _CONTROL.search(values.get(column, "")):
            what, mend = f"`{column}` holds a control character", "Remove it, or save the sheet as text again."
            raise SheetError(what, where=where, found=control.group(), mend=mend)
    own = {name: values.get(name, "") for name in ("slide_id", "patient_id", "split", "annotation_kind", "cohort")}
    given = {column: values.get(column, "") for column in FILES}
    files = {
        column: os.path.normpath(root / os.path.expanduser(file)) if file else ""  # noqa: PTH111 - as a shell
        for column, file in given.items()
    }
    return SheetRow(**own, **files, mpp=_mpp(values.get("mpp", ""), where))


def _mpp(value: str, where: str) -> float | None:
    if not value:
        return None
    try:
        mpp = float(value)
    except ValueError:
        mpp = math.nan
    if not (math.isfinite(mpp) and mpp > 0):
        raise SheetError("`mpp` is not a resolution in µm/px", where=where, found=value, mend="Write, say, 0.25.")
    return mpp


def check_joined(rows: Iterable[SheetRow], where: str) -> None:
    """Refuse what only all rows together show: a patient in two splits, or a slide file in two rows."""
    together = list(rows)
    patients: dict[str, SheetRow] = {}
    for row in together:
        # Whoever types codes twice types them once in capitals.
        other = patients.setdefault(row.patient_id.casefold(), row) if row.split else row
        if other.split != row.split:
            # Not the patient, whose name may stand there.
            found = f"{other.slide_id} in {other.split}, {row.slide_id} in {row.split}"
            mend = "Put all slides of a patient into one split."
            raise SheetError("a patient is on both sides of the split", where=where, found=found, mend=mend)
    for column, what, mend in (
        ("slide_id", "two slide_ids differ in capitals alone", "Rename one: some disks take them for one folder."),
        ("path", "a slide file stands in two rows", "Keep one: learnt from or measured twice, a slide counts twice."),
        ("region", "a region stands in two rows", "Give each slide its own: outlines count in its pixels."),
        ("tissue", "an outline of tissue stands in two rows", "Give each slide its own: it counts in its pixels."),
    ):
        seen: dict[str, SheetRow] = {}
        for row in filter(operator.attrgetter(column), together):
            value = getattr(row, column)
            other = seen.setdefault(value.casefold() if column == "slide_id" else os.path.realpath(value), row)
            if other is not row:
                raise SheetError(what, where=where, found=f"{other.slide_id} and {row.slide_id}", mend=mend)
