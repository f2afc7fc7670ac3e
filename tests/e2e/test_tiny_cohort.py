"""The whole workflow on a tiny cohort: every file of the contract, the numbers, the report, and nobody's name."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import openslide
import pandas as pd
import pytest
import shapely
import tifffile
from PIL import Image
from tiny_cohort import HEIGHT, LABEL_COLOUR, OPERATOR, PATIENTS, WIDTH, Finished, Project

from drunet.inspection import COLUMNS
from drunet.outcome import outcome_of
from drunet.quality import MEASURES

USABLE = list(PATIENTS)
ANNOTATED = ["tumour_a", "tumour_b"]
BAD = {"cut": "unreadable", "unscaled": "resolution_missing", "white": "no_tissue", "dark": "not_brightfield"}
TILE_COLUMNS = {
    "column": "int32",
    "row": "int32",
    "x": "int32",
    "y": "int32",
    "tissue_fraction": "float32",
    "tumour_fraction": "float32",
    "label": "int8",
}
INSPECTED = {"status.json", "tissue.png", "tissue.geojson", "annotation.parquet"}
FETCHING = ("src", "href", "srcset", "data", "poster", "action", "background", "xlink:href")


def test_every_file_of_the_contract_is_there_and_nothing_else(finished: Project) -> None:
    # The last: Snakemake's own mark in a folder that stays empty for so few slides.
    expected = {
        "slides.tsv",
        "report/report.html",
        "progress.html",
        "progress.json",
        "report/pictures/.snakemake_timestamp",
    }
    for slide in [*USABLE, *BAD]:
        expected |= {f"slides/{slide}/{name}" for name in INSPECTED}
    for slide in USABLE:
        expected.add(f"slides/{slide}/tiles.parquet")
        expected |= {f"heatmaps/tone/{slide}.{kind}" for kind in ("parquet", "tif")}
        made = {"refined.tif", "segmentation.tif", "segmentation.png", "segmentation.geojson"}
        made |= {"overlay.jpg", "heatmap.jpg"}
        expected |= {f"runs/by_colour/{slide}/{name}" for name in made}
    expected |= {f"runs/by_colour/{slide}/metrics.json" for slide in ANNOTATED}
    expected |= {f"runs/by_colour/{name}.tsv" for name in ("metrics", "tile_metrics", "summary", "slides")}
    expected |= {f"runs/by_colour/{name}.tsv" for name in ("tumour", "tumour_per_patient")}
    expected |= {
        f"models/{model}/{name}" for model in ("tone", "through") for name in ("model.onnx", "export.json", "card.md")
    }
    expected.add("models/tone/tiles.png")
    files = {p.relative_to(finished.results).as_posix() for p in finished.results.rglob("*") if p.is_file()}
    assert {f for f in files if not f.startswith(("logs/", "benchmarks/"))} == expected


def test_every_job_left_a_log_and_a_benchmark(finished: Project) -> None:
    logs = {p.relative_to(finished.results / "logs").with_suffix("") for p in finished.results.rglob("logs/**/*.log")}
    times = finished.results.rglob("benchmarks/**/*.tsv")
    assert logs == {p.relative_to(finished.results / "benchmarks").with_suffix("") for p in times}
    # 7 inspected, 1 list, 6 rules on 3 slides, 2 measured, 2 models, 1 of their tiles, 2 gatherings, 1 report
    assert len(logs) == 7 + 1 + 6 * 3 + 2 + 2 + 1 + 2 + 1


def test_slides_are_listed_with_what_is_known_of_them(finished: Project) -> None:
    table = read_table(finished.results / "slides.tsv")
    assert tuple(table.columns) == COLUMNS
    assert table["slide_id"].tolist() == [*USABLE, *BAD]
    first = table.set_index("slide_id").loc["tumour_a"]
    assert first[["status", "width", "height", "vendor"]].tolist() == ["ok", str(WIDTH), str(HEIGHT), "aperio"]
    assert first["objective_power"] == "10"
    assert float(first["mpp"]) == 1.0


def test_bad_slides_are_listed_with_reason_and_mend_and_left_out(finished_run: tuple[Project, Finished]) -> None:
    project, done = finished_run
    table = read_table(project.results / "slides.tsv").set_index("slide_id")
    assert (table.loc[USABLE, ["status", "reason", "mend"]] == ["ok", "", ""]).all(axis=None)
    for slide, status in BAD.items():
        assert table.loc[slide, "status"] == status
        assert len(table.loc[slide, "reason"]) > 10
        assert table.loc[slide, "mend"].endswith(".")
        assert f"left out: {slide}: {status}: " in done.output
        folder = project.results / "slides" / slide
        assert {p.name for p in folder.iterdir()} == INSPECTED
        for name in INSPECTED - {"status.json"}:
            failure = outcome_of(folder / name)
            assert failure is not None and (failure.status, failure.stage) == (status, "inspect_slide")
        assert not list(project.results.glob(f"runs/*/{slide}*"))


@pytest.mark.parametrize("slide", USABLE)
def test_tiles_and_probabilities_fit_together(finished: Project, slide: str) -> None:
    tiles = pd.read_parquet(finished.results / f"slides/{slide}/tiles.parquet")
    classified = pd.read_parquet(finished.results / f"heatmaps/tone/{slide}.parquet")
    assert {name: str(kind) for name, kind in tiles.dtypes.items()} == TILE_COLUMNS
    assert classified.columns.tolist() == ["column", "row", "p_tumour", *MEASURES, "fault"]
    pd.testing.assert_frame_equal(tiles[["column", "row"]], classified[["column", "row"]])
    assert classified["p_tumour"].between(0, 1).all()
    # A cell of 32 px at 1 µm/px, the slide's own resolution; the 64 px round its centre are what is classified.
    assert (tiles["x"] == tiles["column"] * 32 - 16).all()
    assert (tiles["y"] == tiles["row"] * 32 - 16).all()
    assert tiles["tumour_fraction"].isna().all() == (slide not in ANNOTATED)
    heatmap = tifffile.imread(finished.results / f"heatmaps/tone/{slide}.tif")
    assert heatmap.dtype == np.float32
    assert heatmap.shape == (-(-HEIGHT // 32), -(-WIDTH // 32))
    np.testing.assert_array_equal(heatmap[classified["row"], classified["column"]], classified["p_tumour"])
    assert np.isfinite(heatmap).sum() == len(classified) < heatmap.size


def test_the_outline_is_where_the_tumour_was_painted(finished: Project) -> None:
    for slide in ANNOTATED:
        drawn = shapely.from_geojson((finished.folder / "slides" / f"{PATIENTS[slide]}.geojson").read_text())
        found = shapely.from_geojson(
            (finished.results / f"runs/by_colour/{slide}/segmentation.geojson").read_text(encoding="utf-8")
        )
        truth, answer = shapely.union_all(drawn), shapely.union_all(found)
        dice = 2 * truth.intersection(answer).area / (truth.area + answer.area)
        assert dice > 0.9
        assert truth.centroid.distance(answer.centroid) < 8
        stages = read_table(finished.results / "runs/by_colour/metrics.tsv").set_index(["slide", "stage"])
        assert float(stages.loc[(slide, "segmentation"), "dsc"]) == pytest.approx(dice, abs=0.02)


def test_the_mask_opens_as_a_slide_at_the_resolution_asked_for(finished: Project) -> None:
    for slide in USABLE:
        path = finished.results / f"runs/by_colour/{slide}/segmentation.tif"
        with tifffile.TiffFile(path) as tiff:
            mask = tiff.pages.first.asarray()
        assert mask.shape == (HEIGHT // 2, WIDTH // 2)
        assert set(np.unique(mask)) == {0, 255}
        with openslide.OpenSlide(path) as opened:
            assert float(opened.properties["openslide.mpp-x"]) == pytest.approx(2.0)


def test_metrics_have_a_row_per_slide_and_stage(finished: Project) -> None:
    run = finished.results / "runs/by_colour"
    metrics = read_table(run / "metrics.tsv")
    columns = ["slide", "split", "stage", "dsc", "iou", "hd_um", "hd95_um", "precision", "recall"]
    assert metrics.columns.tolist() == columns
    stages = ("heatmap", "refined", "segmentation")
    assert list(zip(metrics["slide"], metrics["stage"], strict=True)) == [(s, t) for s in ANNOTATED for t in stages]
    assert set(metrics["split"]) == {"test"}
    numbers = metrics[columns[3:]].astype(float)
    np.testing.assert_allclose(numbers["iou"], numbers["dsc"] / (2 - numbers["dsc"]), rtol=1e-4)
    tiles = read_table(run / "tile_metrics.tsv")
    assert tiles.columns[:7].tolist() == ["slide", "split", "tiles", "precision", "recall", "f1", "auc"]
    assert tiles["slide"].tolist() == ANNOTATED


def test_the_report_opens_offline_and_names_every_slide(finished: Project) -> None:
    page = (finished.results / "report/report.html").read_text(encoding="utf-8")
    resources = Resources()
    resources.feed(page)
    assert resources.found
    assert [r for r in resources.found if not r.startswith(("data:", "#"))] == []
    assert re.findall(r"url\((?!['\"]?(?:data:|#))[^)]*\)|@import", page) == []
    assert "<script src" not in page
    for slide in [*USABLE, *BAD]:
        assert slide in resources.text
    for status in BAD.values():
        assert status.replace("_", " ") in resources.text


def test_no_patient_and_no_file_name_is_in_any_output_or_log(finished: Project) -> None:
    names = [row["patient_id"] for row in finished.rows] + [Path(row["path"]).name for row in finished.rows]
    forbidden = [name.encode() for name in [*names, OPERATOR, str(finished.folder), str(finished.repository)]]
    files = [p for p in finished.results.rglob("*") if p.is_file()]
    # The slide did carry these; else the test would prove nothing.
    assert OPERATOR.encode() in (finished.folder / "slides" / f"{PATIENTS['tumour_a']}.tif").read_bytes()
    told = [(p.relative_to(finished.results).as_posix(), n) for p in files for n in forbidden if n in p.read_bytes()]
    assert told == []
    assert [p for p in files if any(n.decode() in p.name for n in forbidden)] == []


def test_label_and_macro_images_reach_no_picture(finished: Project) -> None:
    with openslide.OpenSlide(finished.folder / "slides" / f"{PATIENTS['tumour_a']}.tif") as slide:
        assert {"label", "macro"} <= set(slide.associated_images)
    for path in (finished.results / "runs/by_colour/tumour_a").glob("*.jpg"):
        with Image.open(path) as image:
            distance = np.abs(np.asarray(image.convert("RGB")).astype(int) - LABEL_COLOUR).max(axis=2)
        assert (distance < 40).mean() < 0.001, path.name


def test_models_are_pinned_by_their_digest(finished: Project) -> None:
    import hashlib

    for model in ("tone", "through"):
        folder = finished.results / "models" / model
        told = json.loads((folder / "export.json").read_text(encoding="utf-8"))
        assert told["sha256"] == hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
        assert (folder / "model.onnx").read_bytes() == (finished.folder / f"{model}.onnx").read_bytes()


def read_table(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)


class Resources(HTMLParser):
    """What a page would fetch, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name in FETCHING and value]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_last_lines_name_the_slides_that_are_left_out(finished_run: tuple[Project, Finished]) -> None:
    lines = finished_run[1].output.splitlines()
    first = lines.index("3 of 7 slides are used. Left out:")
    told = {line.split(": ")[0].strip(): line.split(": ")[1] for line in lines[first + 1 : first + 5]}
    assert told == BAD
    assert len(lines) - first <= 8
