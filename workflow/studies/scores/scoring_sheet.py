"""Sheets on which pathologists score outlines without knowing whose they are.

Paper, "Qualitative model assessment" and Table 3: two pathologists gave every test slide's segmentation a score from 0
to 5. Here each reader gets the cases in an order of their own, under numbers that say nothing of slide or model.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import shutil
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from drunet.errors import SheetError
from drunet.files import whole_file, write_text
from drunet.report.embedding import templates

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
# Among so many orders the one that keeps pictures of one slide farthest apart is taken.
_ORDERS = 200


def deal_cases(cases: Sequence[tuple[str, str]], readers: Sequence[str], repeats: float, seed: int) -> pd.DataFrame:
    """Give every reader all cases in an order of their own.

    Parameters
    ----------
    cases : sequence of (run, slide)
    readers : sequence of str
        A reader's order depends on the name alone, so that another reader may be added later.
    repeats : float
        Share of the cases, the same for all readers, that come twice: for agreement of a reader with themselves.
    seed : int

    Returns
    -------
    DataFrame
        reader, case (`case_01` and so on), slide, run, presentation (1 or 2); by reader and case.

    Raises
    ------
    SheetError
        If there are no cases.
    """
    if not cases:
        raise SheetError(
            "there is no outline to score",
            where="study_settings.scores",
            found="no usable annotated slide in this split",
            mend="Choose another `split`, or see slides.tsv in the results for what was left out.",
        )
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
    """Add the column picture: a mark that changes with the outline, and that does not give repeated cases away.

    Parameters
    ----------
    dealt : DataFrame
        From `deal_cases`.
    digests : mapping of (run, slide) to the digest of its mask
    """

    def mark(reader: str, case: str, slide: str, run: str) -> str:
        text = "/".join((reader, case, slide, digests[run, slide]))
        # The letter keeps spreadsheets from reading 12345e67 as a number.
        return "p" + hashlib.sha256(text.encode()).hexdigest()[:7]

    columns = [dealt[name].tolist() for name in ("reader", "case", "slide", "run")]
    return dealt.assign(picture=[mark(*row) for row in zip(*columns, strict=True)])


def write_reader(
    sheet: str | os.PathLike[str],
    cases: str | os.PathLike[str],
    instructions: str | os.PathLike[str],
    key: pd.DataFrame,
    pictures: Mapping[tuple[str, str], str],
) -> None:
    """Write what one reader gets: the sheet, the numbered pictures, and the page that explains them.

    Parameters
    ----------
    sheet, cases, instructions : path
        The sheet (TSV), the folder of pictures and the page (HTML).
    key : DataFrame
        This reader's rows of the key.
    pictures : mapping of (run, slide) to JPEG

    Raises
    ------
    SheetError
        If the sheet that is there has been filled in: it is not replaced.
    """
    _keep_filled(Path(sheet))
    folder = Path(cases)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for run, slide, case in zip(key["run"], key["slide"], key["case"], strict=True):
        shutil.copyfile(pictures[run, slide], folder / f"{case}.jpg")
    page = templates(Path(__file__).parent).get_template("scoring.html")
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
    rows = []
    last = 0
    for cells in reader:
        # A comment may run over several lines; what is named is the first.
        first, last = last + 1, reader.line_num
        if any(cell.strip() for cell in cells):
            rows.append((first, [cell.strip() for cell in cells]))
    return rows


def _least_gap(slides: Sequence[str]) -> int:
    """Fewest steps between two pictures of one slide; as many as there are pictures where none comes twice."""
    last: dict[str, int] = {}
    least = len(slides)
    for position, slide in enumerate(slides):
        least = min(least, position - last.get(slide, -len(slides)))
        last[slide] = position
    return least


def _keep_filled(sheet: Path) -> None:
    if not sheet.is_file():
        return
    header, *rows = [cells for _, cells in table_rows(sheet.read_bytes())] or [[]]
    column = header.index("score") if "score" in header else len(header)
    filled = [cells for cells in rows if any(cells[column : column + 1])]
    if filled:
        raise SheetError(
            "the sheet has been filled in where it was made, and new ones are to be made there",
            where=os.fspath(sheet),
            found=f"{len(filled)} scores",
            mend="Move it to another folder and name it under study_settings.scores.filled.",
        )
