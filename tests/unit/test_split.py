"""Splits by chance: the paper's numbers, whole patients, forced slides, and a sheet that stays as it was otherwise."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from drunet.cohort import SheetRow, read_sheets
from drunet.errors import SheetError
from drunet_commands.cli import main
from drunet_commands.split import PUBLISHED, split_patients


def rows(*slides_of: int, annotated: bool = True) -> list[SheetRow]:
    """Rows of patients with so many slides each."""
    return [
        SheetRow(
            f"s{p}_{k}", f"p{p}", f"s{p}_{k}.tif", "", "a.geojson" if annotated else "", "wta" if annotated else ""
        )
        for p, count in enumerate(slides_of)
        for k in range(count)
    ]


def test_the_papers_slides_are_split_into_the_papers_numbers_with_the_forced_ones_in_the_test() -> None:
    """Oskouei et al. 2025: 97 slides, 51, 26 and 20, those with holes in the test."""
    slides = rows(*[1] * 97)
    holes = ["s3_0", "s50_0", "s96_0"]
    drawn = split_patients(slides, PUBLISHED, test=holes, seed=1)
    assert Counter(drawn.values()) == {"train": 51, "val": 26, "test": 20}
    assert {drawn[slide] for slide in holes} == {"test"}
    assert drawn == split_patients(slides[::-1], PUBLISHED, test=holes, seed=1), "whatever the order of the rows"
    others = [split_patients(slides, PUBLISHED, test=holes, seed=seed) for seed in range(2, 40)]
    assert drawn not in others
    # By chance: each of the others is in the test about as often as 17 of 94.
    times = Counter(slide for other in others for slide, split in other.items() if split == "test")
    assert max(times[slide] for slide in drawn if slide not in holes) < 20


def test_patients_stay_whole_and_the_proportions_hold_where_there_are_more_slides() -> None:
    slides = rows(*[5, 1, 2, 3] * 40)
    drawn = split_patients(slides, PUBLISHED, seed=4)
    patients = {row.patient_id: {drawn[r.slide_id] for r in slides if r.patient_id == row.patient_id} for row in slides}
    assert all(len(found) == 1 for found in patients.values())
    counts = Counter(drawn.values())
    for split, count in PUBLISHED.items():
        assert abs(counts[split] - len(slides) * count / 97) < 2
    # One forced slide takes its patient along.
    forced = split_patients(slides, PUBLISHED, test=["s0_0"], seed=4)
    assert {forced[f"s0_{k}"] for k in range(5)} == {"test"}


def test_slides_without_annotation_are_in_no_split() -> None:
    assert split_patients(rows(2, annotated=False), PUBLISHED, seed=0) == {}
    with pytest.raises(SheetError, match=r"--test: no such annotated slide \(found: s0_O\)\. Did you mean"):
        split_patients(rows(2), PUBLISHED, test=["s0_O"], seed=0)


def test_a_sheet_keeps_all_but_its_splits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    header = "slide_id\tpatient_id\tpath\tsplit\tannotation\tannotation_kind\tmpp\tscanner"
    lines = ["# our slides", header]
    # Both slides of a patient in different splits: what is drawn anew may be wrong.
    lines += [f"s{i}\tp{i // 2}\ts{i}.tif\t{['train', 'test'][i % 2]}\ts{i}.geojson\twta\t0.5\tA" for i in range(8)]
    lines += ["", "bare\tq\tbare.tif\ttrain\t\t\t\tB"]
    (tmp_path / "old.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    main(["split", str(tmp_path / "old.tsv"), str(tmp_path / "new.tsv"), "--counts", "4", "2", "2", "--test", "s5"])
    new = (tmp_path / "new.tsv").read_text(encoding="utf-8")
    written = read_sheets(str(tmp_path / "new.tsv"))
    assert Counter(row.split for row in written.values()) == {"train": 4, "val": 2, "test": 2, "": 1}
    assert written["s4"].split == written["s5"].split == "test" and written["bare"].split == ""
    without = [[c for k, c in enumerate(line.split("\t")) if k != 3] for line in new.split("\n")]
    assert without == [[c for k, c in enumerate(line.split("\t")) if k != 3] for line in [*lines, ""]]
    lacks_path = "slide_id\tpatient_id\tsplit\ns\tp\t\n"
    for text, said in (
        (lacks_path, "the sheet lacks the columns"),
        ("slide_id\tpath\n", "not in list"),
        (None, "No such"),
    ):
        bad = tmp_path / f"{said[:5]}.tsv"
        if text:
            bad.write_text(text, encoding="utf-8")
        assert main(["split", str(bad), str(tmp_path / "never.tsv")]) == 1
        printed = capsys.readouterr().err
        assert said in printed and printed.count("\n") == 1
    assert not (tmp_path / "never.tsv").exists()
