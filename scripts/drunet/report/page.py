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
from markupsafe import Markup

from drunet.files import write_text
from drunet.report import figures
from drunet.report.comparison import backbones_table, experiments_table, other_tables
from drunet.report.embedding import embed_figure, embed_picture, templates
from drunet.report.section import Section
from drunet.report.tables import (
    SPLITS,
    STAGES,
    Column,
    html_table,
    number,
    plain_columns,
    require_columns,
    split_name,
    splits_of,
    stage_name,
    summary_table,
)
from drunet.report.verdict import judged_split, verdict
from drunet.report.words import interval, text

# Above these counts tables and pictures are folded away.
MANY_SLIDES, MANY_PICTURES = 12, 6


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
    runs: dict[str, dict[str, str]] = field(default_factory=dict)
    tiles: dict[str, pd.DataFrame] = field(default_factory=dict)
    threshold: float = 0.5
    resamples: int = 2000
    seed: int = 0


def write_page(path: str | os.PathLike[str], inputs: ReportInputs) -> None:
    """Write the report as one HTML file, whole or not at all."""
    require_columns(inputs.slides, ("slide_id", "split", "status"), "slides")
    summary = summary_table(inputs.metrics, resamples=inputs.resamples, seed=inputs.seed)
    split = judged_split(summary)
    failed = inputs.slides[inputs.slides["status"] != "ok"].reindex(columns=["slide_id", "status", "reason", "mend"])
    environment = templates()
    environment.filters |= {"stage_name": stage_name, "split_name": split_name}
    page = environment.get_template("template.html").render(
        title=inputs.title,
        verdict=verdict(inputs.slides, summary),
        left_out=failed.to_dict("records"),
        slide_table=_slide_table(inputs.slides),
        slides_open=len(inputs.slides) <= MANY_SLIDES,
        summary=_summary_html(summary[summary["split"] == split]),
        other_splits=_summary_html(summary[summary["split"] != split]),
        box_plots=_box_plots(inputs.metrics, split),
        slide_metrics=_metrics_html(inputs.metrics, inputs.slides),
        metrics_open=len(inputs.metrics) <= MANY_SLIDES,
        gallery=_gallery(inputs),
        gallery_open=MANY_PICTURES,
        tile_table=_tile_html(inputs.tile_metrics),
        roc=embed_figure(figures.roc_curve(inputs.tiles)) if inputs.tiles else None,
        trainings=[(name, embed_figure(figures.training_curves(h, name))) for name, h in inputs.histories.items()],
        experiments=_experiments(inputs, summary, split),
        backbones=backbones_table(inputs.published, inputs.tiles, inputs.threshold),
        other_published=other_tables(inputs.published),
        runtime_figure=embed_figure(figures.runtime_bars(inputs.runtimes)) if len(inputs.runtimes) else None,
        models=_models_html(inputs.models),
        sections=inputs.sections,
        versions=inputs.versions,
        notes=list(inputs.notes),
        resamples=inputs.resamples,
    )
    write_text(path, page)


def _numbers(digits: int, **headings: str) -> list[Column]:
    """Right-aligned columns, by key, of numbers with so many decimals."""
    return [Column(key, heading, number(digits), numeric=True) for key, heading in headings.items()]


def _slide_table(slides: pd.DataFrame) -> Markup:
    whole = number(0)
    frame = slides.copy()
    if {"width", "height"} <= set(frame.columns):
        frame["size"] = [f"{whole(w)} × {whole(h)}" for w, h in zip(frame["width"], frame["height"], strict=True)]
        frame.loc[frame["width"].isna(), "size"] = ""
    columns = [
        Column("slide_id", "slide", text),
        Column("split", "split", split_name),
        Column("annotation_kind", "annotation", text),
        Column("annotation_origin", "annotation's origin", text),
        Column("status", "status", lambda status: text(status).replace("_", " ")),
        Column("size", "size (px)", text, numeric=True),
        *_numbers(4, mpp="µm/px"),
        Column("mpp_source", "from", text),
        Column("vendor", "vendor", text),
        *_numbers(0, levels="levels", objective_power="objective"),
    ]
    return html_table(frame, columns)


def _summary_html(summary: pd.DataFrame) -> Markup | None:
    if summary.empty:
        return None
    bounds = zip(summary["low"], summary["high"], strict=True)
    frame = summary.assign(interval=[interval(low, high, 3) for low, high in bounds])
    columns = [
        Column("stage", "stage", stage_name),
        Column("split", "split", split_name),
        *_numbers(0, n="slides", groups="patients"),
        *_numbers(3, mean="mean"),
        Column("interval", "95\u00a0% interval", text, numeric=True),
        *_numbers(3, sd="sd", median="median"),
    ]
    if summary["left_out"].any():
        columns += _numbers(0, left_out="not defined")
    return html_table(frame, columns, group="run")


def _box_plots(metrics: pd.DataFrame, split: str | None) -> list[tuple[str, str]]:
    if split is None:
        return []
    judged = metrics[splits_of(metrics) == split]
    return [
        (name, embed_figure(figures.box_plot(judged, value)))
        for name, value in (("Dice", "dsc"), ("Hausdorff distance", "hd95_um"))
        if value in judged.columns and judged[value].notna().any()
    ]


def _metrics_html(metrics: pd.DataFrame, slides: pd.DataFrame) -> Markup | None:
    if metrics.empty:
        return None
    frame = metrics.assign(split=splits_of(metrics))
    if "annotation_kind" in slides.columns:
        frame["annotation"] = frame["slide"].map(slides.set_index("slide_id")["annotation_kind"])
    rank = {split: i for i, split in enumerate(SPLITS)}
    frame = frame.sort_values("split", key=lambda s: s.map(rank).fillna(len(rank)), kind="stable")
    frame = frame.sort_values("run", key=lambda s: s.map({r: i for i, r in enumerate(s.unique())}), kind="stable")
    columns = [
        Column("slide", "slide", text),
        Column("split", "split", split_name),
        Column("annotation", "annotation", text),
        Column("stage", "stage", stage_name),
        *_numbers(3, dsc="DSC", iou="IoU"),
        *_numbers(0, hd_um="HD (µm)", hd95_um="HD95 (µm)"),
        *_numbers(3, precision="precision", recall="recall"),
    ]
    return html_table(frame, columns, group="run")


def _gallery(inputs: ReportInputs) -> list[dict[str, Any]]:
    """Entries with embedded pictures, test slides first; pictures shrink when there are many."""
    longest = 1200 if len(inputs.overlays) <= MANY_SLIDES else 760
    splits = dict(zip(inputs.slides["slide_id"], splits_of(inputs.slides), strict=True))
    rank = {split: i for i, split in enumerate(SPLITS)}
    entries = sorted(inputs.overlays, key=lambda e: rank.get(splits.get(e.slide, ""), len(rank)))
    dice = {
        (str(slide), str(run)): dict(zip(rows["stage"], rows["dsc"], strict=True))
        for (slide, run), rows in inputs.metrics.groupby(["slide", "run"], sort=False)
    }
    return [
        {
            "slide": entry.slide,
            "run": entry.run,
            "split": splits.get(entry.slide, ""),
            "dice": [(by_stage[stage], stage) for stage in STAGES if pd.notna(by_stage.get(stage))],
            "pictures": [
                (words, embed_picture(path, longest))
                for words, path in (("heatmap", entry.heatmap_picture), ("segmentation", entry.overlay))
                if path is not None
            ],
        }
        for entry in entries
        for by_stage in [dice.get((entry.slide, entry.run), {})]
    ]


def _experiments(inputs: ReportInputs, summary: pd.DataFrame, split: str | None) -> Markup | None:
    if "drunet_experiments" not in inputs.published:
        return None
    iou = summary_table(inputs.metrics, value="iou", resamples=1, seed=inputs.seed)
    return experiments_table(
        inputs.published["drunet_experiments"],
        dsc=summary[summary["split"] == split],
        iou=iou[iou["split"] == split],
        runs=inputs.runs,
    )


def _tile_html(tile_metrics: pd.DataFrame) -> Markup | None:
    if tile_metrics.empty:
        return None
    columns = [
        Column("slide", "slide", text),
        Column("split", "split", split_name),
        *_numbers(0, tiles="tiles"),
        *_numbers(3, precision="precision", recall="recall", f1="F1", auc="AUC"),
    ]
    return html_table(tile_metrics.sort_values("model", kind="stable"), columns, group="model")


def _models_html(models: Sequence[dict[str, Any]]) -> Markup | None:
    if not models:
        return None
    frame = pd.DataFrame(list(models))
    known = [
        Column("name", "model", text),
        Column("architecture", "architecture", text),
        *_numbers(0, parameters="parameters"),
        Column("parity", "ONNX against Keras", _parity, numeric=True),
    ]
    keys = {column.key for column in known} | {"sha256"}
    further = [column for column in plain_columns(frame) if column.key not in keys]
    return html_table(frame, [*known, *further, Column("sha256", "SHA-256 of model.onnx", text, style="code")])


def _parity(value: Any) -> str:
    return f"{value:.1e}" if isinstance(value, float) and not pd.isna(value) else text(value)
