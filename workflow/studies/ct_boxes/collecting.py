"""Conversion of annotated CT slices (Lung-PET-CT-Dx) to grey images and a table of boxes.

The result names no patient: images are named by the number of their file, and patients are numbered.
"""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from drunet.console import progress, say
from studies.common.ct.annotation import Annotations, Boxes, find_annotations
from studies.common.ct.dicom import SliceIds, is_directory, read_ids, read_slice
from studies.common.ct.files import UserFiles, check_unreadable, find_user_files, is_dicom
from studies.common.ct.window import Window
from studies.common.errors import CtError
from studies.common.user_paths import whole_folder
from studies.ct_boxes.tasks import SUBTYPES
from studies.ct_boxes.trials import SLICES

_FILE = "{:05d}.png"
# Counts of matching.json, in its order; `studies.ct_boxes.tables` says what each means.
_COUNTED = ["annotation_without_dicom", "wrong_names", "duplicate_annotations", "without_patient", "not_ct"]
_COUNTED += ["unreadable", "duplicates", "unusable_annotations", "without_box", "outside_boxes", "empty_boxes"]
_COUNTED += ["several_boxes", "other_subtype", "no_subtype", "subtype_differs", "left_out"]
# A patient's folder or ID of Lung-PET-CT-Dx: Lung_Dx-A0001, or A0001 as the annotations have it.
_PATIENT = re.compile(r"(?:.*[^A-Za-z0-9])?([A-Za-z])\d{3,6}")


@dataclass(frozen=True)
class _Candidate:
    """An annotated slice: subtype by its folders or patient ID (`told`), by its boxes (`named`), and the final one."""

    number: int
    ids: SliceIds
    box: NDArray[np.float64] = field(repr=False)
    boxes: int
    told: str | None
    named: list[str]
    subtype: str = ""


def collect_slices(
    root: str | os.PathLike[str],
    annotations: str | os.PathLike[str] | None,
    folder: str | os.PathLike[str],
    *,
    window: Window,
    subtypes: Sequence[str],
    at_most: int | None,
    rule: str,
    seed: int,
    max_unreadable: float,
    where: str,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Match slices with annotations by SOP instance UID, and write them as 8-bit grey PNG in their stored size.

    DICOM files lie at any depth below `root`, recognised by content, and XML files named by UID below `annotations`
    (None: `root` too). `folder` is written whole or not at all: `<number>.png`, the number of the DICOM file in the
    byte-wise order of all files below `root`, by which only the user can find it again.

    A slice's subtype is the letter of its patient's folder, else of the patient ID, else of the annotation's folder,
    else the name of a box. All slices of a patient are of one subtype: where they differ, that of most (of most boxes,
    where only these have one), of equals the first of the alphabet. Of each, `at_most` slices are drawn at random.
    `max_unreadable` is the share of DICOM files, and of matching annotations, that may be of no use.

    Returns a row per slice, `trials.SLICES`, and the counts for matching.json. Raises CtError where a folder is
    missing, too much cannot be read, or a subtype, or everything, is without an annotated slice.
    """
    counts: Counter[str] = Counter()
    files = find_user_files(root, f"{where}.root")
    boxes_in = find_user_files(annotations, f"{where}.annotations") if annotations is not None else files
    notes = find_annotations(boxes_in)
    ids, unreadable = _read_all_ids(files, counts)
    check_unreadable(files, unreadable, counts["dicom"], max_unreadable)
    matched = {number: each for number, each in ids.items() if each.uid in notes.numbers}
    if not matched:
        found = f"{len(ids)} CT slices, {len(notes.numbers)} annotations named by a UID"
        mend = "An annotation is called by the SOP instance UID of its slice, and ends in .xml."
        raise CtError("no slice has an annotation", where=files.where, found=found, mend=mend)
    candidates = _candidates(matched, files, notes, subtypes, rule, max_unreadable, counts)
    chosen = _draw(candidates, subtypes, at_most, seed, files.where)
    with whole_folder(folder) as new:
        table = _write(new, chosen, files, window, unreadable)
        check_unreadable(files, unreadable, counts["dicom"], max_unreadable)
        if lost := sorted(set(subtypes) - set(table["subtype"])):
            found, mend = ", ".join(lost), "Put intact files in their place, or leave the subtype out of `subtypes`."
            raise CtError("no annotated slice of a subtype can be read", where=files.where, found=found, mend=mend)
    nameless = {_FILE.format(each.number) for each in chosen if each.ids.patient_tag != "PatientID"}
    counts["without_patient"] = int(table["file"].isin(nameless).sum())
    counts["unreadable"] = len(unreadable)
    counts["left_out"] = len(candidates) - len(chosen)
    say(f"{len(table)} annotated slices of {table['patient'].nunique()} patients")
    return table, {
        "slices": len(table),
        "patients": int(table["patient"].nunique()),
        "subtypes": {str(k): int(n) for k, n in table["subtype"].value_counts().sort_index().items()},
        "annotated": len(matched),
        "dicom_without_annotation": len(ids) - len(matched),
        **{name: int(counts[name]) for name in _COUNTED},
        "rule": rule,
    }


def choose_box(boxes: Boxes, rule: str) -> NDArray[np.float64]:
    """The box that stands for a slice: float64 (4,), xmin, ymin, xmax, ymax; rules as in `collect_slices`."""
    corners = boxes.corners
    if rule == "union":
        return np.concatenate([corners[:, :2].min(axis=0), corners[:, 2:].max(axis=0)])
    sides = corners[:, 2:] - corners[:, :2]
    return corners[int(sides.prod(axis=1).argmax()) if rule == "largest" else 0]


def subtype_letter(names: Sequence[str], subtypes: Sequence[str]) -> str | None:
    """The letter, in capitals, of the first name like a patient's of Lung-PET-CT-Dx; None without one.

    Letters of the wanted `subtypes` come first, then the others of `SUBTYPES`; other letters (P0001, S2024) are
    ignored.
    """
    letters = [match[1].upper() for name in names if (match := _PATIENT.fullmatch(name))]
    return next((letter for known in (subtypes, SUBTYPES) for letter in letters if letter in known), None)


def _read_all_ids(files: UserFiles, counts: Counter[str]) -> tuple[dict[int, SliceIds], list[tuple[int, str]]]:
    """IDs of every CT slice, without duplicates, and the files that cannot be read."""
    ids: dict[int, SliceIds] = {}
    seen: set[str] = set()
    unreadable: list[tuple[int, str]] = []
    numbers = list(files.visible())
    with progress(len(numbers), f"Looking through {files.where}", "files") as bar:
        for number in numbers:
            bar.update()
            path = files.path(number)
            if not is_dicom(path) and path.suffix.lower() != ".dcm":
                continue
            counts["dicom"] += 1
            try:
                found = read_ids(path, files.label(number))
            except CtError as error:
                if is_directory(path):
                    counts["not_ct"] += 1
                else:
                    unreadable.append((number, error.what))
                continue
            if not found.is_ct:
                counts["not_ct"] += 1
            elif found.uid in seen:
                counts["duplicates"] += 1
            else:
                seen.add(found.uid)
                ids[number] = found
    if not counts["dicom"]:
        mend = "Name the folder that holds the series."
        raise CtError("there is no DICOM file", where=files.where, found=f"{len(files)} files", mend=mend)
    return ids, unreadable


def _candidates(
    matched: dict[int, SliceIds],
    files: UserFiles,
    notes: Annotations,
    subtypes: Sequence[str],
    rule: str,
    max_unreadable: float,
    counts: Counter[str],
) -> list[_Candidate]:
    """Slices with a box and of a wanted subtype, in the order of the files."""
    known = {*subtypes, *SUBTYPES}
    usable, found_boxes = notes.matching({ids.uid: (ids.columns, ids.rows) for ids in matched.values()}, max_unreadable)
    counts.update(found_boxes)
    found: list[_Candidate] = []
    for number, ids in matched.items():
        boxes = usable.get(ids.uid)
        if not boxes:
            counts["without_box"] += boxes is not None
            continue
        named = [name.upper() for name in boxes.names if name.upper() in known]
        folders = Path(notes.files.name(notes.numbers[ids.uid])).parts[:-1]
        told = subtype_letter([*Path(files.name(number)).parts[:-1], ids.patient, *folders], subtypes)
        found.append(_Candidate(number, ids, choose_box(boxes, rule), len(boxes), told, named))
    return _of_subtypes(found, subtypes, counts)


def _of_subtypes(found: list[_Candidate], subtypes: Sequence[str], counts: Counter[str]) -> list[_Candidate]:
    """Slices of a wanted subtype, one for all slices of a patient, so that no split shares a patient."""
    told: defaultdict[str, Counter[str]] = defaultdict(Counter)
    named: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for each in found:
        told[each.ids.patient].update([each.told] if each.told else [])
        named[each.ids.patient].update(each.named)
    wanted = []
    for each in found:
        letters = told[each.ids.patient] or named[each.ids.patient]
        # Of equals max takes the first.
        subtype = max(sorted(letters), key=lambda letter: letters[letter], default=None)
        counts["subtype_differs"] += any(name not in (subtype, None) for name in (each.told, *each.named))
        if subtype is None or subtype not in subtypes:
            counts["no_subtype" if subtype is None else "other_subtype"] += 1
            continue
        counts["several_boxes"] += each.boxes > 1
        wanted.append(replace(each, subtype=subtype))
    return wanted


def _draw(
    candidates: list[_Candidate], subtypes: Sequence[str], at_most: int | None, seed: int, where: str
) -> list[_Candidate]:
    """At most so many of each subtype; what is drawn of one depends on no other."""
    chosen: list[_Candidate] = []
    for subtype in subtypes:
        own = [each for each in candidates if each.subtype == subtype]
        if not own:
            there = Counter(each.subtype for each in candidates)
            found = f"{subtype}; there are {', '.join(f'{n} of {s}' for s, n in sorted(there.items())) or 'none'}"
            mend = "Add such slices, or leave the subtype out of `subtypes`."
            raise CtError("a subtype has no annotated slice", where=where, found=found, mend=mend)
        if at_most is not None and len(own) > at_most:
            rng = np.random.default_rng([seed, *subtype.encode()])
            own = [own[i] for i in sorted(rng.permutation(len(own))[:at_most])]
        chosen += own
    return sorted(chosen, key=lambda each: each.number)


def _write(
    folder: Path, chosen: list[_Candidate], files: UserFiles, window: Window, unreadable: list[tuple[int, str]]
) -> pd.DataFrame:
    """Write the pictures; slices whose pixels cannot be read are added to `unreadable`."""
    rows: list[tuple[Any, ...]] = []
    patients: dict[str, int] = {}
    with progress(len(chosen), f"Converting {files.where}", "slices") as bar:
        for each in chosen:
            bar.update()
            try:
                hu = read_slice(files.path(each.number), files.label(each.number)).hu
            except CtError as error:
                unreadable.append((each.number, error.what))
                continue
            file = _FILE.format(each.number)
            Image.fromarray(window.grey(hu)).save(folder / file)
            patient = patients.setdefault(each.ids.patient, len(patients) + 1)
            rows.append((file, each.subtype, patient, *hu.shape[::-1], *each.box, each.boxes))
    return pd.DataFrame(rows, columns=list(SLICES))
