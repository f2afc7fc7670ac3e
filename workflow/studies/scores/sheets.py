"""Blinded scoring sheets: written for each reader, and read and checked when they come back.

Source: Oskouei et al. 2025, "Qualitative model assessment" and Table 3. Here each reader gets the cases in an order of
their own, under numbers that tell nothing of slide or model.
"""

import csv
import hashlib
import io
import math
import os
import shutil
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from drunet.errors import SheetError
from drunet.files import whole_file, write_text
from studies.common.page import templates

# Table 3 in other words.
SCALE = {
    0: "There is no tumour and none is outlined, or the picture cannot be judged.",
    1: "The outline is wrong altogether, or the tumour is not outlined.",
    2: "A large part of the tumour is left out.",
    3: "Most of the tumour is outlined well, but some areas are wrongly inside or outside.",
    4: "Most of the tumour is outlined well; only few, scattered areas are wrongly inside or outside.",
    5: "The whole tumour, or almost the whole, is outlined well.",
}
COLUMNS = ("case", "score", "comment", "picture")
KEY_COLUMNS = ["reader", "case", "slide", "run", "presentation", "picture"]
# The order that keeps pictures of one slide farthest apart is taken of so many.
_ORDERS = 200


def deal_cases(cases: Sequence[tuple[str, str]], readers: Sequence[str], repeats: float, seed: int) -> pd.DataFrame:
    """Give every reader all cases (run, slide) in an order of their own, which depends on the reader's name alone.

    `repeats` is the share of the cases, the same for all readers, that come twice: for agreement of a reader with
    themselves. Returns columns reader, case (`case_01` and so on), slide, run, presentation (1 or 2).
    """
    if not cases:
        mend = "Choose another `split`; slides.tsv in the results says why no annotated slide of it is usable."
        raise SheetError("there is no outline to score", where="study_settings.scores", mend=mend)
    count = max(1, round(repeats * len(cases))) if repeats > 0 else 0
    again = np.random.default_rng([seed, 0]).choice(len(cases), count, replace=False)
    shown = [*cases, *(cases[index] for index in sorted(again))]
    rows = []
    for reader in readers:
        rng = np.random.default_rng([seed, 1, zlib.crc32(reader.encode())])
        orders = [rng.permutation(len(shown)) for _ in range(_ORDERS)]
        order = max(orders, key=lambda o: _least_gap([shown[index][1] for index in o]))
        seen: list[tuple[str, str]] = []
        for number, (run, slide) in enumerate((shown[index] for index in order), start=1):
            case = f"case_{number:0{max(2, len(str(len(shown))))}d}"
            rows.append((reader, case, slide, run, 1 + seen.count((run, slide))))
            seen.append((run, slide))
    return pd.DataFrame(rows, columns=KEY_COLUMNS[:-1])


def with_pictures(dealt: pd.DataFrame, digests: Mapping[tuple[str, str], str]) -> pd.DataFrame:
    """Add the column picture: a mark that changes with the outline and does not reveal repeated cases."""

    def mark(reader: str, case: str, slide: str, run: str) -> str:
        text = "/".join((reader, case, slide, digests[run, slide]))
        # The letter keeps spreadsheets from reading 12345e67 as a number.
        return "p" + hashlib.sha256(text.encode()).hexdigest()[:7]

    columns = [dealt[name].tolist() for name in ("reader", "case", "slide", "run")]
    return dealt.assign(picture=[mark(*row) for row in zip(*columns, strict=True)])


def write_reader(
    sheet: str | Path,
    cases: str | Path,
    instructions: str | Path,
    key: pd.DataFrame,
    pictures: Mapping[tuple[str, str], str],
    template: Path,
) -> None:
    """Write one reader's sheet, numbered pictures and instructions; SheetError if a sheet there has been filled in."""
    _keep_filled(Path(sheet))
    folder = Path(cases)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for run, slide, case in zip(key["run"], key["slide"], key["case"], strict=True):
        shutil.copyfile(pictures[run, slide], folder / f"{case}.jpg")
    page = templates(template.parent).get_template(template.name)
    write_text(instructions, page.render(reader=key["reader"].iloc[0], count=len(key), scale=SCALE))
    blank = key.assign(score="", comment="")[list(COLUMNS)]
    # With the mark of UTF-8 in front, spreadsheets keep the letters of comments.
    with whole_file(sheet) as temporary:
        blank.to_csv(temporary, sep="\t", index=False, encoding="utf-8-sig", lineterminator="\r\n")


def table_rows(content: bytes) -> list[tuple[int, list[str]]]:
    """Line number and cells of every row that is not empty, as spreadsheets save text.

    UTF-8, UTF-16 or Windows-1252; separated by tab, semicolon or comma, whichever parts the header most.
    """
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = content.decode("utf-16", errors="replace")
    else:
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = content.decode("cp1252", errors="replace")
    header = text.split("\n", 1)[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max("\t;,", key=header.count))
    rows, last = [], 0
    for cells in reader:
        # A comment may run over several lines; what is named is the first.
        first, last = last + 1, reader.line_num
        if any(cell.strip() for cell in cells):
            rows.append((first, [cell.strip() for cell in cells]))
    return rows


def read_filled(path: str | Path, key: pd.DataFrame) -> pd.DataFrame:
    """Read a filled sheet, and check it against the reader's rows of the key, which come back with the column score.

    Raises SheetError, with file, line, case and value: no sheet, a column, case or score missing, a case unknown or
    given twice, another picture than the one made now, a score that is no whole number from 0 to 5.
    """
    name = os.fspath(path)
    content = Path(path).read_bytes()
    if content.startswith(b"PK\x03\x04"):  # a ZIP file
        mend = "Save it as tab-separated text or CSV."
        raise SheetError("the sheet is not text but a spreadsheet program's own format", where=name, mend=mend)
    rows = table_rows(content)
    header = [cell.casefold() for cell in rows[0][1]] if rows else []
    lacking = [c for c in COLUMNS if c != "comment" and header.count(c) != 1]
    if lacking:
        what = f"the sheet needs the column{'s' * (len(lacking) > 1)} {', '.join(lacking)} once"
        mend = "Fill in the sheet.tsv that scoring_sheet made, and keep its first line."
        raise SheetError(what, where=name, found=", ".join(header)[:200] or "nothing", mend=mend)
    pictures = dict(zip(key["case"], key["picture"], strict=True))
    scores: dict[str, int] = {}
    for line, cells in rows[1:]:
        values = dict(zip(header, [*cells, *[""] * len(header)], strict=False))
        _check_case(values["case"], values["picture"], scores, pictures, f"{name}, line {line}")
        if values["score"]:
            scores[values["case"]] = _score(values["score"], values["case"], f"{name}, line {line}")
    if missing := [case for case in key["case"] if case not in scores]:
        found = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        mend = "Give each of sheet.tsv's rows a whole number from 0 to 5; 0 says that the picture cannot be judged."
        raise SheetError(f"{len(missing)} of {len(key)} cases have no score", where=name, found=found, mend=mend)
    return key.assign(score=[scores[case] for case in key["case"]])


def _least_gap(slides: Sequence[str]) -> int:
    """Fewest steps between two pictures of one slide; as many as there are pictures where none comes twice."""
    gaps = pd.Series(range(len(slides))).groupby(list(slides)).diff()
    return int(gaps.fillna(len(slides)).min())


def _keep_filled(sheet: Path) -> None:
    if not sheet.is_file():
        return
    header, *rows = [cells for _, cells in table_rows(sheet.read_bytes())] or [[]]
    column = header.index("score") if "score" in header else len(header)
    filled = [cells for cells in rows if any(cells[column : column + 1])]
    if filled:
        what = "the sheet has been filled in where it was made, and would be overwritten"
        mend = "Move it to another folder and name it under study_settings.scores.filled."
        raise SheetError(what, where=os.fspath(sheet), found=f"{len(filled)} scores", mend=mend)


def _check_case(case: str, picture: str, seen: dict[str, int], pictures: dict[str, str], where: str) -> None:
    if case not in pictures:
        mend = "Correct the case, or check that the sheet is this reader's."
        raise SheetError("there is no such case for this reader", where=where, found=case or "an empty cell", mend=mend)
    if case in seen:
        raise SheetError("a case is given twice", where=where, found=case, mend="Keep the row that counts.")
    if picture != pictures[case]:
        what = "the score was given to another picture than the one that this case shows now"
        found = f"{case}, picture '{picture}' instead of '{pictures[case]}'"
        mend = "Check that the sheet is this reader's; outlines that have changed since have to be scored again."
        raise SheetError(what, where=where, found=found, mend=mend)


def _score(value: str, case: str, where: str) -> int:
    try:
        # Spreadsheets may write 4 as 4.0.
        number = float(value)
    except ValueError:
        number = math.nan
    if number not in SCALE:
        mend = "Write a whole number from 0 to 5, and words into the comment."
        raise SheetError("the score is no whole number from 0 to 5", where=where, found=f"{case}: '{value}'", mend=mend)
    return int(number)
