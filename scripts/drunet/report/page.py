"""One HTML page with everything a reader wants to know about a run, complete in itself.

Pictures and figures are embedded, there is no script and nothing is fetched: the page can be mailed, archived and
printed. All text goes through the template engine's escaping.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from drunet.files import write_text
from drunet.report import figures, tables
from drunet.report.comparison import backbones_table, experiments_table, other_tables
from drunet.report.embedding import embed_figure, embed_picture, templates
from drunet.report.section import Section
from drunet.report.verdict import judged_split, verdict
from drunet.report.words import interval

# Above these counts tables and pictures are folded away.
MANY_SLIDES, MANY_PICTURES = 12, 6
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
    """What the page is made from.

    Attributes
    ----------
    slides, metrics, tile_metrics : DataFrame
        slides.tsv; metrics.tsv of all runs, with the further columns run and patient_id; tile_metrics.tsv of all
        classifiers, with the further column model.
    histories : dict of str to DataFrame
        history.tsv per model.
    runtimes : DataFrame
        stage, slide (empty where a job concerns none), seconds.
    models : list of dict
        name, architecture, parameters, parity, sha256, and whatever else is worth a column.
    sections : list of Section
        Of the studies that were made beside the runs.
    published : dict of str to DataFrame
        As `drunet.files.read_published` gives them.
    notes : list of str
        Sentences to print as they are.
    runs : dict of str to dict
        Per run the names of its `classifier` and `refiner`, for the comparison with published ones.
    tiles : dict of str to DataFrame
        Per classifier p_tumour and label of held-out tiles, for the ROC curve.
    threshold : float
        Probability from which a tile counts as tumour.
    resamples, seed : int
        Of the bootstrap.
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
    threshold: float = 0.5
    resamples: int = 2000
    seed: int = 0


def write_page(path: str | os.PathLike[str], inputs: ReportInputs) -> None:
    """Write the report as one HTML file, whole or not at all."""
    tables.require_columns(inputs.slides, ("slide_id", "split", "status"), "slides")
    summary = tables.summary_table(inputs.metrics, resamples=inputs.resamples, seed=inputs.seed)
    split = judged_split(summary)
    failed = inputs.slides[inputs.slides["status"] != "ok"].reindex(columns=["slide_id", "status", "reason", "mend"])
    environment = templates()
    environment.filters |= {name: getattr(tables, name) for name in _NAMES}
    environment.globals |= {name: getattr(tables, name) for name in (*_NAMES, *_FOR_TABLES)}
    page = environment.get_template("template.html").render(
        inputs=inputs,
        many_slides=MANY_SLIDES,
        many_pictures=MANY_PICTURES,
        verdict=verdict(inputs.slides, summary),
        left_out=failed.to_dict("records"),
        slides=_with_size(inputs.slides),
        summary=_with_interval(summary[summary["split"] == split]),
        other_splits=_with_interval(summary[summary["split"] != split]),
        box_plots=_box_plots(inputs.metrics, split),
        slide_metrics=_in_order(inputs.metrics, inputs.slides),
        tile_metrics=inputs.tile_metrics.sort_values("model", kind="stable"),
        gallery=_gallery(inputs),
        roc=embed_figure(figures.roc_curve(inputs.tiles)) if inputs.tiles else None,
        trainings=[(name, embed_figure(figures.training_curves(h, name))) for name, h in inputs.histories.items()],
        experiments=_experiments(inputs, summary, split),
        backbones=backbones_table(inputs.published, inputs.tiles, inputs.threshold),
        other_published=other_tables(inputs.published),
        runtime_figure=embed_figure(figures.runtime_bars(inputs.runtimes)) if len(inputs.runtimes) else None,
        models=pd.DataFrame(list(inputs.models)),
    )
    write_text(path, page)


def _rank(split: str) -> int:
    return tables.SPLITS.index(split) if split in tables.SPLITS else len(tables.SPLITS)


def _with_size(slides: pd.DataFrame) -> pd.DataFrame:
    # Of a cohort of sound files the column says nothing.
    if "unread_mm2" in slides.columns and not (slides["unread_mm2"] > 0).any():
        slides = slides.drop(columns="unread_mm2")
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


def _gallery(inputs: ReportInputs) -> list[dict[str, Any]]:
    """Entries with embedded pictures, test slides first; pictures shrink when there are many."""
    longest = 1200 if len(inputs.overlays) <= MANY_SLIDES else 760
    splits = dict(zip(inputs.slides["slide_id"], tables.splits_of(inputs.slides), strict=True))
    entries = sorted(inputs.overlays, key=lambda entry: _rank(splits.get(entry.slide, "")))
    dice = {
        (str(slide), str(run)): dict(zip(rows["stage"], rows["dsc"], strict=True))
        for (slide, run), rows in inputs.metrics.groupby(["slide", "run"], sort=False)
    }
    return [
        {
            "slide": entry.slide,
            "run": entry.run,
            "split": splits.get(entry.slide, ""),
            "dice": [(by_stage[stage], stage) for stage in tables.STAGES if pd.notna(by_stage.get(stage))],
            "pictures": [
                (words, embed_picture(path, longest))
                for words, path in (("heatmap", entry.heatmap_picture), ("segmentation", entry.overlay))
                if path is not None
            ],
        }
        for entry in entries
        for by_stage in [dice.get((entry.slide, entry.run), {})]
    ]


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
