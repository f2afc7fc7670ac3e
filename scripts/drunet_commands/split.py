"""Fill in the column `split` of a sheet by chance: `drunet split SHEET NEW_SHEET`."""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from drunet.cohort import SheetRow, read_sheets
from drunet.errors import SheetError, closest
from drunet.files import whole_file

# Oskouei et al. 2025, "Model training": 97 slides at random, but those with holes of tissue cores in the test.
PUBLISHED = {"train": 51, "val": 26, "test": 20}


def split_patients(
    rows: Sequence[SheetRow], counts: Mapping[str, int], *, test: Sequence[str] = (), seed: int
) -> dict[str, str]:
    """Split of each annotated slide, by ID; all slides of a patient are in one.

    `counts` are slides by split, or proportions; patients with a slide in `test` are test patients. Those with many
    slides are placed first, each where most slides are lacking. Raises SheetError for an unknown slide in `test`.
    """
    patients: defaultdict[str, list[str]] = defaultdict(list)
    for row in filter(lambda row: row.annotation, rows):
        patients[row.patient_id.casefold()].append(row.slide_id)
    known = {slide: patient for patient, slides in patients.items() for slide in slides}
    if unknown := [slide for slide in test if slide not in known]:
        raise SheetError("no such annotated slide", where="--test", found=unknown[0], mend=closest(unknown[0], known))
    lacking = {split: count * len(known) / sum(counts.values()) for split, count in counts.items()}
    forced, names = {known[slide] for slide in test}, sorted(patients)
    drawn = [names[i] for i in np.random.default_rng(seed).permutation(len(names))]
    result: dict[str, str] = {}
    for patient in sorted(drawn, key=lambda name: (name not in forced, -len(patients[name]))):
        split = "test" if patient in forced else max(lacking, key=lacking.__getitem__)
        lacking[split] -= len(patients[patient])
        result |= dict.fromkeys(patients[patient], split)
    return result


def filled(sheet: str, splits: Mapping[str, str]) -> str:
    """The text of a sheet with another column `split`, empty for slides that are not in `splits`."""
    lines = [line.split("\t") for line in sheet.split("\n")]
    header, *rows = (cells for cells in lines if any(cells) and not cells[0].startswith("#"))
    slide, split = header.index("slide_id"), header.index("split")
    for cells in rows:
        cells[split : split + 1] = [splits.get(cells[slide].strip(), "")]
    return "\n".join(map("\t".join, lines))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `drunet split` is asked with."""
    parser.add_argument("sheet", help="tab-separated, with at least the columns slide_id and split")
    parser.add_argument("new_sheet", help="beside the old one, as relative paths start at the sheet's folder")
    parser.add_argument("--counts", nargs=3, type=int, default=list(PUBLISHED.values()), metavar=tuple(PUBLISHED))
    parser.add_argument("--test", nargs="*", default=[], metavar="SLIDE", help="slides for the test, whatever is drawn")
    parser.add_argument("--seed", type=int, default=20240917)


def run(asked: argparse.Namespace) -> int:
    """Write the new sheet; everything but the column `split` stays as it is. Raises DrunetError."""
    counts = dict(zip(PUBLISHED, asked.counts, strict=True))
    try:
        text = Path(asked.sheet).read_text(encoding="utf-8-sig")
        with whole_file(asked.new_sheet) as temporary:
            # What stood there may be wrong, two splits of one patient for instance: it is drawn anew.
            temporary.write_text(filled(text, {}), encoding="utf-8")
            rows = list(read_sheets(str(temporary)).values())
            splits = split_patients(rows, counts, test=asked.test, seed=asked.seed)
            temporary.write_text(filled(text, splits), encoding="utf-8")
    except (OSError, ValueError) as error:
        raise SheetError(str(error), where=asked.sheet, mend="Hand in a tab-separated sheet of slides.") from None
    return 0
