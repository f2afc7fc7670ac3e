"""The demo cohort: what its files hold, that its truth is the truth, and that colour alone does not solve it."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import openslide
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from shapely.geometry import shape as as_geometry
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from drunet_demo import slides as demo
from drunet_demo.fields import inside_distance, lattice, rooms, smooth_noise, top_share
from drunet_demo.layout import LAYOUT_MPP, Kind
from drunet_demo.pyramid import aperio_description, write_pyramid

SEED = 20240917
SHEETS = Path(__file__).parents[2] / "resources" / "demo"
TILE = 64


@cache
def drawn(slide_id: str) -> demo.Drawn:
    return demo.draw_slide(slide_id, SEED)


def rasterised(slide_id: str, names: set[str] | None = None) -> NDArray[np.bool_]:
    """Annotation at 1 µm/px, drawn by Pillow rather than by what traced it."""
    recipe = demo.SLIDES[slide_id]
    size = (round(recipe.size[0] * recipe.mpp), round(recipe.size[1] * recipe.mpp))
    image = Image.new("1", size)
    for feature in drawn(slide_id).annotation["features"]:
        if names is None or feature["properties"]["classification"]["name"] in names:
            one = Image.new("1", size)
            for index, ring in enumerate(feature["geometry"]["coordinates"]):
                points = [(x * recipe.mpp - 0.5, y * recipe.mpp - 0.5) for x, y in ring]
                ImageDraw.Draw(one).polygon(points, fill=int(index == 0))
            image.paste(1, mask=one)
    return np.asarray(image, bool)


def at_one_um(slide_id: str, array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    recipe = demo.SLIDES[slide_id]
    size = (round(recipe.size[0] * recipe.mpp), round(recipe.size[1] * recipe.mpp))
    how = cv2.INTER_AREA if array.ndim == 3 else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(array, size, interpolation=how), np.uint8)


def colour_tiles(slide_id: str) -> tuple[NDArray[np.float64], NDArray[np.int_]]:
    """Mean RGB of the tissue tiles of a slide, and their labels."""
    image = at_one_um(slide_id, drawn(slide_id).image)
    return labelled_tiles(slide_id, lambda here: image[here].mean((0, 1)))


def labelled_tiles(
    slide_id: str, describe: Callable[[tuple[slice, slice]], Any]
) -> tuple[NDArray[np.float64], NDArray[np.int_]]:
    """What `describe` says of each tissue tile of a slide, 64 px at 1 µm/px, and its label."""
    tissue = at_one_um(slide_id, (drawn(slide_id).layout.kinds != Kind.GLASS).astype(np.uint8))
    tumour, known = rasterised(slide_id, {"Tumor"}), np.ones(tissue.shape, bool)
    if demo.SLIDES[slide_id].partial:
        known = rasterised(slide_id)
    described, labels = [], []
    for y in range(0, tissue.shape[0] - TILE + 1, TILE):
        for x in range(0, tissue.shape[1] - TILE + 1, TILE):
            here = (slice(y, y + TILE), slice(x, x + TILE))
            share = tumour[here].mean()
            if tissue[here].mean() >= 0.25 and known[here].mean() >= 0.5 and (share == 0 or share >= 0.05):
                described.append(describe(here))
                labels.append(int(share >= 0.05))
    return np.array(described), np.array(labels)


def at_layout(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A slide of 1 µm/px at the resolution of its layout."""
    size = (round(image.shape[1] / LAYOUT_MPP), round(image.shape[0] / LAYOUT_MPP))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def nuclear_tiles(slide_id: str) -> tuple[NDArray[np.float64], NDArray[np.int_]]:
    """How much the density of red light varies in each tile at six scales, and the tiles' labels."""
    image = at_one_um(slide_id, drawn(slide_id).image)
    density = -np.log10((image[..., 0].astype(np.float32) + 1) / 246)
    scales = []
    for sigma in (1.0, 1.5, 2.2, 3.2, 4.5, 6.5):
        scales.append(sigma**2 * cv2.Laplacian(cv2.GaussianBlur(density, (0, 0), sigma), cv2.CV_32F))
    return labelled_tiles(slide_id, lambda here: np.ravel([_spread(layer[here]) for layer in scales]))


def _spread(values: NDArray[np.float32]) -> list[float]:
    return [float(values.std()), *np.percentile(values, [5, 95]).tolist()]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    for slide_id in ("test_truncated", "test_no_resolution"):
        demo.write_slide(slide_id, SEED, folder / f"{slide_id}.tif", folder / f"{slide_id}.geojson")
    return folder


def sheet(name: str) -> list[dict[str, str]]:
    with (SHEETS / f"{name}.tsv").open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines, delimiter="\t"))


def test_the_sheets_list_exactly_the_slides_of_the_demo() -> None:
    rows = sheet("slides") + sheet("breast")
    assert [row["slide_id"] for row in rows] == list(demo.SLIDES)
    for row in rows:
        slide = demo.SLIDES[row["slide_id"]]
        assert (row["path"], row["annotation"]) == (f"{row['slide_id']}.tif", f"{row['slide_id']}.geojson")
        assert row["patient_id"] == slide.patient_id
        assert row["annotation_kind"] == ("psa" if slide.partial else "wta")
        # The demo's own sheet need not name a cohort.
        assert row.get("cohort", "lung") == slide.organ


def test_the_cohort_to_start_from_shares_no_patient_with_the_other() -> None:
    assert not {row["patient_id"] for row in sheet("slides")} & {row["patient_id"] for row in sheet("breast")}
    assert {(row["split"], row["annotation_kind"]) for row in sheet("breast")} == {
        ("train", "psa"),
        ("train", "wta"),
        ("val", "wta"),
    }


def test_no_patient_is_on_both_sides_of_a_split() -> None:
    splits = defaultdict(list)
    for row in sheet("slides") + sheet("breast"):
        splits[row["patient_id"]].append(row["split"])
    assert all(len(set(split)) == 1 for split in splits.values())
    assert sum(len(split) == 2 for split in splits.values()) == 2


@pytest.mark.parametrize("levels", [1, 3])
def test_openslide_reads_levels_and_resolution(tmp_path: Path, levels: int) -> None:
    image = np.full((400, 600, 3), 200, np.uint8)
    write_pyramid(tmp_path / "a.tif", image, 0.5, levels=levels)
    with openslide.OpenSlide(tmp_path / "a.tif") as slide:
        assert slide.level_dimensions == tuple((600 // 2**n, 400 // 2**n) for n in range(levels))
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(0.5, rel=1e-4)
        assert np.abs(np.asarray(slide.read_region((0, 0), levels - 1, (9, 9)))[..., :3].astype(int) - 200).max() < 3


def test_an_aperio_description_gives_vendor_objective_and_resolution(tmp_path: Path) -> None:
    image = np.zeros((300, 300, 3), np.uint8)
    write_pyramid(tmp_path / "a.tif", image, 0.5, aperio_description(300, 300, 0.5, 20), levels=2)
    with openslide.OpenSlide(tmp_path / "a.tif") as slide:
        found = {key: slide.properties[f"openslide.{key}"] for key in ("vendor", "objective-power", "mpp-x")}
        assert found == {"vendor": "aperio", "objective-power": "20", "mpp-x": "0.5"}
        assert slide.level_count == 2 and not slide.associated_images


def test_a_pyramid_refuses_what_is_no_slide(tmp_path: Path) -> None:
    image = np.zeros((40, 40, 3), np.uint8)
    with pytest.raises(ValueError, match="uint8"):
        write_pyramid(tmp_path / "a.tif", image[..., 0], 1.0)
    with pytest.raises(ValueError, match="positive"):
        write_pyramid(tmp_path / "a.tif", image, 0.0)
    with pytest.raises(ValueError, match="levels"):
        write_pyramid(tmp_path / "a.tif", image, 1.0, levels=9)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("size", "levels"), [((100, 100), 1), ((512, 600), 2), ((1536, 2048), 3)])
def test_levels_stop_before_a_side_falls_under_256(tmp_path: Path, size: tuple[int, int], levels: int) -> None:
    write_pyramid(tmp_path / "a.tif", np.zeros((*size, 3), np.uint8), 1.0)
    with openslide.OpenSlide(tmp_path / "a.tif") as slide:
        assert slide.level_count == levels


@pytest.mark.slow
def test_the_truncated_slide_cannot_be_read_but_has_its_annotation(written: Path) -> None:
    with pytest.raises(openslide.OpenSlideError):
        slide = openslide.OpenSlide(written / "test_truncated.tif")
        slide.read_region((0, 0), 0, slide.dimensions)
    assert json.loads((written / "test_truncated.geojson").read_text())["features"]


def test_the_slide_without_resolution_opens_and_says_none(written: Path) -> None:
    with openslide.OpenSlide(written / "test_no_resolution.tif") as slide:
        assert slide.dimensions == (1024, 768)
        assert not [key for key in slide.properties if "mpp" in key]
        assert slide.properties.get("tiff.ResolutionUnit") not in ("inch", "centimeter")


@pytest.mark.slow
def test_one_seed_gives_one_file_and_another_seed_another(written: Path, tmp_path: Path) -> None:
    demo.write_slide("test_no_resolution", SEED, tmp_path / "a.tif", tmp_path / "a.geojson")
    assert (tmp_path / "a.tif").read_bytes() == (written / "test_no_resolution.tif").read_bytes()
    assert (tmp_path / "a.geojson").read_bytes() == (written / "test_no_resolution.geojson").read_bytes()
    other = demo.draw_slide("test_no_resolution", SEED + 1)
    assert (other.image != drawn("test_no_resolution").image).mean() > 0.2


@pytest.mark.slow
@pytest.mark.parametrize("slide_id", ["test_tma_hole", "test_pair_a"])
def test_outlines_agree_with_what_was_painted(slide_id: str) -> None:
    outline = rasterised(slide_id)
    planned = at_one_um(slide_id, drawn(slide_id).layout.tumour.astype(np.uint8)) > 0
    assert 2 * (outline & planned).sum() / (outline.sum() + planned.sum()) > 0.99
    cells = at_one_um(slide_id, drawn(slide_id).tumour_cells.astype(np.uint8)) > 0
    assert (cells & outline).sum() / cells.sum() > 0.99
    assert 0.75 < cells.sum() / outline.sum() < 1.0


@pytest.mark.slow
def test_tumour_takes_a_quarter_to_a_half_of_the_tissue() -> None:
    layout = drawn("test_tma_hole").layout
    assert 0.25 < layout.tumour.sum() / (layout.kinds != Kind.GLASS).sum() < 0.45


@pytest.mark.slow
def test_punched_cores_are_glass_and_left_out_of_the_outline() -> None:
    slide = drawn("test_tma_hole")
    outline = rasterised("test_tma_hole")
    assert len(slide.layout.punches) == 3
    for y, x, radius in slide.layout.punches:
        rows, columns = np.ogrid[: slide.image.shape[0], : slide.image.shape[1]]
        core = np.hypot(rows - y, columns - x) < radius - 10
        assert slide.image[core].min() > 200
        assert not outline[core].any()
        rim = np.hypot(rows - y, columns - x) < radius + 20
        assert outline[rim].any()


@pytest.mark.slow
def test_a_slide_without_tumour_has_an_empty_collection() -> None:
    slide = drawn("test_no_tumour")
    assert slide.annotation == {"type": "FeatureCollection", "features": []}
    assert not slide.tumour_cells.any()


@pytest.mark.slow
def test_pen_marks_are_saturated_ink_beyond_the_tissue() -> None:
    image = drawn("test_pen").image
    glass = at_one_um("test_pen", (drawn("test_pen").layout.kinds == Kind.GLASS).astype(np.uint8)) > 0
    red, green, blue = (image[..., channel].astype(int)[glass] for channel in range(3))
    assert ((blue - red > 80) & (blue - green > 20)).sum() > 5000
    assert ((green - red > 80) & (green - blue > 20)).sum() > 5000


@pytest.mark.slow
def test_partial_regions_are_small_valid_and_of_every_kind() -> None:
    features = drawn("psa_train_1").annotation["features"]
    kinds = [feature["properties"]["classification"]["name"] for feature in features]
    assert kinds.count("Tumor") >= 4 and len(kinds) - kinds.count("Tumor") >= 6
    assert set(kinds) == {"Tumor", "Stroma", "Alveoli", "Normal", "Immune cells", "Vessel", "Necrosis"}
    assert len({feature["id"] for feature in features}) == len(features)
    geometries = [as_geometry(feature["geometry"]) for feature in features]
    for geometry in geometries:
        left, top, right, bottom = geometry.bounds
        assert geometry.is_valid and max(right - left, bottom - top) < 400
    overlap = [a.intersection(b).area for i, a in enumerate(geometries) for b in geometries[:i]]
    assert max(overlap) == 0.0


@pytest.mark.slow
def test_partial_regions_hold_tumour_cells_only_where_they_say_so() -> None:
    cells = drawn("psa_train_1").tumour_cells
    assert cells[rasterised("psa_train_1", {"Tumor"})].mean() > 0.7
    other = {"Stroma", "Alveoli", "Normal", "Immune cells", "Vessel", "Necrosis"}
    assert cells[rasterised("psa_train_1", other)].mean() == 0.0


@pytest.mark.slow
def test_colour_alone_does_not_find_the_tumour() -> None:
    """Learnt from a part of the training slides, to keep this short; the slides that count are the test slides."""
    train = [colour_tiles(slide_id) for slide_id in ("psa_train_1", "test_pair_a", "test_pair_b")]
    test = [colour_tiles(slide_id) for slide_id in ("test_tma_hole", "test_no_tumour", "test_pen")]
    colours, labels = (np.concatenate(part) for part in zip(*train, strict=True))
    unseen, truth = (np.concatenate(part) for part in zip(*test, strict=True))
    for weight in (None, "balanced"):
        model = LogisticRegression(max_iter=1000, class_weight=weight).fit(colours, labels)
        assert f1_score(truth, model.predict(unseen)) < 0.70


@pytest.mark.slow
def test_a_slide_stays_as_it_was_when_others_are_added(monkeypatch: pytest.MonkeyPatch) -> None:
    before = drawn("test_no_resolution")
    others = {"another": demo.SLIDES["psa_train_1"], "test_no_resolution": demo.SLIDES["test_no_resolution"]}
    monkeypatch.setattr(demo, "SLIDES", others)
    after = demo.draw_slide("test_no_resolution", SEED)
    assert np.array_equal(after.image, before.image)
    assert after.annotation == before.annotation


@pytest.mark.slow
def test_slides_of_one_patient_are_stained_alike_and_show_other_tissue() -> None:
    """Mean density of lymphoid tissue, which the look of a patient sets."""

    def stain(slide_id: str) -> NDArray[np.float64]:
        slide = drawn(slide_id)
        density = -np.log10((at_layout(slide.image)[slide.layout.kinds == Kind.IMMUNE] + 1) / 246)
        return np.asarray(density.mean(0))

    one, same, other = (stain(slide_id) for slide_id in ("test_pair_a", "test_pair_b", "test_tma_hole"))
    assert np.abs(one - same).max() < np.abs(one - other).max()
    assert (drawn("test_pair_a").layout.kinds != drawn("test_pair_b").layout.kinds).mean() > 0.2


@pytest.mark.slow
def test_partial_regions_of_breast_hold_no_lung_and_tumour_cells_only_where_they_say_so() -> None:
    slide = drawn("breast_psa_1")
    kinds = set(np.unique(slide.layout.kinds).tolist())
    assert Kind.FAT in kinds and Kind.ALVEOLI not in kinds
    names = [feature["properties"]["classification"]["name"] for feature in slide.annotation["features"]]
    assert names.count("Tumor") >= 4 and names.count("Normal") >= 4 and "Alveoli" not in names
    assert slide.tumour_cells[rasterised("breast_psa_1", {"Tumor"})].mean() > 0.5
    assert slide.tumour_cells[rasterised("breast_psa_1", {*names} - {"Tumor"})].mean() == 0.0


@pytest.mark.slow
def test_fat_is_empty_and_the_stain_is_bluer_than_in_any_lung() -> None:
    """Beer-Lambert by hand: red over green density of haematoxylin, where nuclei of an aggregate lie."""
    breast = drawn("breast_psa_1")
    fat = breast.layout.kinds == Kind.FAT
    assert np.median(at_layout(breast.image)[fat]) > 230

    def ratio(slide_id: str) -> float:
        slide = drawn(slide_id)
        density = -np.log10((at_layout(slide.image)[slide.layout.kinds == Kind.IMMUNE] + 1) / 246)
        dark = density[density[:, 0] > np.quantile(density[:, 0], 0.9)].mean(0)
        return float(dark[0] / dark[1])

    assert ratio("breast_psa_1") > max(map(ratio, ("psa_train_1", "test_pair_a", "test_pair_b", "test_tma_hole"))) * 1.1


@pytest.mark.slow
def test_what_tells_tumour_by_nuclei_in_breast_serves_lung_in_part() -> None:
    """Spread of density at the scale of nuclei (Laplacian of Gaussian), learnt on two slides of each organ."""
    breast, lung, test = (
        [np.concatenate(part) for part in zip(*map(nuclear_tiles, ids), strict=True)]
        for ids in (
            ("breast_psa_1", "breast_wta_1"),
            ("psa_train_1", "test_pair_a"),
            ("test_tma_hole", "test_pen", "test_no_tumour"),
        )
    )
    area = {}
    for name, (features, labels) in (("breast", breast), ("lung", lung)):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000)).fit(features, labels)
        area[name] = roc_auc_score(test[1], model.predict_proba(test[0])[:, 1])
    assert 0.6 < area["breast"] < area["lung"] - 0.05, area


def test_noise_has_unit_deviation_and_no_direction() -> None:
    field = smooth_noise(np.random.default_rng(3), (900, 900), 12.0)
    assert abs(float(field.mean())) < 0.1 and float(field.std()) == pytest.approx(1.0, abs=0.15)
    steps = [float(np.diff(field, axis=axis).std()) for axis in (0, 1)]
    diagonal = float((field[1:, 1:] - field[:-1, :-1]).std())
    assert steps[0] == pytest.approx(steps[1], rel=0.05)
    assert diagonal == pytest.approx(np.sqrt(2) * steps[0], rel=0.08)


def test_a_share_is_kept_exactly_and_a_distance_changes_sign_at_the_border() -> None:
    field = np.random.default_rng(0).standard_normal((80, 80)).astype(np.float32)
    within = np.zeros((80, 80), bool)
    within[10:50] = True
    assert top_share(field, within, 0.25).sum() == pytest.approx(0.25 * within.sum(), abs=2)
    assert not top_share(field, within, 0.0).any()
    distance = inside_distance(within)
    assert distance[30, 40] == pytest.approx(20, abs=1) and distance[60, 40] == pytest.approx(-11, abs=1)
    assert np.isfinite(inside_distance(np.zeros((5, 5), bool)) * LAYOUT_MPP).all()


def test_rooms_are_the_cells_of_their_nearest_seeds() -> None:
    seeds = lattice(np.random.default_rng(4), (60, 80), 20.0, 0.3)
    cell, wall, far = rooms((60, 80), seeds)
    away = np.hypot(*(np.indices((60, 80))[:, None] - np.floor(seeds).T[..., None, None]))
    assert np.abs(away.min(axis=0) - far).max() < 0.6
    nearest, second = np.sort(away, axis=0)[:2]
    sure = second - nearest > 1.5
    pairs = set(zip(cell[sure].tolist(), away.argmin(axis=0)[sure].tolist(), strict=True))
    assert len(pairs) == len(seeds) == len({number for number, _ in pairs})
    assert wall[far < 1].min() > 3
    assert wall.min() == 0
