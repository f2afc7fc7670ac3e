"""Conversion of a user's CT images, DICOM among them, to grey pictures in a folder per class.

DICOM and XML are read once, here. What comes out names no patient and no article: pictures are called by the number of
the file that they were made of, sources are numbered.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from drunet.console import progress, say
from studies.common.ct.annotation import NO_ANNOTATIONS, Annotations, find_annotations
from studies.common.ct.dicom import SliceIds, is_directory, read_ids, read_slice
from studies.common.ct.files import UserFiles, check_unreadable, find_user_files, is_dicom
from studies.common.ct.window import Window
from studies.common.errors import CtError, ImageSetError, NoSliceError
from studies.common.images.content import SUFFIXES
from studies.common.images.file_facts import FACTS, dicom_facts, picture_facts
from studies.common.images.folder import PARTS, read_image
from studies.common.images.groups import path_ends, read_columns
from studies.common.user_paths import whole_folder
from studies.ct_pneumonia.selection import ClassDraw, choose

SOURCE_COLUMNS = ("file", "label", "source", "part", *FACTS)


@dataclass(frozen=True)
class _Read:
    """What is kept of an image that was read."""

    facts: dict[str, Any]
    uid: str = field(default="", repr=False)
    patient: str = field(default="", repr=False)
    patient_tag: str | None = None


@dataclass(frozen=True)
class _Drawn:
    """Class of each image that was drawn, by its number; what was met on the way, and counts by class."""

    labels: dict[int, str]
    uids: set[str] = field(repr=False)
    passed_over: int
    duplicates: int
    counts: dict[str, dict[str, int]]


def collect_images(
    root: str | Path,
    classes: Sequence[str],
    folder: str | Path,
    *,
    window: Window,
    annotations: str | Path | None,
    sources: str | Path | None,
    max_unreadable: float,
    where: str,
    draw: Mapping[str, ClassDraw | None] | None = None,
    balance: bool = False,
    seed: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Write the images of each class as 8-bit grey PNG in their stored size.

    An image belongs to the nearest folder above it that is named as a class. DICOM is recognised by content, other
    kinds by their suffix; further files, and DICOMDIR, are passed over. Pictures become grey by luminance (ITU-R
    BT.601); DICOM files of another kind, as localisers, PET and dose sheets, are counted and passed over. `folder` is
    written whole or not at all: `<class>/<number>.png`, the number of the original in the byte-wise order of all files
    below `root`, by which only the user can find it again. `annotations` holds XML named by the UIDs of slices.

    `sources` is a table of file and source (patient or article). A DICOM slice that it does not name has the source of
    other slices of its patient (several of these become one), else its patient is its source: the patient ID, else the
    study, else the series. `max_unreadable` is the share of images that may be unreadable, and of matching annotations
    that may be unusable.

    Of a class that `draw` names only what it says is read, drawn by `seed`; with `balance` all classes are brought to
    the size of the smallest one. For this the headers of all its DICOM files are read first.

    Returns a row per image: file (`Cancer/00017.png`), label, source ("" or a number), part ("" or its name), and facts
    of the original; a row per box; unreadable numbers; and counts. Raises CtError.
    """
    files = find_user_files(root, f"{where}.root")
    everything = _labels(files, classes)
    notes = find_annotations(find_user_files(annotations, f"{where}.annotations")) if annotations else NO_ANNOTATIONS
    known = _read_sources(sources, files, everything, f"{where}.sources") if sources else {}
    unknown: list[tuple[int, str]] = []
    plans = {label: plan for label, plan in (draw or {}).items() if plan}
    drawn = _draw(files, everything, plans, notes, known, unknown, balance=balance, seed=seed, limit=max_unreadable)
    labels = drawn.labels
    parts = _parts(files, labels)
    unreadable: list[tuple[int, str]] = []
    with whole_folder(folder) as new:
        kept, passed_over = _convert(new, files, labels, window, unreadable)
        check_unreadable(files, unreadable, len(labels), max_unreadable)
        boxes, counts = _boxes(kept, labels, notes, max_unreadable)
    unreadable += unknown
    table = _table(kept, labels, parts, known)
    uids = [read.uid for read in kept.values() if read.uid]
    facts: dict[str, Any] = {
        "images": len(table),
        "classes": {name: int((table["label"] == name).sum()) for name in classes},
        "dicom": int((table["format"] == "dicom").sum()),
        "duplicates": len(uids) - len(set(uids)) + drawn.duplicates,
        "annotated": int(boxes["file"].nunique()),
        "sources": int(table.loc[table["source"] != "", "source"].nunique()),
        "without_source": int((table["source"] == "").sum()),
        "without_patient": sum(read.patient_tag not in (None, "PatientID") for read in kept.values()),
        "unreadable": len(unreadable),
        "passed_over": passed_over + drawn.passed_over,
        **counts,
        "annotation_without_dicom": len(set(notes.numbers) - drawn.uids - set(uids)),
        "drawn": drawn.counts,
        "balanced": balance,
    }
    say(f"{len(table)} images of {len(classes)} classes")
    return table, boxes, pd.DataFrame(unreadable, columns=["number", "reason"]), facts


def _labels(files: UserFiles, classes: Sequence[str]) -> dict[int, str]:
    """Class of each image by its number, in the order of the files."""
    folders: set[str] = set()
    labels: dict[int, str] = {}
    for number in files.visible():
        path = PurePosixPath(files.name(number))
        label = next((part for part in reversed(path.parts[:-1]) if part in classes), None)
        if label is None:
            continue
        folders.add(label)
        if path.suffix.lower() in SUFFIXES or (_is_slice(files.path(number)) and not is_directory(files.path(number))):
            labels[number] = label
    for name in classes:
        if name not in folders:
            mend = "Folders are named exactly as the classes, and hold files."
            raise CtError("there is no folder of this class", where=files.where, found=name, mend=mend)
        if name not in labels.values():
            mend = f"Fill or remove it. Images are DICOM or end in {', '.join(SUFFIXES)}."
            raise CtError("a class folder holds no image", where=files.where, found=name, mend=mend)
    return labels


def _draw(
    files: UserFiles,
    labels: dict[int, str],
    plans: Mapping[str, ClassDraw],
    notes: Annotations,
    known: Mapping[int, str],
    unreadable: list[tuple[int, str]],
    *,
    balance: bool,
    seed: int,
    limit: float,
) -> _Drawn:
    """Draw images of the classes that have a plan, or of all to balance them; other classes stay whole."""
    looked = [number for number, label in labels.items() if balance or label in plans]
    heads, pictures, passed_over, duplicates = _look_through(files, looked, unreadable)
    check_unreadable(files, unreadable, len(looked), limit)
    boxes, _ = notes.matching({ids.uid: (ids.columns, ids.rows) for ids in heads.values()}, limit)
    patients = {**dict.fromkeys(pictures, ""), **{number: _patient(ids) for number, ids in heads.items()}}
    texts = {number: text or f"file {number}" for number, text in _sources(patients, known).items()}
    chosen: dict[int, str] = {}
    counts: dict[str, dict[str, int]] = {}
    drawn: dict[str, list[int]] = {}
    for label in dict.fromkeys(labels[number] for number in looked):
        plan = plans.get(label, ClassDraw())
        own = {number: text for number, text in texts.items() if labels[number] == label}
        if plan.annotated:
            own = {number: text for number, text in own.items() if number in heads and boxes.get(heads[number].uid)}
        drawn[label] = choose(own, plan, _random(seed, label))
        _check_drawn(plan, own, drawn[label], f"{files.where.removesuffix('.root')}.draw.{label}")
        counts[label] = {"of_images": len(own), "of_sources": len(set(own.values()))}
    least = ClassDraw(images=min(map(len, drawn.values())) or None) if balance else ClassDraw()
    for label, numbers in drawn.items():
        left = choose({number: texts[number] for number in numbers}, least, _random(seed, label))
        chosen |= dict.fromkeys(left, label)
        counts[label] |= {"images": len(left), "sources": len({texts[number] for number in left})}
    whole = set(labels) - set(looked)
    kept = {number: label for number, label in labels.items() if number in whole or number in chosen}
    return _Drawn(kept, {ids.uid for ids in heads.values()}, passed_over, duplicates, counts)


def _look_through(
    files: UserFiles, numbers: Sequence[int], unreadable: list[tuple[int, str]]
) -> tuple[dict[int, SliceIds], list[int], int, int]:
    """IDs of every CT slice, without duplicates; pictures; the numbers of files of another kind, and of duplicates."""
    heads: dict[int, SliceIds] = {}
    pictures: list[int] = []
    uids: set[str] = set()
    other = duplicates = 0
    with progress(len(numbers), f"Looking through {files.where}", "files") as bar:
        for number in numbers:
            bar.update()
            if not _is_slice(files.path(number)):
                pictures.append(number)
                continue
            try:
                ids = read_ids(files.path(number), files.label(number))
            except CtError as error:
                unreadable.append((number, error.what))
                continue
            if not ids.is_ct:
                other += 1
            elif ids.uid in uids:
                duplicates += 1
            else:
                uids.add(ids.uid)
                heads[number] = ids
    return heads, pictures, other, duplicates


def _random(seed: int, label: str) -> np.random.Generator:
    """What is drawn of one class depends on no other."""
    return np.random.default_rng([seed, *label.encode()])


def _check_drawn(plan: ClassDraw, own: Mapping[int, str], chosen: Sequence[int], where: str) -> None:
    """Refuse a draw that comes out smaller than it was asked for."""
    kind = "annotated CT slices" if plan.annotated else "images"
    for key, count in (("patients", len(set(own.values()))), ("images", len(chosen))):
        if (wanted := getattr(plan, key)) is not None and count < wanted:
            mend = (
                "Ask for no more than there are, or set it to null; `draw: {CLASS: null}` takes all images of a class."
            )
            found = f"{kind} of {count} patients" if key == "patients" else f"{count} {kind}"
            raise CtError(f"fewer {key} than are to be drawn", where=f"{where}.{key}", found=found, mend=mend)


def _parts(files: UserFiles, labels: Mapping[int, str]) -> dict[int, str]:
    """Part of each image by the nearest folder that names one; "" where none of them lies in such a folder."""
    parts: dict[int, str] = {}
    for number in labels:
        folders = (part.lower() for part in reversed(PurePosixPath(files.name(number)).parts[:-1]))
        parts[number] = next((PARTS[name] for name in folders if name in PARTS), "")
    outside = sum(not part for part in parts.values())
    if 0 < outside < len(parts):
        what, mend = "some images lie in no part of the set", "Put each into Training, Validation or Testing, or none."
        raise CtError(what, where=files.where, found=f"{outside} of {len(parts)}", mend=mend)
    return parts


def _convert(
    folder: Path, files: UserFiles, labels: Mapping[int, str], window: Window, unreadable: list[tuple[int, str]]
) -> tuple[dict[int, _Read], int]:
    """Write the picture of each image that can be read; also the number of files of another kind."""
    kept: dict[int, _Read] = {}
    passed_over = 0
    for label in set(labels.values()):
        (folder / label).mkdir()
    with progress(len(labels), f"Converting {files.where}", "images") as bar:
        for number, label in labels.items():
            bar.update()
            try:
                grey, read = _read(files.path(number), files.label(number), window)
            except NoSliceError:
                passed_over += 1
                continue
            except (CtError, ImageSetError) as error:
                # No more than what is wrong: what was found may repeat the path.
                unreadable.append((number, error.what))
                continue
            Image.fromarray(grey).save(folder / _file(label, number))
            kept[number] = read
    return kept, passed_over


def _read(path: Path, where: str, window: Window) -> tuple[NDArray[np.uint8], _Read]:
    if _is_slice(path):
        ct = read_slice(path, where)
        height, width = ct.hu.shape
        facts = dicom_facts(path, width, height, ct.bits)
        return window.grey(ct.hu), _Read(facts, ct.ids.uid, _patient(ct.ids), ct.ids.patient_tag)
    pixels = read_image(path)
    grey = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.uint8)
    return grey, _Read(picture_facts(path, pixels))


def _patient(ids: SliceIds) -> str:
    """What tells slices of one patient; "" where nothing does, for its own UID groups a slice with no other."""
    return "" if ids.patient_tag == "SOPInstanceUID" else ids.patient


def _is_slice(path: Path) -> bool:
    return path.suffix.lower() == ".dcm" or is_dicom(path)


def _file(label: str, number: int) -> str:
    return f"{label}/{number:05d}.png"


def _boxes(
    kept: Mapping[int, _Read], labels: Mapping[int, str], notes: Annotations, max_unreadable: float
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Boxes of the DICOM slices that have an annotation, and counts."""
    sizes = {read.uid: (read.facts["width"], read.facts["height"]) for read in kept.values() if read.uid}
    found, counts = notes.matching(sizes, max_unreadable)
    rows = [
        (_file(labels[number], number), *box)
        for number, read in kept.items()
        if read.uid in found
        for box in found[read.uid].corners
    ]
    return pd.DataFrame(rows, columns=["file", "xmin", "ymin", "xmax", "ymax"]), counts


def _table(
    kept: Mapping[int, _Read], labels: Mapping[int, str], parts: Mapping[int, str], known: Mapping[int, str]
) -> pd.DataFrame:
    """A row per image, by file; sources are numbered as they come, and a patient and an article of one name are one."""
    texts = _sources({number: read.patient for number, read in kept.items()}, known)
    sources: dict[str, int] = {}
    rows = []
    for number, read in kept.items():
        text = texts[number]
        source = str(sources.setdefault(text, len(sources) + 1)) if text else ""
        file = _file(labels[number], number)
        rows.append({"file": file, "label": labels[number], "source": source, "part": parts[number], **read.facts})
    return pd.DataFrame(rows, columns=list(SOURCE_COLUMNS)).sort_values("file", ignore_index=True)


def _sources(patients: Mapping[int, str], known: Mapping[int, str]) -> dict[int, str]:
    """Source of each image: what the table says, else of its patient, "" where neither is known.

    A patient whom the table names in part is not divided: all sources that it gives to slices of his become one, and
    the others take it. Where it names all his slices it is followed, as patient IDs may stand for many (`anonymous`).
    """
    partly = {patient for number, patient in patients.items() if patient and number not in known}
    joined: dict[str, str] = {}

    def first(text: str) -> str:
        while text in joined:
            text = joined[text]
        return text

    for number, patient in patients.items():
        if number in known and patient in partly and (one := first(patient)) != (other := first(known[number])):
            joined[one] = other
    return {number: first(known.get(number) or patient) for number, patient in patients.items()}


def _read_sources(path: str | Path, files: UserFiles, numbers: Iterable[int], where: str) -> dict[int, str]:
    """Source by number of the file, from a TSV or CSV in UTF-8 with the columns file and source; an empty one is none.

    A file is named by its path below the folder of images, or by as much of its end as leaves no doubt. Rows that name
    none of the images `numbers` are passed over, unless all do. Raises CtError; no message repeats a name.
    """
    header, rows = read_columns(path, ("file", "source"), CtError, "the table of sources", where)
    columns, images = [header.index("file"), header.index("source")], list(numbers)
    ends = path_ends([files.name(number) for number in images])
    found: dict[int, str] = {}
    named = False
    for line, row in rows:
        place = f"{where}, line {line}"
        if len(row) <= max(columns):
            mend = "Give it all columns of the header; a source may be empty."
            raise CtError("a row is too short", where=place, found=f"{len(row)} cells", mend=mend)
        text, source = (row[column].strip() for column in columns)
        file = PurePosixPath(text).as_posix()
        named |= file in ends
        # The whole path comes first: another file's may end alike.
        meant = ends.get(file, [])
        meant = [k for k in meant if files.name(images[k]) == file] or meant
        if len(meant) > 1:
            mend = "Name it by its path below the folder of images."
            raise CtError("a row leaves open which file it means", where=place, mend=mend)
        if meant and source and found.setdefault(images[meant[0]], source) != source:
            raise CtError("an image has two sources", where=place, mend="Keep one.")
    if rows and images and not named:
        what, mend = "the table of sources names no image", "Name each by its path below the folder of images."
        raise CtError(what, where=where, found=f"{len(rows)} rows", mend=mend)
    return found
