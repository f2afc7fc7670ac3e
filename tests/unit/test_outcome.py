"""An outcome stands where a result would be, says why there is none, and is taken for a result by nobody."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drunet.annotation.geojson import read_geojson
from drunet.annotation.parsed import read_parsed, read_provenance
from drunet.annotation.region import Source
from drunet.errors import SLIDE_STATUSES, AnnotationError, FailedSlideError, ModelError, SlideError
from drunet.export.mask_image import read_mask_image
from drunet.files import read_json, write_json
from drunet.heatmap import read_field, read_heatmap
from drunet.outcome import describe, late_failure, outcome_of, require_result, stop_for, without_failed, write_outcome
from drunet.tiles import read_mask, read_table, write_mask

FAILURE = FailedSlideError(
    "too many tiles cannot be read",
    stage="classify_tiles",
    status="unreadable",
    where="s1",
    found="3 of 9",
    mend="Copy it.",
)


def fail(folder: Path, *names: str) -> list[str]:
    write_outcome([folder / name for name in names], FAILURE)
    return [str(folder / name) for name in names]


def test_an_outcome_comes_back_as_it_was_written(tmp_path: Path) -> None:
    (path,) = fail(tmp_path, "a.parquet")
    back = outcome_of(path)
    assert back is not None and (back.stage, back.status) == ("classify_tiles", "unreadable")
    assert str(back) == str(FAILURE) == "s1: too many tiles cannot be read (found: 3 of 9). Copy it."
    assert describe(back) == "s1: unreadable at classify_tiles: too many tiles cannot be read (found: 3 of 9). Copy it."


@pytest.mark.parametrize(
    "read",
    [
        read_table,
        read_field,
        read_heatmap,
        read_mask,
        read_mask_image,
        read_json,
        read_provenance,
        lambda path: read_parsed(path, slide_id="s1", size=(1, 1)),
    ],
)
def test_every_reader_refuses_an_outcome_with_its_reason(tmp_path: Path, read: Any) -> None:
    (path,) = fail(tmp_path, "a.tif")
    with pytest.raises(FailedSlideError, match=r"s1: too many tiles cannot be read \(found: 3 of 9\)\. Copy it\."):
        read(path)


def test_an_outcome_is_no_annotation(tmp_path: Path) -> None:
    (path,) = fail(tmp_path, "segmentation.geojson")
    with pytest.raises(AnnotationError, match="not a GeoJSON"):
        read_geojson(Path(path).read_bytes(), Source("s1", "a.geojson", 10, 10, {}))


def test_a_result_is_no_outcome(tmp_path: Path) -> None:
    write_json(tmp_path / "m.json", {"stages": [], "tiles": {"drunet_outcome": 1}})
    write_mask(tmp_path / "m.png", np.ones((3, 3), bool))
    (tmp_path / "empty").touch()
    for name in ("m.json", "m.png", "empty"):
        assert outcome_of(tmp_path / name) is None
        require_result(tmp_path / name)
    require_result(tmp_path / "missing")


def test_a_folder_loses_its_half_result(tmp_path: Path) -> None:
    (tmp_path / "tiles").mkdir()
    (tmp_path / "tiles/half.png").touch()
    fail(tmp_path, "tiles")
    assert [p.name for p in (tmp_path / "tiles").iterdir()] == ["outcome.json"]


def test_a_job_that_meets_a_broken_slide_ends_well_with_an_outcome_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [tmp_path / "a.tif", tmp_path / "b.jpg"]
    with late_failure(paths, "s2", "draw", "skip"):
        raise SlideError("gone", status="missing", where="s2", found=7, mend="Fetch it.")
    for path in paths:
        failure = outcome_of(path)
        assert failure is not None and (failure.where, failure.stage, failure.found) == ("s2", "draw", "7")
    assert "left out: s2: missing at draw: gone (found: 7). Fetch it." in capsys.readouterr().err


def test_a_job_passes_an_earlier_outcome_on_in_silence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (path,) = fail(tmp_path, "a.parquet")
    with late_failure([tmp_path / "b.tif"], "s1", "refine", "skip"):
        read_table(path)
    assert (tmp_path / "b.tif").read_bytes() == Path(path).read_bytes()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("error", [ModelError("bad", where="m", mend=""), ValueError("defect")])
def test_what_is_no_fault_of_the_slide_stops_the_job(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(type(error)), late_failure([tmp_path / "a"], "s1", "refine", "skip"):
        raise error
    assert not (tmp_path / "a").exists()


def test_fail_stops_the_job_at_a_new_and_at_a_passed_on_failure(tmp_path: Path) -> None:
    for error in (SlideError("gone", status="missing", where="s2", mend=""), FAILURE):
        with pytest.raises(SlideError), late_failure([tmp_path / "a"], "s1", "refine", "fail"):
            raise error
    assert not (tmp_path / "a").exists()


def test_slides_with_an_outcome_anywhere_are_left_out_of_every_round(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a1", "b1", "c1", "a2", "b2", "c2", "at", "bt", "ct"):
        (tmp_path / name).write_text("result")
    fail(tmp_path, "b2")
    two_runs, one = ([str(tmp_path / n) for n in names.split()] for names in ("a1 b1 c1 a2 b2 c2", "at bt ct"))
    slides, (runs, tables, nothing) = without_failed(["a", "b", "c"], two_runs, one, [])
    assert slides == ["a", "c"] and nothing == []
    assert [Path(p).name for p in runs] == ["a1", "c1", "a2", "c2"] and [Path(p).name for p in tables] == ["at", "ct"]
    assert capsys.readouterr().err.count("left out: s1") == 1
    assert without_failed([], []) == ([], [[]])
    with pytest.raises(ValueError, match="rounds of 3 slides"):
        without_failed(["a", "b", "c"], one[:2])
    with pytest.raises(FailedSlideError):
        without_failed(["b"], [str(tmp_path / "b2")])


def test_a_cohort_stops_for_slides_that_failed_and_for_nothing_else() -> None:
    stop_for({})
    with pytest.raises(Exception, match=r"found: s1 \(unreadable\), s2 \(missing\)"):
        stop_for({"s1": "unreadable", "s2": "missing"})


def test_the_page_on_messages_explains_every_status() -> None:
    rows = (Path(__file__).parents[2] / "docs/messages.md").read_text(encoding="utf-8").splitlines()
    explained = [row.split("`")[1] for row in rows if re.match(r"\| `[a-z_]+` \| ", row)]
    assert sorted(explained) == sorted(SLIDE_STATUSES)
