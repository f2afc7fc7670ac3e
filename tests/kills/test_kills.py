"""`make kills` notices every difference, leftover and lock, and no difference of seconds."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tifffile

from kills.comparison import differences, left_over
from kills.moments import HOW, MOMENTS, WITHOUT


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Results of two runs that differ in seconds alone."""
    for name, seconds in (("old", 0.25), ("new", 12.5)):
        results = tmp_path / name / "results"
        for folder in ("models/m", "heatmaps/m", "report", "runs/r/s", "logs", "benchmarks"):
            (results / folder).mkdir(parents=True)
        history = pd.DataFrame({"epoch": [1, 2], "loss": [0.5, 0.25], "seconds": [seconds, seconds]})
        history.to_csv(results / "models/m/history.tsv", sep="\t", index=False)
        card = f"Best of 2 epochs by loss, in {seconds} minutes:\n| loss | 0.25 |\n| seconds | {seconds} |\n"
        (results / "models/m/card.md").write_text(card)
        facts = json.dumps({"slide": "s", "seconds": seconds})
        table = pa.table({"p_tumour": [0.25, 0.75]}).replace_schema_metadata({"drunet": facts})
        pq.write_table(table, results / "heatmaps/m/s.parquet")
        field = np.array([[0.25, np.nan]], np.float32)
        tifffile.imwrite(results / "heatmaps/m/s.tif", field, description=facts, metadata=None)
        page = f'<p>Dice 0.9</p><img src="data:{seconds}" alt="Time per stage">'
        (results / "report/report.html").write_text(page)
        (results / "runs/r/s/segmentation.tif").write_bytes(b"mask")
        (results / "logs/a.log").write_text(f"{seconds}")
        (results / "benchmarks/a.tsv").write_text(f"{seconds}")
    return tmp_path / "old/results", tmp_path / "new/results"


def test_seconds_are_no_difference(pair: tuple[Path, Path]) -> None:
    assert list(differences(*pair)) == []
    assert list(left_over(pair[1].parent)) == []


def other(path: str, change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    return lambda results: (results / path).write_bytes(change((results / path).read_bytes()))


def rewritten_table(results: Path) -> None:
    path = results / "heatmaps/m/s.parquet"
    metadata = pq.read_schema(path).metadata
    pq.write_table(pa.table({"p_tumour": [0.25, 0.750001]}).replace_schema_metadata(metadata), path)


def rewritten_field(results: Path) -> None:
    path = results / "heatmaps/m/s.tif"
    with tifffile.TiffFile(path) as tiff:
        facts = tiff.pages.first.description
    tifffile.imwrite(path, np.array([[0.25, 0]], np.float32), description=facts, metadata=None)


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a byte of a mask": (other("runs/r/s/segmentation.tif", lambda b: b[:-1] + b"x"), "segmentation.tif: other bytes"),
    "an empty file": (other("runs/r/s/segmentation.tif", lambda _: b""), "segmentation.tif: empty"),
    "a missing file": (lambda r: (r / "report/report.html").unlink(), "report.html: missing"),
    "a file too many": (lambda r: (r / "models/m/.state").mkdir() or (r / "models/m/.state/x").touch(), "left over"),
    "a loss": (other("models/m/history.tsv", lambda b: b.replace(b"0.25", b"0.26", 1)), "history.tsv: other bytes"),
    "a figure of the card": (other("models/m/card.md", lambda b: b.replace(b"0.25 |", b"0.3 |", 1)), "card.md"),
    "a figure of the page": (other("report/report.html", lambda b: b.replace(b"0.9", b"0.8")), "report.html"),
    "a probability": (rewritten_table, "s.parquet: other bytes"),
    "a cell of the heatmap": (rewritten_field, "s.tif: other bytes"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_every_other_difference_is_one(pair: tuple[Path, Path], name: str) -> None:
    change, words = CHANGES[name]
    change(pair[1])
    found = list(differences(*pair))
    assert len(found) == 1 and words in found[0], found


@pytest.mark.parametrize(
    "path", ["results/runs/.mask.77.part.tif", "results/models/.state.lock", ".snakemake/locks/0.input.lock",
             "results/models/.state/.epoch1.5.part.weights.h5"]
)  # fmt: skip
def test_what_a_killed_run_left_is_told(pair: tuple[Path, Path], path: str) -> None:
    target = pair[1].parent / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("x")
    assert list(left_over(pair[1].parent)) == [f"{path}: left over"]
    shutil.rmtree(target.parent)


def test_the_moments_reach_driver_and_jobs_of_every_stage() -> None:
    assert len(MOMENTS) == len({str(m) for m in MOMENTS}) == 25
    assert {m.how for m in MOMENTS} == set(HOW)
    assert {m.rule for m in MOMENTS} == set(WITHOUT)
    killed = {(m.how, m.rule) for m in MOMENTS}
    for how in ("group", "driver"):
        assert {
            (how, "train_classifier"),
            (how, "train_refiner"),
            (how, "export_onnx"),
            (how, "classify_tiles"),
        } <= killed
