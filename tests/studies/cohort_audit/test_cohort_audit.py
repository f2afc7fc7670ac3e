"""Planted shortcuts are found, and none where there is none; statistics against scipy, formulas and simulation."""

from __future__ import annotations

from collections.abc import Mapping
from math import comb
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import tifffile
import yaml
from scipy.stats import mannwhitneyu
from tiny_cohort import Finished, Project

from drunet.errors import ConfigError
from drunet.files import read_json
from drunet.inspection import find_tissue
from drunet.settings.tissue import TissueSettings
from drunet.slide import Slide
from studies.cohort_audit import chance, shifts, tables
from studies.cohort_audit.copies import copies, likeness
from studies.cohort_audit.settings import check
from studies.cohort_audit.traits import file_traits, glass_and_ink, signature

SIDE, MPP, EACH = 320, 4.0, 8
KINDS = {"tint": "glass: ", "pen": "ink: share", "file": "file: quantisation"}
TISSUE = TissueSettings.of(yaml.safe_load(Path("config.yaml").read_text())["tissue"], "tissue")
OPTIONS: dict[str, Any] = {"alpha": 0.01, "permutations": 1999, "seed": 1}


def painted(rng: np.random.Generator, tumour: bool) -> np.ndarray:
    """A blot of tissue on glass, uint8 (SIDE, SIDE, 3); glass differs a little from slide to slide."""
    image = np.full((SIDE, SIDE, 3), 243.0) + rng.normal(0, 2, 3)
    soft = cv2.GaussianBlur(rng.normal(size=(SIDE, SIDE)), (0, 0), 30)
    tissue = soft > np.quantile(soft, rng.uniform(0.55, 0.75))
    image[tissue] = (205, 130, 180)
    nuclei = cv2.GaussianBlur(rng.normal(size=(SIDE, SIDE)), (0, 0), 2) > (0.02 if tumour else 0.1)
    image[tissue & nuclei] = (110, 70, 150)
    return image + rng.normal(0, 2, image.shape)


def planted(folder: Path, kind: str, seed: int) -> list[dict[str, Any]]:
    """Twice eight slides, two of one patient; those with tumour bear a mark that is none."""
    seen = []
    for number in range(2 * EACH):
        rng, tumour = np.random.default_rng([seed, number]), number < EACH
        image = painted(rng, tumour)
        quality = int(rng.integers(84, 90))
        if kind == "tint" and tumour:
            image *= (1.0, 0.985, 0.955)
        if kind == "file" and tumour:
            quality = 75
        pixels = np.clip(image, 0, 254).astype(np.uint8)
        if kind == "pen" and tumour:
            cv2.line(pixels, (10, 20), (10 + int(rng.integers(100, 250)), 25), (30, 60, 200), 40)
        path = folder / f"{kind}_{seed}_{number}.tif"
        resolution = (1e4 / MPP, 1e4 / MPP)
        with tifffile.TiffWriter(path) as tiff:
            options: dict[str, Any] = {"tile": (64, 64), "compression": "jpeg", "photometric": "rgb"}
            options |= {"resolution": resolution, "resolutionunit": "CENTIMETER"}
            tiff.write(pixels, **options, compressionargs={"level": quality})
        seen.append({"slide": path.stem, "patient": max(number, 1), "site": ""})
        seen[-1] |= {"split": "train", "tumour": tumour, **look(path)}
    return seen


def look(path: Path) -> dict[str, Any]:
    with Slide(path, path.stem) as slide:
        properties = slide.properties
        facts = {"width": properties.width, "height": properties.height, "mpp": properties.mpp}
        facts |= {"levels": len(properties.downsamples), "objective_power": "", "vendor": properties.vendor}
        tissue, _ = find_tissue(slide, TISSUE)
        glass, ink, image = glass_and_ink(slide, tissue)
    file = file_traits(str(path), facts)
    return {"file": file, "glass": glass, "ink": ink, "stain": {}, "signature": signature(image, tissue)}


def told(seen: list[dict[str, Any]]) -> list[str]:
    answers, unasked = tables.ask(seen, **OPTIONS)
    assert unasked.empty and set(answers["question"]) == {"tumour or none"}
    return list(answers.loc[answers["told"], "trait"])


@pytest.mark.parametrize("kind", KINDS)
def test_a_planted_shortcut_is_found_by_its_trait(tmp_path: Path, kind: str) -> None:
    found = told(planted(tmp_path, kind, 0))
    assert any(trait.startswith(KINDS[kind]) for trait in found)


@pytest.mark.slow
def test_ten_cohorts_of_each_shortcut_are_told_from_ten_without(tmp_path: Path) -> None:
    found = {kind: [told(planted(tmp_path, kind, seed)) for seed in range(10)] for kind in (*KINDS, "none")}
    assert found.pop("none") == [[]] * 10
    for kind, cohorts in found.items():
        assert all(any(t.startswith(KINDS[kind]) for t in traits) for traits in cohorts), (kind, cohorts)


def test_the_auc_is_that_of_mann_and_whitney_and_ties_count_half() -> None:
    rng = np.random.default_rng(3)
    values, positive = rng.integers(0, 6, (40, 3)).astype(float), rng.random(40) < 0.4
    found, _ = chance.association(pd.DataFrame(values, columns=list("abc")), positive, permutations=99, seed=0)
    for row in found.itertuples():
        column = values[:, "abc".index(row.trait)]
        expected = mannwhitneyu(column[positive], column[~positive]).statistic / (positive.sum() * (~positive).sum())
        assert row.auc == pytest.approx(max(expected, 1 - expected))


def test_with_one_trait_and_every_permutation_p_is_exact() -> None:
    numbers, positive = pd.DataFrame({"x": [1.0, 2, 3, 4, 5, 6]}), np.array([True, True, True, False, False, False])
    found, perfect = chance.association(numbers, positive, permutations=40_000, seed=0)
    assert found["p"][0] == perfect == pytest.approx(2 / comb(6, 3), abs=0.005)


def test_the_share_of_false_alarms_is_at_most_the_level_however_many_traits_are_tried() -> None:
    alarms, positive = 0, np.arange(16) < 8
    for seed in range(300):
        rng = np.random.default_rng(seed)
        numbers = pd.DataFrame(rng.normal(size=(16, 25)) + rng.normal(size=(16, 1)))
        alarms += bool((chance.association(numbers, positive, permutations=199, seed=seed)[0]["p"] <= 0.05).any())
    # 300 draws of 0.05: more than 26 have a chance below 0.2 %.
    assert alarms <= 26


def test_words_and_gaps_become_traits_and_constants_none() -> None:
    traits = pd.DataFrame({"vendor": ["a", "b", None], "mpp": [0.25, None, 0.75], "levels": [3, 3, 3]})
    numbers = chance.as_numbers(traits)
    assert numbers.to_dict("list") == {
        "vendor a": [1, 0, 0],
        "vendor b": [0, 1, 0],
        "mpp": [0.25, 0.5, 0.75],
        "mpp unknown": [0, 1, 0],
    }


def test_traits_are_called_by_words() -> None:
    seen = [{"glass": {"red": 240.0, "red_sd": 2.0}, "file": {"objective_power": 20}}]
    names = ["glass: red", "glass: spread of red", "file: objective power"]
    assert list(tables.trait_table(seen, ("glass", "file"))) == names


def test_slides_of_one_patient_are_no_repeats() -> None:
    numbers, patients = pd.DataFrame({"x": [1.0, 3, 5, 9]}), pd.Series([1, 1, 1, 2])
    units, positive = chance.by_unit(numbers, patients, pd.Series([True, True, False, False]))
    assert units["x"].tolist() == [5, 2, 9] and positive.tolist() == [False, True, False]


@pytest.mark.slow
def test_too_few_patients_are_refused_in_words(tmp_path: Path) -> None:
    seen = planted(tmp_path, "tint", 1)
    few = [s for s in seen if s["slide"].endswith(("_2", "_3", "_4", "_9", "_10", "_11"))]
    answers, unasked = tables.ask(few, **OPTIONS)
    assert answers.empty and "too few patients, 3 and 3" in unasked["why"][0]
    answers, unasked = tables.ask([{**s, "tumour": True} for s in seen], **OPTIONS)
    every = f"every annotated slide ({len(seen)}) has tumour, and none without it is there to compare"
    assert answers.empty and unasked["why"][0] == every


@pytest.mark.slow
def test_a_site_that_goes_with_tumour_is_a_shortcut(tmp_path: Path) -> None:
    seen = [{**s, "site": "north" if s["tumour"] else "south"} for s in planted(tmp_path, "tint", 2)]
    answers, _ = tables.ask([{**s, "stain": s["glass"]} for s in seen], **OPTIONS)
    found = answers[answers["told"]]
    assert "sheet: cohort north" in set(found.loc[found["question"] == "tumour or none", "trait"])
    assert "cohort north or another" in set(found["question"])


def test_a_slide_that_was_turned_mirrored_and_scanned_anew_is_a_copy(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    images = [np.clip(painted(rng, bool(k % 2)), 0, 255).astype(np.uint8) for k in range(6)]
    again = cv2.resize(np.ascontiguousarray(np.rot90(images[2])[:, ::-1]), None, fx=0.8, fy=0.8)
    again = np.clip(again * 0.95 + rng.normal(0, 3, again.shape), 0, 255).astype(np.uint8)
    views = {str(k): signature(i, (i.min(axis=2) < 215)) for k, i in enumerate([*images, again])}
    pairs = copies(views, 0.97)
    assert pairs[["slide", "other"]].to_numpy().tolist() == [["2", "6"]]
    own = np.asarray(views["2"])
    assert likeness(own, own) == pytest.approx(1, abs=1e-3)
    seen: list[Mapping[str, Any]] = [
        {"slide": str(k), "split": "test" if k == 6 else "train", "patient": k} for k in range(7)
    ]
    assert tables.across(tables.leaking(pairs.head(0), seen)).empty
    assert tables.across(tables.leaking(pairs, seen))["splits"].tolist() == ["test and train"]


@pytest.mark.slow
def test_a_split_by_tile_remembers_patients_that_a_split_by_patient_does_not() -> None:
    rng = np.random.default_rng(0)
    rows = []
    for patient in range(12):
        shade = rng.normal(0, 40, 6)
        for _ in range(30):
            rows.append([patient % 2, *(120 + shade + rng.normal(0, 3, 6)), patient])
    tiles = pd.DataFrame(rows, columns=["label", *tables.COLOURS, "patient"])
    gap = tables.split_gap(tiles, seed=0)
    assert gap is not None and gap["by_tile"] > 0.99 and gap["by_patient"] < 0.8 and gap["patient"] > 0.95
    assert tables.split_gap(tiles[tiles["patient"] < 6], seed=0) is None


def test_a_classifier_of_brightness_moves_with_brightness_alone() -> None:
    rng = np.random.default_rng(1)
    tiles = np.stack(
        [np.full((8, 8, 3), v, np.uint8) + rng.integers(0, 5, (8, 8, 3), dtype=np.uint8) for v in (60, 198, 205, 230)]
    )
    answers = shifts.shifted(tiles, lambda pixels: (1 - pixels.mean((1, 2, 3)) / 255).astype(np.float32))
    moved = shifts.shift_table(answers, threshold=0.205).set_index("change")
    assert moved.loc["darker by 10 %", "tiles that change sides, %"] == 25
    assert moved.loc["out of focus (sigma 1 px)", "mean |Δp|"] < 0.01
    assert moved.loc["darker by 10 %", "outlined area, change in %"] == pytest.approx(100 / 2)


def test_a_classifier_that_does_not_see_tiles_as_they_are_is_refused() -> None:
    config = {"classifiers": {"a": {}, "b": {"stain_normalisation": {"method": "macenko"}}}}
    check({"classifier": "a"}, config)
    for name, said in (("b", "stain_normalisation"), ("c", "unknown classifier")):
        with pytest.raises(ConfigError, match=said):
            check({"classifier": name}, config)


@pytest.mark.slow
def test_the_target_writes_its_page(own_copy: Project) -> None:
    own_copy.config["study_settings"] = {"cohort_audit": {"classifier": "tone"}}
    done: Finished = own_copy.write().run("audit_cohort")
    assert done.status == 0, done.output
    folder = own_copy.results / "studies/cohort_audit"
    text = read_json(folder / "section.json")["html"]
    said = " ".join(text.split())
    assert "Shortcuts could not be looked for</strong>: every annotated slide (2) has tumour" in said
    assert "haematoxylin + 20 %" in text and "Questions that could not" not in text and "p-value" not in text
    assert (folder / "figures/traits.png").is_file()
