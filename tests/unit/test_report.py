"""Figures, tables and the page, looked at as artists, numbers and parsed HTML."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from markupsafe import Markup
from PIL import Image

from drunet.errors import FailedSlideError
from drunet.files import read_published, write_json, write_tsv
from drunet.metrics import summarise
from drunet.outcome import write_outcome
from drunet.report import collect, figures, page, tables, words
from drunet.report.comparison import PUBLISHED, experiments_table

PAPERS = {path.stem: read_published(path) for path in (Path(__file__).parents[2] / "resources/published").glob("*.tsv")}
HOSTILE = "<script>alert('x')</script>"
UNMEASURED = pd.DataFrame(columns=["run", "slide", "split", "stage", "dsc", "recall"])


def make_slides() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "slide_id": ["A1", "A2", "B1", "C1", "D1"],
            "patient_id": ["a", "a", "b", "c", "d"],
            "split": ["test", "test", "test", "train", ""],
            "annotation_kind": ["wta", "wta", "wta", "psa", ""],
            "status": ["ok", "ok", "ok", "ok", "resolution_missing"],
            "width": [23241.0, 1000, 1000, 1000, np.nan],
            "height": [21754.0, 1000, 1000, 1000, np.nan],
            "mpp": [0.25, 0.25, 0.25, 0.25, np.nan],
            "reason": ["", "", "", "", f"no resolution {HOSTILE}"],
            "mend": ["", "", "", "", "add a column mpp"],
        }
    )


def make_metrics() -> pd.DataFrame:
    slides = [("A1", "a", "test"), ("A2", "a", "test"), ("B1", "b", "test"), ("C1", "c", "train")]
    base = {"A1": 0.5, "A2": 0.6, "B1": 0.7, "C1": 0.9}
    gain = {"segmentation": 0.08, "heatmap": 0.0, "refined": 0.05}  # out of order on purpose
    rows = []
    for slide, patient, split in slides:
        for stage, more in gain.items():
            dsc = base[slide] + more
            row = {"run": "drunet", "slide": slide, "patient_id": patient, "split": split, "stage": stage, "dsc": dsc}
            distance = np.nan if slide == "C1" else 1200.0
            rows.append(row | {"iou": dsc / (2 - dsc), "hd_um": distance, "hd95_um": distance, "precision": dsc})
    return pd.DataFrame(rows).assign(recall=0.5)


def make_inputs(folder: Path) -> page.ReportInputs:
    picture = folder / "picture.png"
    Image.new("RGB", (1500, 900), (10, 200, 30)).save(picture)
    tile_metrics = pd.DataFrame(
        [
            {
                "model": "dr_fused",
                "slide": "A1",
                "split": "test",
                "tiles": 1234,
                "precision": 0.5,
                "recall": 1.0,
                "f1": 0.66,
            }
        ]
    ).assign(auc=np.nan)
    history = pd.DataFrame({"epoch": [1, 2, 3], "loss": [3.0, 2, 1], "val_loss": [3.0, 1, 2], "seconds": [1.0, 1, 1]})
    return page.ReportInputs(
        title=f"Lung & {HOSTILE}",
        slides=make_slides(),
        metrics=make_metrics(),
        tile_metrics=tile_metrics,
        overlays=[
            page.OverlayEntry("C1", "drunet", picture, picture),
            page.OverlayEntry("A1", "drunet", picture, None),
        ],
        histories={"dr_fused": history},
        runtimes=pd.DataFrame(
            {"stage": ["tissue", "tissue", "train"], "slide": ["A1", "A2", ""], "seconds": [2.0, 4, 90]}
        ),
        models=[
            {
                "name": "dr_fused",
                "architecture": "dr_fused",
                "parameters": 13179330,
                "parity": 3e-6,
                "sha256": "ab" * 32,
            }
        ],
        versions={"keras": "3.15.1"},
        published=PAPERS,
        notes=[f"A note {HOSTILE}"],
        runs={"drunet": {"classifier": "dr_fused", "refiner": "unet"}},
        resamples=200,
    )


def test_a_slide_keeps_a_name_that_tables_take_for_nothing(tmp_path: Path) -> None:
    names = ["NA", "null", "007", "A1"]
    table = pd.DataFrame({"slide": names, "split": ["test", "test", "", "test"], "dsc": [0.5, np.nan, 0.7, 0.8]})
    write_tsv(table, tmp_path / "metrics.tsv")
    measured = [{"slide": name, "patient": number} for number, name in enumerate(names)]
    read = collect.read_metrics({"drunet": str(tmp_path / "metrics.tsv")}, measured)
    assert read["slide"].tolist() == names
    assert read["patient_id"].tolist() == [0, 1, 2, 3]
    assert tables.splits_of(read).tolist() == ["test", "test", "", "test"]
    assert read["dsc"].isna().tolist() == [False, True, False, False]


@pytest.fixture
def slides() -> pd.DataFrame:
    return make_slides()


@pytest.fixture
def metrics() -> pd.DataFrame:
    return make_metrics()


@pytest.fixture
def inputs(tmp_path: Path) -> page.ReportInputs:
    return make_inputs(tmp_path)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One page, written once, that several tests read."""
    folder = tmp_path_factory.mktemp("report")
    page.write_page(folder / "report.html", make_inputs(folder))
    return folder / "report.html"


class Reader(HTMLParser):
    """Collects what a browser would: open tags, addresses, words."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.targets: list[str] = []
        self.ids: set[str] = set()
        self.words = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        named = {key: value or "" for key, value in attrs}
        self.addresses += [named[key] for key in ("src", "srcset", "data") if key in named]
        self.targets += [named["href"]] if "href" in named else []
        self.ids |= {named["id"]} if "id" in named else set()
        if tag not in {"meta", "img", "br", "input"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"unbalanced </{tag}>"

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.words += f" {data}"


def read(path: Path) -> Reader:
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    assert reader.open == []
    reader.words = re.sub(r"\s+", " ", reader.words)
    return reader


# --- figures


def test_the_box_plot_draws_every_slide_and_the_medians(metrics: pd.DataFrame) -> None:
    test = metrics[metrics["split"] == "test"]
    axes = figures.box_plot(test).axes[0]
    drawn = np.concatenate([np.asarray(c.get_offsets())[:, 0] for c in axes.collections])
    assert sorted(drawn) == pytest.approx(sorted(test["dsc"]))
    medians = [line.get_xdata()[0] for line in axes.lines if line.get_linewidth() > 2]
    assert medians == pytest.approx([0.6, 0.65, 0.68])  # heatmap, refined, segmentation: in order, whatever the rows'


def test_a_box_plot_of_nothing_says_so(metrics: pd.DataFrame) -> None:
    axes = figures.box_plot(metrics[metrics["slide"] == "C1"], "hd_um").axes[0]
    assert "no slide" in axes.texts[0].get_text()


def test_training_curves_mark_the_epoch_that_was_kept(inputs: page.ReportInputs) -> None:
    figure = figures.training_curves(inputs.histories["dr_fused"], "dr_fused")
    assert len(figure.axes) == 1  # loss alone: seconds are no curve
    by_label = {line.get_label(): line for line in figure.axes[0].lines}
    assert list(by_label["validation"].get_ydata()) == [3.0, 1.0, 2.0]
    assert figure.axes[0].lines[-1].get_xdata()[0] == 2
    figure = figures.training_curves(inputs.histories["dr_fused"], "dr_fused", "last")
    assert figure.axes[0].lines[-1].get_xdata()[0] == 3


def test_the_epoch_that_was_kept_follows_the_setting() -> None:
    history = pd.DataFrame({"loss": [3, 2, 1, 1], "val_loss": [3, 1, 2, 2], "val_f1": [0.1, 0.2, 0.4, 0.3], "f1": 0.5})
    assert figures.kept_epoch(history) == (1, "val_loss")
    assert figures.kept_epoch(history, "best_f1") == (2, "val_f1")
    assert figures.kept_epoch(history[["loss"]]) == (2, "loss")
    assert figures.kept_epoch(history, "last") == (3, "")


def test_run_times_are_summed_per_stage(inputs: page.ReportInputs) -> None:
    axes = figures.runtime_bars(inputs.runtimes).axes[0]
    assert [patch.get_width() for patch in axes.patches] == pytest.approx([90.0, 6.0])
    assert "2 jobs, median 3.0 s" in axes.texts[1].get_text()


def test_the_roc_curve_leaves_unlabelled_and_unreadable_tiles_out() -> None:
    tiles = pd.DataFrame({"p_tumour": [0.9, 0.2, 0.8, np.nan, 0.5], "label": [1, 0, 0, 1, -1]})
    axes = figures.roc_curve({"m": tiles, "one class": tiles.assign(label=1)}).axes[0]
    labels = axes.get_legend_handles_labels()[1]
    assert labels == ["m  (AUC 1.000, 3 tiles)"]


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_a_figure_is_saved_whole_and_the_same_twice(suffix: str, metrics: pd.DataFrame, tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}.{suffix}" for i in range(2)]
    before = dict(matplotlib.rcParams)
    for path in paths:
        figures.save(figures.box_plot(metrics), path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert dict(matplotlib.rcParams) == before
    assert {p.name for p in tmp_path.iterdir()} == {p.name for p in paths}
    if suffix == "png":
        with Image.open(paths[0]) as picture:
            assert picture.width == round(figures.WIDTH * 150)


# --- tables


def test_the_summary_averages_per_run_split_and_stage(metrics: pd.DataFrame) -> None:
    summary = tables.summary_table(metrics, resamples=300, seed=7)
    assert list(summary["split"]) == ["test"] * 3 + ["train"] * 3
    assert list(summary["stage"][:3]) == ["heatmap", "refined", "segmentation"]
    grouped = metrics.groupby(["split", "stage"])["dsc"]
    for _, row in summary.iterrows():
        here = grouped.get_group((row["split"], row["stage"]))
        assert (row["mean"], row["median"], row["n"]) == pytest.approx((here.mean(), here.median(), len(here)))
    expected = summarise([0.5, 0.6, 0.7], ["a", "a", "b"], resamples=300, seed=7)
    assert (summary.loc[0, "low"], summary.loc[0, "high"]) == pytest.approx((expected.low, expected.high))


def test_slides_without_a_split_are_summarised_too(metrics: pd.DataFrame) -> None:
    summary = tables.summary_table(metrics.assign(split=np.nan), resamples=10, seed=0)
    assert list(summary["n"]) == [4, 4, 4] and set(summary["split"]) == {""}


def test_a_summary_without_its_columns_is_refused() -> None:
    with pytest.raises(ValueError, match="lacks run, slide"):
        tables.summary_table(pd.DataFrame({"dsc": [1.0]}), resamples=10, seed=0)


def test_tsv_comes_back_as_it_went(metrics: pd.DataFrame, tmp_path: Path) -> None:
    write_tsv(metrics, tmp_path / "metrics.tsv")
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "metrics.tsv", sep="\t"), metrics, check_dtype=False)


def test_html_cells_and_headings_are_escaped() -> None:
    frame = pd.DataFrame({"a": [HOSTILE], "g": [HOSTILE]})
    html = tables.html_table(frame, [tables.Column("a", HOSTILE)], caption=HOSTILE, group="g")
    assert "<script" not in html and html.count("&lt;script&gt;") == 4


def test_keys_in_cells_are_set_as_code_and_html_is_left_as_it_is() -> None:
    frame = pd.DataFrame({"a": ["set `mpp` (<1)"], "b": [1]})
    shown = [tables.Column("a", "A"), tables.Column("b", "B", lambda _: Markup("<b>1</b>"))]
    assert "<td>set <code>mpp</code> (&lt;1)</td><td><b>1</b></td>" in tables.html_table(frame, shown)


@pytest.mark.parametrize(
    ("value", "shown"), [(0.4, "0.4 s"), (59.4, "59 s"), (200, "3 min 20 s"), (7500, "2 h 05 min"), (np.nan, "–")]
)
def test_durations_are_readable(value: float, shown: str) -> None:
    assert words.duration(value) == shown


def test_published_figures_keep_their_digits() -> None:
    assert {"drunet_experiments", "drunet_multi_lens", "drunet_backbones", "drunet_facts"} <= set(PAPERS)
    backbones = PAPERS["drunet_backbones"].set_index("architecture")
    assert backbones.loc["InceptionV3", "f1"] == "0.90"
    assert PAPERS["drunet_experiments"].set_index("experiment").loc["X", "dsc_mean"] == "0.91"


def test_runs_stand_above_the_papers_with_what_refines_them() -> None:
    """Of VIII and IX the paper names no refiner, which is not the same as none."""
    dsc = pd.DataFrame({"run": ["a", "b", "c"], "stage": "segmentation", "mean": 0.5, "median": 0.5})
    runs = {"a": {"classifier": "x", "refiner": "unet"}, "b": {"classifier": "x", "refiner": None}}
    runs["c"] = {**runs["b"], "clustering": {}}
    table = experiments_table(PAPERS["drunet_experiments"], dsc=dsc, iou=dsc, runs=runs).set_index("name")
    assert table.loc[["a", "b", "c"], "refiner"].tolist() == ["unet", "none", "clustering"]
    assert table.loc["X", "refiner"] == "drunet_unet, Bergen (WTA)" and "VIII" not in table.index
    few = PAPERS["drunet_experiments"].set_index("experiment").loc[["VIII", "IX"], ["refiner", "refiner_data"]]
    assert (few == "").all(axis=None)


# --- what the page says first


def verdict(slides: pd.DataFrame, metrics: pd.DataFrame, folder: Path) -> str:
    """The page's first paragraph."""
    tiles = pd.DataFrame(columns=["model", "slide"])
    page.write_page(folder / "page.html", page.ReportInputs("T", slides, metrics, tiles, resamples=200))
    html = (folder / "page.html").read_text(encoding="utf-8")
    found = re.search(r'<p class="verdict">(.*?)</p>', html, re.DOTALL)
    assert found is not None
    return " ".join(found[1].replace("&nbsp;", " ").split())


def test_the_verdict_names_slides_left_out_and_the_test_slides_dice(
    slides: pd.DataFrame, metrics: pd.DataFrame, tmp_path: Path
) -> None:
    said = verdict(slides, metrics, tmp_path)
    summary = tables.summary_table(metrics, resamples=200, seed=0)
    bounds = [f"{row.low:.2f} to {row.high:.2f}" for row in summary[:3].itertuples()]
    assert said == (
        "4 of 5 slides could be used; 1 was left out (1 resolution missing). Over 3 test slides of 2 patients, drunet "
        f"reaches a mean Dice of 0.60 (95 % interval {bounds[0]}) for the stitched heatmap, 0.65 ({bounds[1]}) after "
        f"refinement and 0.68 ({bounds[2]}) after post-processing. With 2 patients an interval is itself uncertain, "
        "and rather too narrow."
    )


def test_figures_of_training_slides_are_not_passed_off_as_a_test(
    slides: pd.DataFrame, metrics: pd.DataFrame, tmp_path: Path
) -> None:
    said = verdict(slides.assign(status="ok"), metrics[metrics["split"] == "train"], tmp_path)
    assert said.startswith("All 5 slides could be used. There is no measured test slide: the models learnt from these")
    assert (
        "Over 1 training slide of 1 patient, drunet reaches a mean Dice of 0.90 for the stitched heatmap, 0.95" in said
    )
    assert "interval" not in said  # one patient
    said = verdict(slides[:1], metrics[metrics["slide"] == "A1"].assign(split="val"), tmp_path)
    assert said.startswith("The one slide could be used.") and "the figures are of the validation slides." in said
    said = verdict(slides[:1], metrics[metrics["slide"] == "A1"].assign(split=np.nan), tmp_path)
    assert "There is no measured test slide: the figures are of slides without a split." in said


def test_a_cohort_without_annotation_is_told_that_nothing_was_measured(
    slides: pd.DataFrame, metrics: pd.DataFrame, tmp_path: Path
) -> None:
    assert verdict(slides, metrics.iloc[:0], tmp_path).endswith("no usable slide has an annotation to compare with.")


def test_a_stage_without_any_dice_is_told_apart(slides: pd.DataFrame, metrics: pd.DataFrame, tmp_path: Path) -> None:
    undefined = metrics.assign(dsc=metrics["dsc"].where(metrics["stage"] != "refined"))
    assert "for the stitched heatmap, not defined after refinement and 0.68 (" in verdict(slides, undefined, tmp_path)


def test_of_many_runs_the_verdict_names_the_best(slides: pd.DataFrame, metrics: pd.DataFrame, tmp_path: Path) -> None:
    runs = [metrics.assign(run=f"run{i}", dsc=metrics["dsc"] - abs(i - 2) / 10) for i in range(5)]
    said = verdict(slides, pd.concat(runs), tmp_path)
    assert "Of 5 runs compared on the same slides, run2 ends with the highest mean Dice." in said
    assert "run2 reaches a mean Dice" in said and "run3" not in said


# --- the page


def test_the_page_is_complete_in_itself_and_well_formed(report: Path) -> None:
    reader = read(report)
    assert not {"script", "link", "iframe", "object", "embed"} & set(reader.tags)
    assert len(reader.addresses) >= 6
    for address in reader.addresses:
        kind, content = re.fullmatch(r"data:image/(png|jpeg);base64,(.+)", address).groups()  # type: ignore[union-attr]
        with Image.open(io.BytesIO(base64.b64decode(content, validate=True))) as picture:
            assert picture.format == kind.upper()
    assert {target.removeprefix("#") for target in reader.targets} <= reader.ids
    assert "url(" not in report.read_text(encoding="utf-8")


def test_no_text_becomes_markup(report: Path) -> None:
    reader = read(report)
    assert reader.words.count(HOSTILE) >= 4  # title twice, reason, note: shown as they were written


def test_the_page_shows_what_a_reader_looks_for(report: Path) -> None:
    words = read(report).words
    assert PUBLISHED in words and "Measured here" in words
    assert "add a column mpp" in words and "ab" * 32 in words and "keras" in words
    assert "Dice: 0.50 stitched heatmap · 0.55 after refinement · 0.58 after post-processing" in words
    assert words.index("A1 test, drunet") < words.index("C1 training, drunet")  # test slides first
    assert "nan" not in words.lower().split()


def test_pictures_are_shrunk_and_carry_no_metadata(inputs: page.ReportInputs, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "Jane Doe"
    Image.new("RGB", (3000, 1500)).save(tmp_path / "named.jpg", exif=exif)
    Image.new("RGB", (300, 150)).save(tmp_path / "small.jpg", exif=exif)
    inputs.histories, inputs.runtimes = {}, inputs.runtimes.iloc[:0]  # no figures, to be quick
    inputs.overlays = [page.OverlayEntry("A1", "drunet", tmp_path / "small.jpg", tmp_path / "named.jpg")]
    page.write_page(tmp_path / "report.html", inputs)
    jpegs = [a for a in read(tmp_path / "report.html").addresses if "jpeg" in a]
    contents = [base64.b64decode(address.split(",")[1]) for address in jpegs]
    assert [Image.open(io.BytesIO(content)).size for content in contents] == [(300, 150), (1200, 600)]
    assert not any(b"Jane" in content for content in contents)


@pytest.mark.slow
def test_patients_are_counted_and_not_listed(inputs: page.ReportInputs, tmp_path: Path) -> None:
    inputs.histories = {}
    inputs.slides["patient_id"] = inputs.metrics["patient_id"] = "patient-4711"
    page.write_page(tmp_path / "report.html", inputs)
    assert "4711" not in read(tmp_path / "report.html").words


def test_a_cohort_with_nothing_but_slides_still_has_a_page(slides: pd.DataFrame, tmp_path: Path) -> None:
    nothing = pd.DataFrame(columns=["run", "slide", "patient_id", "split", "stage", "dsc", "iou"])
    tile_metrics = pd.DataFrame(columns=["model", "slide", "split", "tiles", "precision", "recall", "f1", "auc"])
    page.write_page(tmp_path / "report.html", page.ReportInputs("Empty", slides, nothing, tile_metrics))
    words = read(tmp_path / "report.html").words
    assert "Nothing was measured" in words and "Training" not in words


def test_the_same_inputs_give_the_same_page(report: Path, inputs: page.ReportInputs, tmp_path: Path) -> None:
    page.write_page(tmp_path / "again.html", inputs)
    assert (tmp_path / "again.html").read_bytes() == report.read_bytes()


def test_a_test_slide_annotated_with_a_models_help_is_named() -> None:
    origins = [
        "drawn",
        "",
        "corrected from run drunet (dr_fused 0123456789ab; drunet 0.1.0)",
        "unedited from run drunet",
    ]
    slides = pd.DataFrame(
        {"slide_id": list("abcd"), "split": ["test", "test", "test", "train"], "annotation_origin": origins}
    ).assign(annotation_kind="wta", status="ok")
    said = [line for line in collect.notes(slides, UNMEASURED) if "model's outline" in line]
    assert len(said) == 1
    assert said[0].startswith("The annotation of c ") and "dr_fused" in said[0]


@pytest.mark.parametrize(
    ("kind", "status", "noted"), [("psa", "ok", True), ("psa", "no_tissue", False), ("wta", "ok", False)]
)
def test_partial_annotations_are_explained_where_one_was_used(kind: str, status: str, noted: bool) -> None:
    slide = {"slide_id": "a", "split": "test", "annotation_origin": "drawn", "annotation_kind": kind, "status": status}
    assert any("partially annotated" in line for line in collect.notes(pd.DataFrame([slide]), UNMEASURED)) == noted


def test_slides_without_tumour_are_named_and_the_mean_of_the_others_is_told() -> None:
    slides = pd.DataFrame(
        {"slide_id": list("abcd"), "split": ["test", "test", "test", "val"], "annotation_origin": "drawn"}
    ).assign(annotation_kind="wta", status="ok")
    final = {"a": (0.8, 0.7), "b": (0.6, 0.5), "c": (0.0, np.nan), "d": (1.0, np.nan)}
    rows = [
        {
            "run": run,
            "slide": s,
            "split": "val" if s == "d" else "test",
            "stage": stage,
            "dsc": dice + more,
            "recall": r,
        }
        for run, more in (("one", 0), ("two", 0.1))
        for stage in ("heatmap", "segmentation")
        for s, (dice, r) in final.items()
    ]
    metrics = pd.DataFrame(rows)
    metrics.loc[metrics["stage"] == "heatmap", "dsc"] = 0.2
    told = "Of the test slides: c. Mean Dice of the others at the end: one 0.70, two 0.80."
    assert collect.notes(slides, metrics)[0].endswith(f"as 0 if anything is. {told}")
    # One that was not measured says nothing, and neither do slides that all have tumour.
    for others in (metrics[metrics["slide"] != "c"], metrics.assign(dsc=metrics["dsc"].where(metrics["slide"] != "c"))):
        assert collect.notes(slides, others)[0].endswith("as 0 if anything is.")


def test_a_model_that_slides_of_another_kind_stopped_is_noted() -> None:
    slides = pd.DataFrame(columns=["slide_id", "split", "annotation_origin", "annotation_kind", "status"])
    exports = [{"name": "one", "validated_on_wta": True}, {"name": "two", "validated_on_wta": False}, {"name": "old"}]
    said = [line for line in collect.notes(slides, UNMEASURED, exports) if "not external" in line]
    assert len(said) == 1 and said[0].startswith("one learnt from partially annotated slides")


def test_a_slide_that_failed_late_is_listed_with_its_final_state(tmp_path: Path) -> None:
    failure = FailedSlideError("gone", stage="classify_tiles", status="unreadable", where="b", found=3, mend="Mend it.")
    write_outcome([tmp_path / "b1.json", tmp_path / "b2.json"], failure)
    (tmp_path / "fine").write_text("a result")
    early = {"slide_id": "c", "status": "no_tissue", "reason": "glass", "mend": "Look."}
    table = pd.DataFrame([{"slide_id": s, "status": "ok", "reason": "", "mend": ""} for s in "ab"] + [early])
    files = [("one", "a", "fine"), ("one", "b", "b1.json"), ("two", "b", "b2.json"), ("two", "b", "b1.json")]
    states = collect.final_states(table, [(run, slide, str(tmp_path / name)) for run, slide, name in files])
    assert states["status"].tolist() == ["ok", "unreadable", "no_tissue"]
    assert states["reason"].tolist() == ["", "classify_tiles, run one, two: gone (found: 3)", "glass"]
    assert states["mend"].tolist() == ["", "Mend it.", "Look."]
    assert table["status"].tolist() == ["ok", "ok", "no_tissue"]


def test_the_roc_curve_is_of_slides_with_results(tmp_path: Path) -> None:
    failure = FailedSlideError("gone", stage="classify_tiles", status="unreadable", where="b", mend="Mend it.")
    write_outcome([tmp_path / "b.json"], failure)
    write_json(tmp_path / "a.json", {"tiles": {"p_tumour": [0.5, None], "label": [1, 0]}})
    measured = [("one", {"slide": slide, "split": "test"}) for slide in "ab"]
    tiles = collect.held_out_tiles(measured, [str(tmp_path / f"{s}.json") for s in "ab"], {"one": "dr"})
    assert tiles["dr"]["label"].tolist() == [1, 0]
