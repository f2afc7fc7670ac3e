"""Pathologists' scores: sheets out, blinded; filled sheets back, checked and summed up."""

from __future__ import annotations

import pandas as pd
import pytest
from tiny_cohort import Project

TARGETS = ("scoring_sheet", "study_scores")


@pytest.mark.timeout(600)
@pytest.mark.slow
def test_sheets_go_out_and_come_back(own_copy: Project) -> None:
    settings = {"scored_runs": ["by_colour"], "readers": ["anna", "bo"], "picture_px": 300}
    own_copy.config["study_settings"] = {"scores": settings}
    done = own_copy.write().run(*TARGETS)
    assert done.status == 0, done.output
    # Only the tumour slides are annotated; nothing of the main chain is made again.
    assert done.rules() == {"draw_case": 2, "make_scoring_sheets": 1, "read_scores": 1, **dict.fromkeys(TARGETS, 1)}
    folder = own_copy.results / "studies/scores"
    assert "No sheet has come back yet" in (folder / "report.html").read_text(encoding="utf-8")
    given = sorted(p.relative_to(folder / "anna").as_posix() for p in (folder / "anna").rglob("[!.]*.*"))
    assert given == ["cases/case_01.jpg", "cases/case_02.jpg", "instructions.html", "sheet.tsv"]

    settings["filled"] = {}
    for reader, scores in (("anna", ["5", "0"]), ("bo", ["4", "7"])):
        sheet = pd.read_csv(folder / reader / "sheet.tsv", sep="\t", dtype=str, encoding="utf-8-sig")
        sheet.assign(score=scores).to_csv(own_copy.folder / f"{reader}.csv", index=False)
        settings["filled"][reader] = f"{reader}.csv"
    wrong = own_copy.write().run("study_scores")
    assert wrong.status != 0
    told = "ERROR  bo.csv, line 3: the score is no whole number from 0 to 5 (found: case_02: '7')."
    assert wrong.output.count(told) == 1
    assert "Traceback" not in wrong.output

    mended = (own_copy.folder / "bo.csv").read_text(encoding="utf-8").replace(",7,", ",3,")
    (own_copy.folder / "bo.csv").write_text(mended, encoding="utf-8")
    done = own_copy.run("study_scores")
    assert done.status == 0, done.output
    assert done.rules() == {"read_scores": 1, "study_scores": 1}
    metrics = pd.read_csv(folder / "metrics.tsv", sep="\t").set_index(["protocol", "repeat", "metric"])["value"]
    assert metrics["scores", "all readers", "mean"] == 4
    assert metrics["scores", "anna", "score_0"] == 1
    scores = pd.read_csv(folder / "scores.tsv", sep="\t")
    assert (scores.loc[scores["score"] > 0, "dsc"] > 0.7).all()
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "3.95" in page and page.count("data:image/png") == 2
