"""The viewer shows what the files hold, lets nobody else in, and saves what the workflow takes."""

from __future__ import annotations

import argparse
import csv
import errno
import gzip
import hashlib
import json
import re
import shlex
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import openslide
import pytest
import shapely
import tifffile
from numpy.typing import NDArray
from scanned_slide import write_scanned
from starlette.testclient import TestClient

from drunet.annotation import read_annotation
from drunet.annotation.provenance import provenance_of
from drunet.cohort import SheetRow
from drunet.errors import FailedSlideError
from drunet.heatmap import read_field, write_field
from drunet.outcome import write_outcome
from drunet.tiles import read_table, write_table
from drunet_commands import cli
from drunet_commands.viewer import command, pixels, server
from drunet_commands.viewer.opened import Opened, open_results
from drunet_commands.viewer.server import make_app

if TYPE_CHECKING:
    from tiny_cohort import Project

TOKEN = "the-key"  # noqa: S105 - of a server that lives for a test
RUN, SLIDE = "by_colour", "tumour_a"
ADDRESS = "http://127.0.0.1:8765"
ROOT = Path(__file__).parents[2]
VENDOR = Path(server.__file__).parent / "vendor"


def entered(opened: Opened) -> TestClient:
    """A browser that opened the address with the token."""
    client = TestClient(make_app(opened, TOKEN), base_url=ADDRESS)
    assert client.get("/", params={"token": TOKEN}).status_code == 200
    return client


@pytest.fixture(scope="module")
def viewer(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with entered(open_results(finished.folder, [], tmp_path_factory.mktemp("saves"))) as client:
        yield client


def tile(client: TestClient, slide: str, level: int, column: int, row: int) -> NDArray[np.uint8]:
    answer = client.get(f"/slides/{slide}/tiles/{level}/{column}_{row}.jpg")
    assert answer.status_code == 200, answer.text
    return cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


def area(polygons: list[Any]) -> float:
    return sum(shapely.Polygon(rings[0], rings[1:]).area for rings in polygons)


def lone(path: Path, folder: Path, mpp: float | None = None) -> Opened:
    """A cohort of one slide, without results."""
    row = SheetRow("one", "p", str(path), "", "", "", mpp)
    classes = {"tumour": ["tumor"], "non_tumour": ["stroma"], "ignore": []}
    return Opened(folder, folder / "results", folder / "saves", {"one": row}, {}, "qupath", classes, folder, [])


def test_tiles_are_what_openslide_reads(viewer: TestClient, finished: Project) -> None:
    file = finished.folder / "slides" / finished.row(SLIDE)["path"]
    top = viewer.get(f"/slides/{SLIDE}").json()["top"]
    with openslide.OpenSlide(file) as slide:
        for column, row in ((0, 0), (1, 0), (1, 1), (2, 1)):
            got = tile(viewer, SLIDE, top, column, row)
            place = (column * 256, row * 256)
            size = tuple(min(256, whole - at) for whole, at in zip(slide.dimensions, place, strict=True))
            assert got.shape[1::-1] == size
            expected = np.asarray(slide.read_region(place, 0, size))[..., :3]
            assert np.abs(got.astype(int) - expected).mean() < 4
            # A neighbour's pixels would be further off by far.
            assert np.abs(got.astype(int) - expected[::-1]).mean() > 8


def test_a_slide_of_one_level_is_shown_small_without_reading_it_whole_for_every_tile(
    colours: Callable[..., NDArray[np.uint8]],
    lossless_slide: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pixels, "_DIRECT_PX", 520**2)
    image = cv2.resize(colours(130, 210), (2100, 1300), interpolation=cv2.INTER_LINEAR).astype(np.uint8)
    client = entered(lone(lossless_slide(image, 0.5), tmp_path))
    top = client.get("/slides/one").json()["top"]
    reads = []
    whole = pixels.Slide.read_whole
    monkeypatch.setattr(pixels.Slide, "read_whole", lambda self, shape: reads.append(shape) or whole(self, shape))
    for level, places in ((top - 2, ((0, 0), (2, 1), (1, 0))), (8, ((0, 0),)), (top - 3, ((1, 0),))):
        scale = 2 ** (top - level)
        small = cv2.resize(image, (-(-2100 // scale), -(-1300 // scale)), interpolation=cv2.INTER_AREA)
        for column, row in places:
            expected = small[row * 256 : row * 256 + 256, column * 256 : column * 256 + 256]
            got = tile(client, "one", level, column, row)
            assert got.shape == expected.shape
            # JPEG's own error; a picture moved by a pixel is three times as far off.
            assert np.abs(got.astype(int) - expected).mean() < 6
    assert len(reads) == 1


def test_a_gap_between_two_levels_and_a_large_smallest_level_are_both_bridged(
    colours: Callable[..., NDArray[np.uint8]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pixels, "_DIRECT_PX", 260**2)
    image = cv2.resize(colours(150, 240), (4800, 3000), interpolation=cv2.INTER_LINEAR).astype(np.uint8)
    with tifffile.TiffWriter(tmp_path / "gap.tif") as tiff:
        for scale in (1, 8):
            page = cv2.resize(image, (4800 // scale, 3000 // scale), interpolation=cv2.INTER_AREA)
            tiff.write(page, tile=(256, 256), photometric="rgb", compression="jpeg", resolution=(20_000, 20_000),
                       subfiletype=int(scale > 1), resolutionunit="CENTIMETER", metadata=None)  # fmt: skip
    client = entered(lone(tmp_path / "gap.tif", tmp_path))
    top = client.get("/slides/one").json()["top"]
    for down in (5, 2, 3, 4, 1, 6, 2):
        small = cv2.resize(image, (-(-4800 // 2**down), -(-3000 // 2**down)), interpolation=cv2.INTER_AREA)
        got = tile(client, "one", top - down, 0, 0)
        assert got.shape == small[:256, :256].shape
        assert np.abs(got.astype(int) - small[:256, :256]).mean() < 8, down


def test_pixels_and_outlines_count_from_the_corner_of_what_was_scanned(
    colours: Callable[..., NDArray[np.uint8]], tmp_path: Path
) -> None:
    image = colours(320, 448)
    opened = lone(write_scanned(tmp_path / "part.scn", image, (1024, 960), (160, 224)), tmp_path)
    client = entered(opened)
    facts = client.get("/slides/one").json()
    assert (facts["width"], facts["height"]) == (448, 320)
    assert np.abs(tile(client, "one", facts["top"], 1, 0).astype(int) - image[:256, 256:448]).mean() < 3
    square = [[10, 10], [110, 10], [110, 60], [10, 60], [10, 10]]
    asked = {"kind": "wta", "regions": [{"polygons": [[square]], "name": "Tumor"}]}
    assert client.post("/slides/one/correction", json=asked).status_code == 200
    frame = {"width": 1024, "height": 960, "classes": opened.classes, "origin": (160, 224)}
    read = read_annotation(opened.saved("one"), kind="wta", where="one", **frame)
    assert read.tumour.bounds == (170, 234, 270, 284)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/slides/nobody", 404),
        ("/slides/nobody/tiles/8/0_0.jpg", 404),
        (f"/slides/{SLIDE}?run=nothing", 404),
        (f"/slides/{SLIDE}?run=../slides", 404),
        (f"/slides/{SLIDE}/tiles/99/0_0.jpg", 404),
        (f"/slides/{SLIDE}/tiles/99999999999999999999999999/0_0.jpg", 404),
        (f"/slides/{SLIDE}/tiles/8/7_7.jpg", 404),
        (f"/slides/{SLIDE}/tiles/-1/0_0.jpg", 404),
        (f"/slides/{SLIDE}/tiles/8/0_-1.jpg", 404),
        (f"/slides/{SLIDE}/label", 404),
        (f"/slides/{SLIDE}/macro.jpg", 404),
        ("/slides/..%2f..%2fetc%2fpasswd", 404),
        ("/slides/%2e%2e/%2e%2e/config.yaml", 404),
        ("/static/..%2fserver.py", 404),
        ("/static/%2e%2e/%2e%2e/cli.py", 404),
        ("/vendor//etc/passwd", 404),
        (f"/slides/{SLIDE}/files/..%2fmetrics.tsv?run={RUN}", 404),
        (f"/slides/{SLIDE}/files/status.json?run={RUN}", 404),
        (f"/slides/{SLIDE}/files/segmentation.tif", 404),
        ("/slides/cut", 404),
    ],
)
def test_nothing_but_listed_slides_is_served(viewer: TestClient, finished: Project, path: str, status: int) -> None:
    answer = viewer.get(path)
    assert answer.status_code == status
    assert "Pat-" not in answer.text and str(finished.folder) not in answer.text and "root:" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/", "/cohort", f"/slides/{SLIDE}/tiles/8/0_0.jpg", "/static/viewer.js", "/nothing"])
def test_who_has_no_token_is_not_let_in(viewer: TestClient, path: str) -> None:
    stranger = TestClient(viewer.app, base_url=ADDRESS)
    assert stranger.get(path).status_code == 403
    assert stranger.get(path, params={"token": "ü"}).status_code == 403
    assert stranger.get(path, headers={"Cookie": f"drunet_view_8765={TOKEN[:-1]}"}).status_code == 403
    # Another viewer's cookie, of this machine but another port.
    assert stranger.get(path, headers={"Cookie": f"drunet_view_8766={TOKEN}"}).status_code == 403


def test_the_token_leaves_the_address_and_stays_with_the_browser(viewer: TestClient) -> None:
    answer = TestClient(viewer.app, base_url=ADDRESS).get("/", params={"token": TOKEN}, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8765", "127.0.0.1.evil.example", "", "192.168.1.7:8765"]
)
def test_who_comes_by_another_name_is_refused(viewer: TestClient, host: str) -> None:
    assert viewer.get("/cohort", headers={"Host": host}).status_code == 400


def test_the_list_says_what_became_of_each_slide(viewer: TestClient, finished: Project) -> None:
    # Files are called after patients there.
    for path in ("/cohort", f"/slides/{SLIDE}", f"/slides/{SLIDE}/correction?run={RUN}", "/slides/unscaled"):
        assert "Pat-" not in viewer.get(path).text
    cohort = viewer.get("/cohort").json()
    assert (cohort["runs"], cohort["remarks"]) == ([RUN], [])
    slides = {slide["id"]: slide for slide in cohort["slides"]}
    assert list(slides) == [row["slide_id"] for row in finished.rows]
    assert {s: slides[s]["status"] for s in ("tumour_a", "cut", "unscaled", "white", "dark")} == {
        "tumour_a": "ok", "cut": "unreadable", "unscaled": "resolution_missing", "white": "no_tissue",
        "dark": "not_brightfield",
    }  # fmt: skip
    assert "resolution" in slides["unscaled"]["reason"] and "mpp" in slides["unscaled"]["mend"]
    with (finished.results / f"runs/{RUN}/metrics.tsv").open(encoding="utf-8") as file:
        rows = [r for r in csv.DictReader(file, delimiter="\t") if r["stage"] == "segmentation"]
    for row in rows:
        assert slides[row["slide"]]["runs"][RUN]["dice"] == pytest.approx(float(row["dsc"]))
    outline = json.loads((finished.results / f"runs/{RUN}/unlabelled/segmentation.geojson").read_text("utf-8"))
    mm2 = sum(shapely.geometry.shape(f["geometry"]).area for f in outline["features"]) / 1e6
    assert slides["unlabelled"]["runs"][RUN]["mm2"] == pytest.approx(mm2, abs=0.002)
    assert slides["unlabelled"]["runs"][RUN]["dice"] is None


def test_colours_of_errors_divide_segmentation_and_annotation(viewer: TestClient, finished: Project) -> None:
    areas = {name: area(p) for name, p in viewer.get(f"/slides/{SLIDE}/outlines?run={RUN}").json().items()}
    assert areas["found"] + areas["false"] == pytest.approx(areas["segmentation"], rel=1e-3)
    assert areas["found"] + areas["missed"] == pytest.approx(areas["truth"], rel=1e-3)
    assert areas["unjudged"] == 0 < areas["found"]
    measured = json.loads((finished.results / f"runs/{RUN}/{SLIDE}/metrics.json").read_text("utf-8"))["stages"]
    dice = next(stage["dsc"] for stage in measured if stage["stage"] == "segmentation")
    assert 2 * areas["found"] / (areas["segmentation"] + areas["truth"]) == pytest.approx(dice, abs=0.02)
    assert set(viewer.get(f"/slides/unlabelled/outlines?run={RUN}").json()) == {"segmentation"}


def test_a_heatmap_arrives_as_one_byte_per_cell(viewer: TestClient, finished: Project) -> None:
    answer = viewer.get(f"/slides/{SLIDE}/heatmap?run={RUN}")
    grid, values = json.loads(answer.headers["x-grid"]), np.frombuffer(answer.content, np.uint8)
    field = tifffile.imread(finished.results / f"heatmaps/tone/{SLIDE}.tif")
    assert (grid["rows"], grid["columns"], grid["cell"], grid["x"], grid["y"]) == (*field.shape, 32, 0, 0)
    shown = values.reshape(field.shape)
    assert ((shown == 0) == np.isnan(field)).all()
    known = shown > 0
    assert np.abs((shown[known] - 1) / 254 - field[known]).max() < 0.002


def test_every_export_that_exists_can_be_downloaded(viewer: TestClient, finished: Project) -> None:
    files = {f["name"]: f["bytes"] for f in viewer.get(f"/slides/{SLIDE}?run={RUN}").json()["files"]}
    folder = finished.results / f"runs/{RUN}/{SLIDE}"
    own = {p.name: p.stat().st_size for part in (folder, folder.parent) for p in part.iterdir() if p.is_file()}
    assert files.items() >= own.items() and set(files) - set(own) == {"heatmap.tif", "tissue.geojson"}
    answer = viewer.get(f"/slides/{SLIDE}/files/segmentation.geojson?run={RUN}")
    assert answer.content == (folder / "segmentation.geojson").read_bytes()
    assert f"{SLIDE}.segmentation.geojson" in answer.headers["content-disposition"]


def corrected(finished: Project, tmp_path: Path) -> tuple[TestClient, Opened, list[dict[str, Any]]]:
    opened = open_results(finished.folder, [], tmp_path / "saves")
    client = entered(opened)
    return client, opened, client.get(f"/slides/{SLIDE}/correction?run={RUN}").json()["run"]


def test_an_outline_that_is_saved_as_it_was_says_so(finished: Project, tmp_path: Path) -> None:
    client, opened, found = corrected(finished, tmp_path)
    answer = client.post(f"/slides/{SLIDE}/correction", json={"kind": "wta", "regions": found}).json()
    assert answer["origin"].startswith(f"unedited run {RUN}")
    exported = finished.results / f"runs/{RUN}/{SLIDE}/segmentation.geojson"
    assert str(provenance_of(opened.saved(SLIDE), SLIDE)) == str(provenance_of(exported, SLIDE)) == answer["origin"]
    # As the sheet's column wants it: from where its relative paths start.
    assert (finished.folder / "slides" / answer["annotation"]).samefile(opened.saved(SLIDE))


def test_a_compressed_outline_and_a_mask_can_be_begun_with(own_copy: Project) -> None:
    outline = own_copy.results / f"runs/{RUN}/{SLIDE}/segmentation.geojson"
    client = entered(open_results(own_copy.folder, []))
    before = client.get(f"/slides/{SLIDE}/correction?run={RUN}").json()
    with gzip.open(f"{outline}.gz", "wb") as file:
        file.write(outline.read_bytes())
    outline.unlink()
    assert client.get(f"/slides/{SLIDE}/correction?run={RUN}").json() == before
    # What the workflow made of an annotation that is no GeoJSON.
    drawn = own_copy.folder / "slides" / own_copy.row(SLIDE)["annotation"]
    drawn.rename(drawn.with_suffix(".xml"))
    own_copy.row(SLIDE)["annotation"] = drawn.with_suffix(".xml").name
    own_copy.write()
    after = entered(open_results(own_copy.folder, [])).get(f"/slides/{SLIDE}/correction").json()["annotation"]
    assert [r["name"] for r in after] == [r["name"] for r in before["annotation"]] == ["Tumor"]
    assert area(after[0]["polygons"]) == pytest.approx(area(before["annotation"][0]["polygons"]), rel=1e-3)


def test_a_correction_is_read_back_as_it_was_drawn(finished: Project, tmp_path: Path) -> None:
    client, opened, found = corrected(finished, tmp_path)
    hole = [[60, 60], [80, 60], [80, 80], [60, 80], [60, 60]]
    drawn = [[50, 50], [100, 50], [100.5, 100.25], [50, 100], [50, 50]]
    added = {"polygons": [[drawn, hole]], "name": "Tumor", "metadata": {"patient": "Hansen"}}
    asked = {"kind": "wta", "regions": [*found, added]}
    assert client.post(f"/slides/{SLIDE}/correction", json=asked).json()["origin"].startswith("corrected from run")
    text = opened.saved(SLIDE).read_text("utf-8")
    assert "Hansen" not in text
    saved = [shapely.geometry.shape(f["geometry"]) for f in json.loads(text)["features"]]
    assert saved[-1].equals(shapely.MultiPolygon([shapely.Polygon(drawn, [hole])]))
    read = read_annotation(opened.saved(SLIDE), kind="wta", where=SLIDE, width=600, height=500, classes=opened.classes)
    assert read.tumour.area == pytest.approx(shapely.union_all(saved).area)
    assert client.get(f"/slides/{SLIDE}/correction").json()["saved"][-1]["polygons"] == [[drawn, hole]]
    assert next(s for s in client.get("/cohort").json()["slides"] if s["id"] == SLIDE)["saved"]


def regions(outline: Any, name: str = "Tumor", kind: str = "wta") -> dict[str, Any]:
    return {"kind": kind, "regions": [{"polygons": [[outline]], "name": name}]}


@pytest.mark.parametrize(
    ("asked", "word"),
    [
        (regions([[9, 9], [70, 70], [70, 9], [9, 70], [9, 9]]), "cross"),
        (regions([[0, 0], [9, 0], [9, 9], [0, 0]], "Hansen"), "class"),
        (regions([[900, 0], [990, 0], [990, 90], [900, 0]]), "outside"),
        (regions("x"), "outline"),
        ({"kind": "psa", "regions": []}, "nothing about this slide"),
        ({"kind": "all", "regions": []}, "no outlines"),
        ({"kind": "wta", "regions": [7]}, "no outlines"),
        (regions([[0, 0], [1e999, 0], [9, 9], [0, 0]]), "no outlines"),
    ],
)
def test_what_the_workflow_would_refuse_is_not_saved(
    finished: Project, tmp_path: Path, asked: dict[str, Any], word: str
) -> None:
    client, opened, _ = corrected(finished, tmp_path)
    client.post(f"/slides/{SLIDE}/correction", json={"kind": "wta", "regions": []})
    before = opened.saved(SLIDE).read_bytes()
    text, kind = json.dumps(asked), {"Content-Type": "application/json"}
    answer = client.post(f"/slides/{SLIDE}/correction", content=text, headers=kind)
    assert answer.status_code == 422 and word in answer.text and "\n" not in answer.text and ".part" not in answer.text
    assert opened.saved(SLIDE).read_bytes() == before and len(list(opened.saves.iterdir())) == 1


def test_other_pages_cannot_save(viewer: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    path, text = f"/slides/{SLIDE}/correction", '{"kind": "wta", "regions": []}'
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        assert viewer.post(path, content=text, headers={"Content-Type": kind}).status_code == 415
    asked = {"Content-Type": "application/json"}
    assert viewer.post(path, content="[1", headers=asked).status_code == 400
    monkeypatch.setattr(server, "_MOST_BYTES", 10)
    assert viewer.post(path, content=text, headers=asked).status_code == 413
    assert "saved" not in viewer.get(path).json()


def test_a_folder_that_cannot_be_written_is_one_line(finished: Project, tmp_path: Path) -> None:
    client, _, found = corrected(finished, tmp_path)
    (tmp_path / "saves").write_text("a file where the folder would be")
    answer = client.post(f"/slides/{SLIDE}/correction", json={"kind": "wta", "regions": found})
    assert answer.status_code == 404 and "cannot be written" in answer.text and "--save" in answer.text


def test_a_map_of_uncertainty_is_a_layer_whose_brightest_colour_is_a_half(own_copy: Project) -> None:
    heatmap = own_copy.results / f"heatmaps/tone/{SLIDE}.tif"
    field, facts = read_field(heatmap)
    path = own_copy.results / f"uncertainty/tone/{SLIDE}.tif"
    path.parent.mkdir(parents=True)
    client = entered(open_results(own_copy.folder, []))
    assert client.get(f"/slides/{SLIDE}/uncertainty?run={RUN}").status_code == 404
    write_field(path, field / 2, (64.0, 64.0), facts)
    asked = {name: client.get(f"/slides/{SLIDE}/{name}?run={RUN}") for name in ("heatmap", "uncertainty")}
    assert asked["heatmap"].content == asked["uncertainty"].content and len(set(asked["heatmap"].content)) > 2
    assert asked["heatmap"].headers["x-grid"] == asked["uncertainty"].headers["x-grid"]
    assert next(s for s in client.get("/cohort").json()["slides"] if s["id"] == SLIDE)["runs"][RUN]["uncertainty"]
    assert "uncertainty.tif" in {f["name"] for f in client.get(f"/slides/{SLIDE}?run={RUN}").json()["files"]}


def test_faults_of_tiles_are_a_layer_where_they_were_measured(own_copy: Project) -> None:
    path = own_copy.results / f"heatmaps/tone/{SLIDE}.parquet"
    table, facts = read_table(path)
    table["fault"] = [("", "blurred", "folded", "pen")[i % 4] for i in range(len(table))]
    write_table(path, table, facts)
    client = entered(open_results(own_copy.folder, []))
    answer = client.get(f"/slides/{SLIDE}/quality?run={RUN}")
    grid = json.loads(answer.headers["x-grid"])
    cells = np.frombuffer(answer.content, np.uint8).reshape(grid["rows"], grid["columns"])
    assert cells[table["row"], table["column"]].tolist() == [(0, 86, 170, 255)[i % 4] for i in range(len(table))]
    write_table(path, table.drop(columns="fault"), facts)
    assert client.get(f"/slides/{SLIDE}/quality?run={RUN}").status_code == 404


def test_a_full_disk_is_one_line_and_what_was_saved_stays(
    finished: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, opened, found = corrected(finished, tmp_path)
    client.post(f"/slides/{SLIDE}/correction", json={"kind": "wta", "regions": []})
    before = opened.saved(SLIDE).read_bytes()
    write = Path.write_text

    def full(path: Path, text: str, **options: Any) -> int:
        write(path, text[:100], **options)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    answer = client.post(f"/slides/{SLIDE}/correction", json={"kind": "wta", "regions": found})
    assert answer.status_code == 404 and "the disk is full" in answer.text and "\n" not in answer.text
    assert opened.saved(SLIDE).read_bytes() == before and len(list(opened.saves.iterdir())) == 1


def test_corrections_are_untangled_as_far_as_the_configuration_says(own_copy: Project, tmp_path: Path) -> None:
    """A square of 40,000 px² with a loop of 450 px² at its corner, which is a little more than 1 % of it."""
    loop = [[100, 100], [300, 100], [300, 300], [100, 300], [100, 130], [70, 100], [70, 130], [100, 100]]
    for share, status in ((0.05, 200), (0.001, 422)):
        own_copy.config["cohort"]["max_untangled"] = share
        own_copy.write()
        client = entered(open_results(own_copy.folder, [], tmp_path / "saves"))
        assert client.post(f"/slides/{SLIDE}/correction", json=regions(loop)).status_code == status


def test_a_run_that_is_half_finished_shows_what_is_there(own_copy: Project) -> None:
    folder = own_copy.results / f"runs/{RUN}"
    shutil.rmtree(folder / "tumour_b")
    (folder / "metrics.tsv").unlink()
    failure = FailedSlideError("too few tiles", stage="postprocess", status="unreadable", where=SLIDE, mend="Copy it.")
    write_outcome([folder / SLIDE / "segmentation.png"], failure)
    (own_copy.folder / "slides" / own_copy.row("unlabelled")["path"]).unlink()
    (own_copy.folder / ".snakemake/locks").mkdir(parents=True, exist_ok=True)
    (own_copy.folder / ".snakemake/locks/0.input.lock").touch()
    client = entered(open_results(own_copy.folder, []))
    cohort = client.get("/cohort").json()
    slides = {slide["id"]: slide for slide in cohort["slides"]}
    assert slides["tumour_b"]["runs"][RUN] == {
        "state": "none",
        "heatmap": True,
        "uncertainty": False,
        "quality": True,
        "dice": None,
        "next": [],
    }
    assert slides[SLIDE]["runs"][RUN]["reason"] == "too few tiles"
    assert slides["unlabelled"]["status"] == "missing"
    assert len(cohort["remarks"]) == 1 and "going on" in cohort["remarks"][0]
    assert set(client.get(f"/slides/tumour_b/outlines?run={RUN}").json()) == {"truth"}
    assert "segmentation.png" not in {f["name"] for f in client.get(f"/slides/{SLIDE}?run={RUN}").json()["files"]}
    moved = client.get("/slides/unlabelled/tiles/8/0_0.jpg")
    assert moved.status_code == 404 and "not there" in moved.text


def test_later_files_of_the_configuration_win_as_in_the_workflow(own_copy: Project) -> None:
    own_copy.results.rename(own_copy.folder / "mine")
    first, second = own_copy.folder / "first.yaml", own_copy.folder / "second.yaml"
    first.write_text("results: nowhere\ncohort: {geojson_frame: slide}\n")
    second.write_text("results: mine\n")
    opened = open_results(own_copy.folder, [first, second])
    assert opened.results == own_copy.folder / "mine" and opened.frame == "slide"
    assert opened.saves == own_copy.folder / "mine_corrections" and opened.models == {RUN: "tone"}
    assert list(opened.rows) == [row["slide_id"] for row in own_copy.rows]


def test_a_broken_configuration_opens_what_can_be_opened(own_copy: Project) -> None:
    odd = (
        "cohort: {sheet: slides.tsv, root: slides, geojson_frame: 7, annotation_classes: {tumour: tumor}}\nruns: [1]\n"
    )
    (own_copy.folder / "config.yaml").write_text(odd)
    client = entered(open_results(own_copy.folder, []))
    assert client.get("/cohort").json()["classes"]["tumour"] == ["tumor", "tumour"]
    assert client.get(f"/slides/{SLIDE}/tiles/8/0_0.jpg").status_code == 200
    (own_copy.folder / "config.yaml").write_text("cohort: [\n")
    opened = open_results(own_copy.folder, [])
    assert any("config.yaml cannot be read" in remark for remark in opened.remarks)
    assert SLIDE in opened.rows
    assert [s["status"] for s in entered(opened).get("/cohort").json()["slides"]] == ["missing"] * len(own_copy.rows)


def test_where_there_is_nothing_to_look_at_the_command_says_so_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.yaml").write_text("results: results\ncohort: {sheet: none.tsv}\n")
    assert cli.main(["view", "--directory", str(tmp_path)]) == 1
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1 and "there are no results to look at" in printed.err


def test_slides_can_be_looked_at_before_the_first_run(finished: Project, tmp_path: Path) -> None:
    for name in ("config.yaml", "slides.tsv"):
        shutil.copy(finished.folder / name, tmp_path)
    (tmp_path / "slides").symlink_to(finished.folder / "slides")
    opened = open_results(tmp_path, [])
    assert any("no results yet" in remark for remark in opened.remarks)
    assert tile(entered(opened), SLIDE, 8, 0, 0).shape[2] == 3


def test_a_port_that_cannot_be_had_is_one_line(finished: Project, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        for port, word in ((other.getsockname()[1], "in use"), (99_999, "65535")):
            assert cli.main(["view", "--directory", str(finished.folder), "--port", str(port)]) == 1
            printed = capsys.readouterr()
            assert printed.out == "" and printed.err.count("\n") == 1
            assert word in printed.err and str(port) in printed.err and "--port 0" in printed.err


def test_commands_of_the_page_about_the_viewer_are_commands() -> None:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    lines = re.findall(r"(?m)^make view ARGS=(.*)$", (ROOT / "docs/viewer.md").read_text("utf-8"))
    assert [parser.parse_args(shlex.split(shlex.split(line)[0])).configfile for line in lines] == [
        [Path("my_cohort.yaml")]
    ]
    told = set(re.findall(r"(?m)^\| `(--\w+)", (ROOT / "docs/viewer.md").read_text("utf-8")))
    assert told == set(parser._option_string_actions) - {"-h", "--help"}


def test_what_others_wrote_is_as_they_published_it_and_has_its_licence() -> None:
    with (VENDOR / "vendored.tsv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert {row["file"] for row in rows} == {p.name for p in VENDOR.iterdir()} - {"vendored.tsv"}
    licences = (VENDOR / "LICENCES.txt").read_text("utf-8")
    for row in rows:
        assert hashlib.sha256((VENDOR / row["file"]).read_bytes()).hexdigest() == row["sha256"]
        if row["version"]:
            assert f"\n{row['package']} {row['version']}\n" in licences and row["licence"] == "BSD-3-Clause"
    assert licences.count("Redistribution and use in source and binary forms") >= 2
