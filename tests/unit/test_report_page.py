"""The page of cohorts of other kinds: large, without annotations, with several runs; and in a browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from drunet.errors import FailedSlideError
from drunet.files import read_published, write_tsv
from drunet.outcome import write_outcome
from drunet.report import collect, overlay, page, tables
from drunet.report.tumour import read_tumour, tumour_per_patient, tumour_per_slide
from drunet.settings.export import Format
from drunet.tiles import write_mask
from drunet.tissue import METHODS
from drunet.uncertainty.appearance import NOT_MEASURED

EXPORTS = Path(__file__).parents[2] / "resources/exports.tsv"
NO_METRICS = pd.DataFrame(columns=["run", "slide", "patient_id", "split", "stage", "dsc", "iou"])
NO_TILES = pd.DataFrame(columns=["model", "slide", "split", "tiles", "precision", "recall", "f1", "auc"])
SETTINGS: dict[str, Any] = {
    "tissue": {"method": "gradient", "mpp": 8.0},
    "tiles": {"mpp": 1.25, "size": 224, "step": 112, "min_tissue": 0.25},
    "postprocess": {
        "threshold": 0.45, "smoothing_um": 48, "order": "opening_median", "opening_um": 24, "median_um": None,
        "opening_px": 7, "median_px": 11, "min_fragment_um2": 5300.0, "within_tissue": True,
    },
    "measure": {"mpp": 4.0, "threshold": 0.5, "bootstrap": 2000},
    "models": {
        "fused": {
            "weights": "imagenet", "loss": {"name": "focal"}, "data": {"annotation_kinds": ["psa"]},
            "training": {"optimiser": "adamax", "learning_rate": 0.0003, "batch_size": 17, "epochs": 41,
                         "keep": "best_f1"},
            "augment": {"flip": True, "quarter_turns": False, "multi_lens": None, "hue": None, "contrast": None,
                        "saturation": None, "brightness": None},
        },
        "given": {"onnx": "/srv/somebody/secret.onnx", "mpp": 6.5},
    },
}  # fmt: skip
MODELS = [
    {
        "name": "fused",
        "architecture": "dr_fused",
        "parameters": 13179330,
        "learnt from": "12 slides",
        "sha256": "ab" * 32,
    },
    {"name": "given", "architecture": "finished", "parameters": None, "learnt from": "not known", "sha256": "cd" * 32},
]


def a_cohort(count: int, **columns: Any) -> pd.DataFrame:
    facts = {"split": "", "annotation_kind": "", "annotation_origin": "", "status": "ok", "reason": "", "mend": ""}
    return pd.DataFrame({"slide_id": [f"s{i:03}" for i in range(count)]}).assign(**(facts | columns))


def tumour_of(slides: pd.DataFrame, mm2: list[float]) -> pd.DataFrame:
    """A table as of `tumour_per_slide`: NaN has no result; two slides are of one patient."""
    area = np.array(mm2)
    tumour = np.where(np.isnan(area), "unknown", np.where(area > 0, "yes", "no"))
    table = pd.DataFrame({"slide": slides["slide_id"], "patient": np.arange(len(slides)) // 2 + 1, "split": ""})
    return table.assign(status=slides["status"], tumour=tumour, tumour_mm2=area, tissue_mm2=10.0, share=area / 10)


def textured(folder: Path, side: int) -> Path:
    """A picture with as much detail as tissue has."""
    noise = np.random.default_rng(5).integers(90, 230, (side // 4, side // 4, 3), dtype=np.uint8)
    Image.fromarray(cv2.resize(noise, (side, side), interpolation=cv2.INTER_CUBIC)).save(folder / "tissue.jpg")
    return folder / "tissue.jpg"


def words_of(path: Path) -> str:
    html = re.sub(r"<style.*?</style>|<[^>]+>", " ", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    # Thin spaces stand within numbers.
    return " ".join(unescape(html).replace("\u202f", "").split())


# --- tumour of slides and patients


def test_tumour_of_slides_and_patients_is_counted_in_mm2(tmp_path: Path) -> None:
    """By hand: 4,000 x 2,000 px of 0.5 µm are 2 mm²; of tissue on the left half, a quarter of it tumour."""
    slides = a_cohort(5, width=4000.0, height=2000.0, mpp=0.5, status=["ok", "ok", "ok", "ok", "no_tissue"])
    tissue, tumour, outside = np.zeros((100, 200), bool), np.zeros((40, 80), bool), np.zeros((40, 80), bool)
    tissue[:, :100] = True
    tumour[:20, :20] = True
    outside[:20, 30:50] = True
    masks = {}
    for name, mask in (("s000", tumour), ("s001", outside), ("s002", np.zeros((40, 80), bool))):
        masks[name] = str(tmp_path / f"{name}.png"), str(tmp_path / "tissue.png")
        write_mask(masks[name][0], mask)
    write_mask(tmp_path / "tissue.png", tissue)
    failure = FailedSlideError("gone", stage="postprocess", status="unreadable", where="s003", mend="Mend it.")
    write_outcome([tmp_path / "s003.png"], failure)
    masks["s003"] = str(tmp_path / "s003.png"), str(tmp_path / "tissue.png")
    patients = {"s000": 1, "s001": 1, "s002": 2, "s003": 2, "s004": 3}
    table = tumour_per_slide(slides, patients, masks, {"s003": "unreadable"}).set_index("slide")
    assert table["tumour"].tolist() == ["yes", "yes", "no", "unknown", "unknown"]
    assert table["status"].tolist() == ["ok", "ok", "ok", "unreadable", "no_tissue"]
    np.testing.assert_allclose(table["tumour_mm2"], [0.25, 0.25, 0, np.nan, np.nan])
    np.testing.assert_allclose(table["tissue_mm2"], [1, 1, 1, np.nan, np.nan])
    np.testing.assert_allclose(table["share"], [0.25, 0.125, 0, np.nan, np.nan])  # half of the second lies on glass
    people = tumour_per_patient(table.reset_index()).set_index("patient")
    # The second has a slide without tumour and one that nobody knows of.
    assert people["tumour"].tolist() == ["yes", "unknown", "unknown"]
    assert people[["slides", "segmented"]].to_numpy().tolist() == [[2, 2], [2, 1], [1, 0]]
    np.testing.assert_allclose(people["tumour_mm2"], [0.5, 0, np.nan])
    np.testing.assert_allclose(people["share"], [0.375 / 2, 0, np.nan])
    assert people["slide_ids"].tolist() == ["s000, s001", "s002, s003", "s004"]


def test_a_patients_share_goes_by_the_tissue_of_each_slide() -> None:
    table = tumour_of(a_cohort(2), [1.0, 0.0]).assign(tissue_mm2=[2.0, 6.0], share=[0.5, 0.0])
    assert tumour_per_patient(table)["share"].tolist() == [pytest.approx(1 / 8)]


def test_tumour_comes_back_as_it_went_whatever_slides_are_called(tmp_path: Path) -> None:
    table = tumour_of(a_cohort(3), [1.5, 0.0, np.nan]).assign(slide=["NA", "007", "null"])
    write_tsv(table, tmp_path / "tumour.tsv")
    pd.testing.assert_frame_equal(read_tumour(tmp_path / "tumour.tsv"), table, check_dtype=False)


# --- the first screen


def test_a_cohort_without_annotations_is_told_where_tumour_is(tmp_path: Path) -> None:
    slides = a_cohort(6, status=["ok"] * 5 + ["unreadable"], mend=[""] * 5 + ["Copy it again, <or> set `mpp`."])
    tumour = {"drunet": tumour_of(slides, [2.0, 4.0, 0.0, 0.0, 0.0, np.nan])}
    page.write_page(tmp_path / "page.html", page.ReportInputs("T", slides, NO_METRICS, NO_TILES, tumour=tumour))
    words = words_of(tmp_path / "page.html")
    assert "Tumour was found on 2 of 5 segmented slides and in 1 of 2 patients; of the tissue it takes 30%" in words
    assert "For 1 patient this is open" in words
    assert "counts as Dice" not in words
    first = words[: words.index("Yes: something was left")]
    assert "1 slide unreadable : s005" in first and "To do: Copy it again, <or> set mpp ." in first
    assert "&lt;or&gt; set <code>mpp</code>." in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "1 yes 6.00 30% 20.00 2 2 s000, s001" in words
    assert "3 unknown 0.00 0% 10.00 2 1 s004, s005" in words


def test_a_cohort_without_a_usable_slide_is_not_called_free_of_tumour(tmp_path: Path) -> None:
    slides = a_cohort(2, status="unreadable")
    tumour = {"drunet": tumour_of(slides, [np.nan, np.nan])}
    page.write_page(tmp_path / "page.html", page.ReportInputs("T", slides, NO_METRICS, NO_TILES, tumour=tumour))
    words = words_of(tmp_path / "page.html")
    assert "No slide could be segmented." in words and "0 / 0" not in words and "was found on" not in words


def test_what_failed_for_one_reason_is_told_once(tmp_path: Path) -> None:
    slides = a_cohort(9, status=["no_tissue"] * 8 + ["ok"], mend=["Look at it."] * 8 + [""], reason="glass")
    page.write_page(tmp_path / "page.html", page.ReportInputs("T", slides, NO_METRICS, NO_TILES))
    words = words_of(tmp_path / "page.html")
    first = words[: words.index("Nothing was measured")]
    assert first.count("Look at it.") == 1
    assert "8 slides no tissue : s000, s001, s002, s003, s004 and 3 more" in first


def test_runs_are_compared_best_first_on_the_first_screen(tmp_path: Path) -> None:
    slides = a_cohort(4, split="test", annotation_kind="wta")
    rows = [
        {"run": run, "slide": s, "patient_id": s, "split": "test", "stage": "segmentation", "dsc": dice, "iou": 0.5}
        for run, dice in (("plain", 0.61), ("wide", 0.83))
        for s in slides["slide_id"]
    ]
    tumour = {"plain": tumour_of(slides, [1.0, 1, 0, 0]), "wide": tumour_of(slides, [1.0, 1, 1, 0])}
    runs = {"plain": {"classifier": "a", "refiner": None}, "wide": {"classifier": "b", "refiner": "unet"}}
    inputs = page.ReportInputs("T", slides, pd.DataFrame(rows), NO_TILES, tumour=tumour, runs=runs, resamples=50)
    page.write_page(tmp_path / "page.html", inputs)
    words = words_of(tmp_path / "page.html")
    first = words[: words.index("Yes: something was left")]
    assert re.search(
        r"wide 0\.83 0\.83 to 0\.83 3 / 4 2 / 2 b unet plain 0\.61 0\.61 to 0\.61 2 / 4 1 / 2 a none", first
    )
    assert "In the run wide tumour was found on 3 of 4" in first


# --- methods, times


def test_the_methods_have_the_runs_own_numbers_and_cite_what_was_used(tmp_path: Path) -> None:
    runs = {"drunet": {"classifier": "fused", "refiner": "given"}}
    inputs = page.ReportInputs("T", a_cohort(3), NO_METRICS, NO_TILES, models=MODELS, runs=runs, settings=SETTINGS)
    page.write_page(tmp_path / "page.html", inputs)
    words = words_of(tmp_path / "page.html")
    text = words[words.index("Whole-slide images were processed") :]
    for told in (
        "3 of 3 slides could be used", "224 × 224 px at 1.25 µm/px, one every 112 px", "less than 25% tissue",
        "trained on 12 slides with partial annotations", "(13179330 parameters)", "minimised focal loss with Adamax",
        "started from weights learnt on ImageNet", "(learning rate 0.0003, batches of 17) for at most 41 epochs",
        "the weights of the epoch with the highest F1", "augmented by flips.", "smaller than 5300 µm²",
        "given was taken as a finished ONNX file (SHA-256 cdcdcdcdcdcd)", "windows of the slide at 6.5 µm/px",
        "with a sigma of 48 µm", "probability of at least 0.45", "an opening of 24 µm and a median filter of 11 px",
        "doi:10.3390/jimaging11050166", "doi:10.1109/CVPR.2017.243",
    ):  # fmt: skip
        assert told in text, told
    # Neither measured nor of these architectures.
    assert not re.search("Hausdorff|U-Net: convolutional|H2G-Net|multi-lens distortion \\(Osk", text)
    assert "somebody" not in words
    cited = set(re.findall(r"([A-Z]\w+) et al\. \(?(\d{4})", text))
    assert len(cited) >= 4
    for author, year in cited:
        assert re.search(rf"{author} [A-Z]+,.*?{year}", text[text.index("References") :]), author


@pytest.mark.parametrize("method", [*METHODS, "a_new_one"])
def test_each_way_to_find_tissue_is_told_in_words_and_a_new_one_by_its_name(tmp_path: Path, method: str) -> None:
    settings = {**SETTINGS, "tissue": {**SETTINGS["tissue"], "method": method}}
    page.write_page(
        tmp_path / "page.html", page.ReportInputs("T", a_cohort(1), NO_METRICS, NO_TILES, settings=settings)
    )
    told = re.search(r"Tissue was found at \S+ µm/px by ([^.]+)\.", words_of(tmp_path / "page.html"))
    assert told and told[1].startswith("the method ") == (method not in METHODS)


def test_calibration_is_told_before_and_after_with_who_judged(tmp_path: Path) -> None:
    judged = {"nll": 0.4, "ece": 0.1234, "reliability": [{"predicted": 0.7, "observed": 0.5, "tiles": 9}]}
    val = {"tiles": 9, "slides": 2, "patients": 1, "apart": False, "before": judged, "after": {**judged, "ece": 0.0321}}
    facts = {
        "net": {"temperature": 1.75, "bins": 15, "splits": {"val": val}},
        "sure": {"temperature": None, "bins": 15, "splits": {"test": {**val, "apart": True, "after": None}}},
    }
    inputs = page.ReportInputs("T", a_cohort(1), NO_METRICS, NO_TILES, calibrations=facts)
    page.write_page(tmp_path / "page.html", inputs)
    words = words_of(tmp_path / "page.html")
    assert "net validation 1.750 9 2 1 0.123 0.032 the same tiles" in words
    assert "sure test – 9 2 1 0.123 – other patients" in words and "determine no temperature" in words
    assert "does harm" not in words
    worse = {**facts["net"], "splits": {"val": val, "test": {**val, "after": {**judged, "ece": 0.1235}}}}
    page.write_page(tmp_path / "page.html", replace(inputs, calibrations={"net": worse}))
    assert "larger after than before, the temperature does harm: leave export.calibrated off" in words_of(
        tmp_path / "page.html"
    )


def test_exports_of_the_run_are_told_with_who_reads_them(tmp_path: Path) -> None:
    formats = read_published(EXPORTS).query("format in ['ome_tiff', 'pictures']")
    page.write_page(tmp_path / "page.html", page.ReportInputs("T", a_cohort(1), NO_METRICS, NO_TILES, formats=formats))
    words = words_of(tmp_path / "page.html")
    assert "OpenSlide, tifffile; ome-types for the schema same pixels and µm/px" in words and "QuPath" not in words


def test_every_format_has_its_reader_and_docs_say_the_same() -> None:
    kept = {row[0]: tuple(row[1:]) for row in read_published(EXPORTS).itertuples(index=False)}
    assert set(kept) == set(get_args(Format))
    text = (EXPORTS.parents[1] / "docs/exports.md").read_text(encoding="utf-8").replace("`", "")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:2] == "| "]
    assert {row[0]: tuple(row[2:]) for row in rows if row[0] != "format"} == kept


def test_time_and_memory_are_told_per_stage(tmp_path: Path) -> None:
    lines = {"tiles/a": "2.5\t120.5", "tiles/b": "7.5\t-", "train/net": "90\t2222.2", "list": "0.1\tNA"}
    for name, line in lines.items():
        (tmp_path / f"{name}.tsv").parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.tsv").write_text(f"s\tmax_rss\n{line}\n")
    times = tables.times_table(collect.run_times(tmp_path)).set_index("stage")
    assert times.index.tolist() == ["train", "tiles", "list"]
    assert times.loc["tiles"].tolist() == [2, 10.0, 5.0, 7.5, 120.5]
    assert np.isnan(times.loc["list", "memory_mb"])


# --- many slides, and a browser


@pytest.mark.slow
def test_a_page_of_100_slides_with_pictures_can_be_mailed(tmp_path: Path) -> None:
    picture, slides = textured(tmp_path, 420), a_cohort(100)
    overlays = [page.OverlayEntry(s, "drunet", picture, picture) for s in slides["slide_id"]]
    tumour = {"drunet": tumour_of(slides, [1.0] * 100)}
    inputs = page.ReportInputs("T", slides, NO_METRICS, NO_TILES, overlays=overlays, tumour=tumour)
    page.write_page(tmp_path / "page.html", inputs)
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert html.count("data:image/jpeg") == 200
    # Nearly as large as it may be, so that the pictures show what they can.
    assert 9e6 < (tmp_path / "page.html").stat().st_size <= 15e6
    assert not (tmp_path / page.PICTURES).exists()


def test_pictures_of_too_many_slides_stand_beside_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "LARGEST_PAGE", 300_000)
    picture, slides = textured(tmp_path, 200), a_cohort(8)
    overlays = [page.OverlayEntry(s, "drunet", picture, picture) for s in slides["slide_id"][1:]]
    exif = Image.Exif()
    exif[0x010E] = "Jane Doe"
    Image.open(picture).save(tmp_path / "named.jpg", exif=exif)
    overlays.insert(0, page.OverlayEntry("s000", "drunet", tmp_path / "named.jpg", picture))
    page.write_page(tmp_path / "page.html", page.ReportInputs("T", slides, NO_METRICS, NO_TILES, overlays=overlays))
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    linked = re.findall(r'<img src="([^"]+)"', html)
    assert len(linked) == 16 and "data:image" not in html and "'self'" in html
    for address in linked:
        with Image.open(tmp_path / address) as shown:
            assert shown.size == (200, 200)
    # As they are, but for one that says more than its pixels.
    contents = [(tmp_path / address).read_bytes() for address in linked]
    assert b"Jane" not in contents[0] and set(contents[1:]) == {picture.read_bytes()}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, where there is one."""
    playwright = pytest.importorskip("playwright.sync_api")
    path = next((p for p in ("/usr/bin/chromium", "/usr/bin/chromium-browser") if Path(p).is_file()), None)
    if path is None:
        pytest.skip("no Chromium on this machine")
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.slow
def test_cards_are_filtered_and_sorted_without_a_script(
    browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, beside: bool
) -> None:
    if beside:
        monkeypatch.setattr(page, "LARGEST_PAGE", 100)
    picture = textured(tmp_path, 200)
    slides = a_cohort(4, split=["test", "train", "test", "test"], status=["ok", "ok", "ok", "unreadable"])
    names = slides["slide_id"][:3]
    rows = [{"run": "r", "slide": s, "patient_id": s, "stage": "segmentation", "iou": 0.5} for s in names]
    metrics = pd.DataFrame(rows).assign(split=["test", "train", "test"], dsc=[0.9, 0.4, 0.7])
    overlays = [page.OverlayEntry(s, "r", picture, picture) for s in names]
    tumour = {"r": tumour_of(slides, [1.0, 0.0, 3.0, np.nan])}
    inputs = page.ReportInputs("T", slides, metrics, NO_TILES, overlays=overlays, tumour=tumour, resamples=50)
    page.write_page(tmp_path / "page.html", inputs)
    said: list[str] = []
    for dark in (False, True):
        seen = browser.new_page(color_scheme="dark" if dark else "light", viewport={"width": 390, "height": 800})
        seen.on("console", lambda message: said.append(message.text))
        seen.goto((tmp_path / "page.html").as_uri())
        assert seen.evaluate("document.documentElement.scrollWidth") <= 390
        seen.evaluate("for (const picture of document.images) picture.loading = 'eager'")
        seen.wait_for_function("[...document.images].every(i => i.complete && i.naturalWidth > 0)", timeout=5000)
        paper = seen.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", paper))) < 200) == dark
        assert shown(seen) == ["s000", "s002", "s001", "s003"]
        assert chosen(seen, "lowest Dice") == ["s001", "s002", "s000", "s003"]
        assert chosen(seen, "most tumour") == ["s002", "s000", "s001", "s003"]
        assert chosen(seen, "tumour 2") == ["s002", "s000"]
        assert chosen(seen, "left out 1") == ["s003"]
        assert chosen(seen, "all 4") == ["s002", "s000", "s001", "s003"]
        assert chosen(seen, "training") == ["s001"]
        seen.close()
    assert said == []


def shown(seen: Any) -> list[str]:
    """Names of the visible cards, from top to bottom."""
    script = "cards => cards.map(card => [card.offsetTop, card.innerText, card.offsetHeight])"
    cards = seen.eval_on_selector_all(".card", script)
    return [text.split()[0] for _, text, height in sorted(cards) if height]


def chosen(seen: Any, words: str) -> list[str]:
    """What is shown once a choice was clicked."""
    seen.locator(".choices label", has_text=re.compile(f"^{words}")).first.click()
    return shown(seen)


# Machado, Oliveira and Fernandes 2009, severity 1: linear RGB as who lacks one kind of cone sees it.
BLIND = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}


@pytest.mark.parametrize("kind", BLIND)
@pytest.mark.slow
def test_colours_of_a_segmentation_differ_for_colour_blind_readers(kind: str) -> None:
    colours = np.array([colour for _, colour in (*overlay.TRUTH_LEGEND, *overlay.NO_TRUTH_LEGEND)]) / 255
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.array(BLIND[kind]).T, 0, 1)
    shown = np.where(seen <= 0.0031308, seen * 12.92, 1.055 * seen ** (1 / 2.4) - 0.055)
    lab = cv2.cvtColor(shown[None].astype(np.float32), cv2.COLOR_RGB2LAB)[0]
    apart = np.linalg.norm(lab[:, None] - lab, axis=2)[np.triu_indices(len(lab), 1)]
    assert apart.min() > 20  # 2 is what an eye just tells apart, side by side


def test_the_page_says_which_slides_are_bad_unlike_or_without_a_bound(tmp_path: Path) -> None:
    slides = a_cohort(3)
    names = list(slides["slide_id"])
    looks = pd.DataFrame({
        "slide_id": names, "blurred": [0.2, 0.0, 0.0], "folded": 0.0, "pen": 0.0, "unknown_tiles": [7, 0, 0],
        "quality": ["20% out of focus", "good", "good"], "appearance": ["like", "unlike", "like"],
        "unlike_in": ["", "grain -", ""], "bound": ["", "withdrawn: x", ""],
    })  # fmt: skip
    bound = {"run": "r", "kind": "bound", "alpha": 0.1, "patients": 9, "refused": "", "threshold": 0.2, "share": 0.05,
             "before": 0.2, "left_out": None, "slides_without_result": 0}  # fmt: skip
    tumour, runs = {"r": tumour_of(slides, [1.0, 0.0, 2.0])}, {"r": {"classifier": "c"}}
    more = {"tumour": tumour, "looks": {"r": looks}, "runs": runs, "known": {"c": 12}, "bounds": [bound]}
    given = page.ReportInputs("T", slides, NO_METRICS, NO_TILES, **more)
    page.write_page(tmp_path / "page.html", given)
    text = " ".join(re.sub(r"<[^>]+>", "", (tmp_path / "page.html").read_text(encoding="utf-8")).split())
    assert "1 of 3 slides has such faults in at least a twentieth of the tiles. 7 tiles were set aside" in text
    assert "excluded. 1 of 3 slides is unlike the 12 that c learnt from. Of slides that are like them, up to 8" in text
    assert f"1 slide looks unlike those that the classifier learnt from: {names[1]}. Trust" in text
    assert "less there; of slides like those up to 8" in text
    assert f"Withdrawn for 1 slide unlike those that the classifier learnt from: {names[1]}." in text
    given.known.clear()
    page.write_page(tmp_path / "page.html", given)
    page_now = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "it is withdrawn for none" in page_now and "excluded. Whether they are like" in page_now
    # As of a cascade, or of a head on an encoder.
    blank = {"blurred": np.nan, "folded": np.nan, "pen": np.nan, "unknown_tiles": 0, "quality": "", "bound": ""}
    given.looks["r"] = looks.assign(**blank, appearance="cannot tell", unlike_in=NOT_MEASURED)
    page.write_page(tmp_path / "page.html", given)
    page_now = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Nothing of this was measured" in page_now and "0 of 0" not in page_now and NOT_MEASURED in page_now
    assert "it is withdrawn for none" in page_now and "nor which are unlike those that c learnt from" in page_now
