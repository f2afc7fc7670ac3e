"""One HTML page with everything a reader wants to know about a run, without a script, and nothing is fetched.

It can be mailed, archived and printed: pictures are embedded, but for those that would make it too large for that.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from drunet.files import AnyPath, write_text
from drunet.report import figures, tables, words
from drunet.report.comparison import backbones_table, experiments_table, other_tables
from drunet.report.embedding import embed_figure, embed_picture, templates, write_picture
from drunet.report.overlay import NO_TRUTH_LEGEND, TRUTH_LEGEND
from drunet.report.section import Section
from drunet.report.tumour import tumour_per_patient
from drunet.report.verdict import found, judged_split, looks, problems, verdict
from drunet.report.words import interval

# Above this count tables are folded away, and pictures begin small.
MANY_SLIDES = 12
# Characters of a page that can be mailed, and those under which an embedded picture shows too little.
LARGEST_PAGE, LEAST_PICTURE = 14_500_000, 40_000
PICTURES = "pictures"
# What the template takes from `drunet.report.tables`.
_NAMES = ("stage_name", "split_name", "status_name")
_FOR_TABLES = ("html_table", "columns", "numbers", "plain_columns", "parity")


@dataclass(frozen=True)
class OverlayEntry:
    """Two pictures of a slide: the heatmap over it, and the segmentation over it."""

    slide: str
    run: str
    heatmap_picture: Path | None
    overlay: Path | None


@dataclass
class ReportInputs:
    """What the page is made from; tables are DataFrames.

    `slides` is slides.tsv, `metrics` metrics.tsv of all runs, with the further columns run and patient_id,
    `tile_metrics` tile_metrics.tsv of all classifiers, with the further column model. `histories` has history.tsv per
    model; `runtimes` stage, slide (empty where a job concerns none), seconds, memory_mb; `models` name, architecture,
    parameters, parity, sha256, and whatever else is worth a column. `sections` are of the studies that were made beside
    the runs, `published` as `drunet.files.read_published` gives them, `notes` sentences to print as they are.

    Per run, `runs` has the names of its `classifier` and `refiner`, for the comparison with published ones, `tumour`
    what `drunet.report.tumour.tumour_per_slide` gives, `looks` what `drunet.report.collect.read_looks` gives, and
    `bounds` bound.json of those that have one. Per classifier, `tiles` has p_tumour and label of held-out tiles, for
    the ROC curve, `known` the number of slides known that it learnt from, `calibrations` what
    `drunet.uncertainty.calibration.calibrate` gives. `settings` are for the paragraph on methods: blocks of the
    configuration, and under `models` each model's settings. `formats` has format, reader, result: the exports of the
    run, who opened such files in the tests, and what came of it. From the probability `threshold` on a tile counts as
    tumour; `resamples` and `seed` are of the bootstrap.
    """

    title: str
    slides: pd.DataFrame
    metrics: pd.DataFrame
    tile_metrics: pd.DataFrame
    overlays: Sequence[OverlayEntry] = ()
    histories: dict[str, pd.DataFrame] = field(default_factory=dict)
    runtimes: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=["stage", "slide", "seconds"]))
    models: Sequence[dict[str, Any]] = ()
    sections: Sequence[Section] = ()
    versions: dict[str, str] = field(default_factory=dict)
    published: dict[str, pd.DataFrame] = field(default_factory=dict)
    notes: Sequence[str] = ()
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    tiles: dict[str, pd.DataFrame] = field(default_factory=dict)
    tumour: dict[str, pd.DataFrame] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    bounds: Sequence[dict[str, Any]] = ()
    looks: dict[str, pd.DataFrame] = field(default_factory=dict)
    known: dict[str, int] = field(default_factory=dict)
    calibrations: dict[str, dict[str, Any]] = field(default_factory=dict)
    formats: pd.DataFrame = field(default_factory=pd.DataFrame)
    threshold: float = 0.5
    resamples: int = 2000
    seed: int = 0


def write_page(path: AnyPath, inputs: ReportInputs) -> None:
    """Write the report as one HTML file, whole or not at all; too many pictures go into a folder beside it."""
    tables.require_columns(inputs.slides, ("slide_id", "split", "status"), "slides")
    summary = tables.summary_table(inputs.metrics, resamples=inputs.resamples, seed=inputs.seed)
    split = judged_split(summary)
    environment = templates()
    environment.filters |= {name: getattr(tables, name) for name in _NAMES}
    environment.globals |= {name: getattr(tables, name) for name in (*_NAMES, *_FOR_TABLES)}
    environment.globals |= {name: getattr(words, name) for name in ("duration", "percent")}
    render = partial(
        environment.get_template("template.html").render,
        inputs=inputs,
        many_slides=MANY_SLIDES,
        verdict=verdict(inputs.slides, summary),
        problems=problems(inputs.slides),
        found=[found(run, table) for run, table in inputs.tumour.items()],
        tumour=_joined(inputs.tumour),
        patients=_joined({run: tumour_per_patient(table) for run, table in inputs.tumour.items()}),
        legend=(*TRUTH_LEGEND, *NO_TRUTH_LEGEND) if split is not None else NO_TRUTH_LEGEND,
        slides=_with_size(inputs.slides),
        looks=[
            looks(run, name, table, inputs.known.get(name, 0))
            for run, table in inputs.looks.items()
            if "appearance" in table and (name := inputs.runs[run]["classifier"])
        ],
        look_table=_joined(inputs.looks),
        summary=_with_interval(summary[summary["split"] == split]),
        other_splits=_with_interval(summary[summary["split"] != split]),
        box_plots=_box_plots(inputs.metrics, split),
        slide_metrics=_in_order(inputs.metrics, inputs.slides),
        tile_metrics=inputs.tile_metrics.sort_values("model", kind="stable"),
        roc=embed_figure(figures.roc_curve(inputs.tiles)) if inputs.tiles else None,
        calibrations=tables.calibration_table(inputs.calibrations),
        calibration_figure=embed_figure(figures.reliability_curves(inputs.calibrations))
        if inputs.calibrations
        else None,
        trainings=[(name, embed_figure(figures.training_curves(h, name))) for name, h in inputs.histories.items()],
        experiments=_experiments(inputs, summary, split),
        backbones=backbones_table(inputs.published, inputs.tiles, inputs.threshold),
        other_published=other_tables(inputs.published),
        sections=[(section.title, section.embedded()) for section in inputs.sections],
        runtime_figure=embed_figure(figures.runtime_bars(inputs.runtimes)) if len(inputs.runtimes) else None,
        times=tables.times_table(inputs.runtimes),
        models=pd.DataFrame(list(inputs.models)),
    )
    pictures = sum(p is not None for entry in inputs.overlays for p in (entry.heatmap_picture, entry.overlay))
    room = LARGEST_PAGE
    # Where the pictures alone would be too many, the page need not be written for its size.
    if pictures * LEAST_PICTURE <= room:
        room -= len(render(cards=_cards(inputs, lambda *_: ""), beside=False).encode())
    most = room // max(1, pictures)
    beside = most < LEAST_PICTURE
    longest = 1200 if beside or len(inputs.overlays) <= MANY_SLIDES else 760

    def place(run: str, slide: str, kind: str, picture: Path) -> str:
        if not beside:
            return embed_picture(picture, longest, most)
        own = Path(PICTURES, run, f"{slide}-{kind}.jpg")
        write_picture(picture, Path(path).parent / own, longest)
        return own.as_posix()

    write_text(path, render(cards=_cards(inputs, place), beside=beside))


def _cards(inputs: ReportInputs, place: Callable[[str, str, str, Path], str]) -> list[dict[str, Any]]:
    """Cards for the template, one per slide and run, test slides first and what was left out last.

    `place` puts a picture, by run, slide, kind and file, into the page or beside it and returns its address. A card has
    run, slide, split, state (as in `drunet.report.tumour`, "left out", or empty: not told), reason, mend, dice (values
    and stages), tumour_mm2, share, pictures (kinds and addresses), worst and most (its places by the last Dice, lowest
    first, and by tumour).
    """
    facts = inputs.slides.assign(split=tables.splits_of(inputs.slides)).set_index("slide_id").to_dict("index")
    found = {(run, row["slide"]): row for run, table in inputs.tumour.items() for row in table.to_dict("records")}
    dice = dict[tuple[str, str], dict[str, float]]()
    for run, slide, stage, value in inputs.metrics[["run", "slide", "stage", "dsc"]].itertuples(index=False):
        dice.setdefault((run, slide), {})[stage] = value
    made: list[dict[str, Any]] = []
    for entry in inputs.overlays:
        row, scores = found.get((entry.run, entry.slide), {}), dice.get((entry.run, entry.slide), {})
        card = {"run": entry.run, "slide": entry.slide, "split": facts.get(entry.slide, {}).get("split", "")}
        card |= {"state": row.get("tumour", ""), **{key: row.get(key) for key in ("tumour_mm2", "share")}}
        card["dice"] = [(scores[stage], stage) for stage in tables.STAGES if pd.notna(scores.get(stage))]
        files = (("heatmap", entry.heatmap_picture), ("segmentation", entry.overlay))
        card["pictures"] = [(kind, place(entry.run, entry.slide, kind, path)) for kind, path in files if path]
        made.append(card)
    made.sort(key=lambda card: _rank(card["split"]))
    for name, row in facts.items():
        if row["status"] != "ok":
            told = {key: row.get(key) for key in ("split", "reason", "mend", "tumour_mm2")}
            made.append({"run": "", "slide": name, "state": "left out", "dice": [], "pictures": [], **told})
    orders: dict[str, Callable[[dict[str, Any]], float]] = {
        "worst": lambda card: card["dice"][-1][0] if card["dice"] else 2,
        "most": lambda card: 1 if pd.isna(card["tumour_mm2"]) else -card["tumour_mm2"],
    }
    for order, key in orders.items():
        for number, card in enumerate(sorted(made, key=key)):
            card[order] = number
    return made


def _joined(by_run: dict[str, pd.DataFrame]) -> pd.DataFrame | None:
    return pd.concat([table.assign(run=run) for run, table in by_run.items()]) if by_run else None


def _rank(split: str) -> int:
    return tables.SPLITS.index(split) if split in tables.SPLITS else len(tables.SPLITS)


def _with_size(slides: pd.DataFrame) -> pd.DataFrame:
    # Of a cohort of sound files the column says nothing, nor do empty ones.
    if "unread_mm2" in slides.columns and not (slides["unread_mm2"] > 0).any():
        slides = slides.drop(columns="unread_mm2")
    slides = slides.drop(columns=[c for c in slides.columns if slides[c].map(words.missing).all()])
    if not {"width", "height"} <= set(slides.columns):
        return slides
    whole = tables.number(0)
    size = [f"{whole(w)} × {whole(h)}" for w, h in zip(slides["width"], slides["height"], strict=True)]
    return slides.assign(size=pd.Series(size, slides.index, dtype=object).where(slides["width"].notna(), ""))


def _with_interval(summary: pd.DataFrame) -> pd.DataFrame | None:
    if summary.empty:
        return None
    bounds = zip(summary["low"], summary["high"], strict=True)
    shown = summary.assign(interval=[interval(low, high, 3) for low, high in bounds])
    return shown if shown["left_out"].any() else shown.drop(columns="left_out")


def _box_plots(metrics: pd.DataFrame, split: str | None) -> list[tuple[str, str]]:
    if split is None:
        return []
    judged = metrics[tables.splits_of(metrics) == split]
    return [
        (name, embed_figure(figures.box_plot(judged, value)))
        for name, value in (("Dice", "dsc"), ("Hausdorff distance", "hd95_um"))
        if value in judged.columns and judged[value].notna().any()
    ]


def _in_order(metrics: pd.DataFrame, slides: pd.DataFrame) -> pd.DataFrame:
    frame = metrics.assign(split=tables.splits_of(metrics))
    if "annotation_kind" in slides.columns:
        frame["annotation"] = frame["slide"].map(slides.set_index("slide_id")["annotation_kind"])
    frame = frame.sort_values("split", key=lambda s: s.map(_rank), kind="stable")
    return frame.sort_values("run", key=lambda s: s.map({r: i for i, r in enumerate(s.unique())}), kind="stable")


def _experiments(inputs: ReportInputs, summary: pd.DataFrame, split: str | None) -> pd.DataFrame | None:
    if "drunet_experiments" not in inputs.published:
        return None
    iou = tables.summary_table(inputs.metrics, value="iou", resamples=1, seed=inputs.seed)
    return experiments_table(
        inputs.published["drunet_experiments"],
        dsc=summary[summary["split"] == split],
        iou=iou[iou["split"] == split],
        runs=inputs.runs,
    )
