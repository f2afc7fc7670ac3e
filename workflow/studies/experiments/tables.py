"""Tables and figures of several runs on the same slides (Oskouei et al. 2025, Table 2, Figs 3, 4 and 6)."""

import textwrap
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from drunet.evaluation import gather
from drunet.report.figures import MUTED, PALETTE, STYLE
from drunet.report.overlay import TRUTH_LEGEND
from drunet.report.tables import STAGES, VALUE_NAMES, summary_table
from drunet.report.words import interval, number
from studies.common.model_figures import box_rows
from studies.common.saliency.attention_figure import Panel, panel_grid
from studies.common.statistics import SLIDES_AS_INDEPENDENT, holm, paired_tests, require_slides, shown_tests

Runs = Mapping[str, Mapping[str, Any]]

# With and without refiner: the first and the last of the stages that every run has.
BEFORE, AFTER = STAGES[0], STAGES[-1]
SCORES = ("dsc", "iou", "hd_um", "hd95_um", "precision", "recall", "margin")
# What a slide passes through in a run, and which wildcard besides the slide names the job's benchmark file.
SLIDE_STAGES = {
    "inspect_slide": "inspection",
    "extract_tiles": "tiles",
    "classify_tiles": "classification",
    "refine_heatmap": "refinement",
    "cluster_heatmap": "clustering",
    "postprocess": "mask",
    "export_geojson": "outline",
    "draw_slide_pictures": "pictures",
}
_PER_CLASSIFIER = ("classify_tiles",)
_PER_RUN = ("refine_heatmap", "cluster_heatmap", "postprocess", "export_geojson", "draw_slide_pictures")


def is_refined(run: Mapping[str, Any]) -> bool:
    """Whether a run refines its heatmap, by a network or by clustering."""
    return bool(run["refiner"]) or run.get("clustering") is not None


def score_table(
    labels: Mapping[str, str], measured: Mapping[str, Sequence[Mapping[str, Any]]], slides: Sequence[Mapping[str, Any]]
) -> pd.DataFrame:
    """A row per experiment, slide and stage, from the slides' metrics.json by run; `slides` are in the same order.

    Returns columns experiment, run, slide, split, patient_id, stage, dsc, iou, hd_um, hd95_um, precision, recall.
    Raises ConfigError if there is no slide to compare on.
    """
    require_slides(slides, "study_settings.experiments.split")
    patients = {s["slide"]: s["patient"] for s in slides}
    tables = []
    for experiment, run in labels.items():
        table = gather(measured[run], slides)[0].assign(experiment=experiment, run=run)
        tables.append(table.assign(patient_id=table["slide"].map(patients)))
    joined = pd.concat(tables, ignore_index=True)
    first = ["experiment", "run", "slide", "split", "patient_id", "stage"]
    return joined[first + [c for c in joined.columns if c not in first]]


def with_margins(scores: pd.DataFrame, margins: Mapping[tuple[str, str], float]) -> pd.DataFrame:
    """Add the column margin (share of the tumour's margin called tumour) to the last stage, by run and slide."""
    shares = [margins.get(pair, np.nan) for pair in zip(scores["run"], scores["slide"], strict=True)]
    return scores.assign(margin=np.where(scores["stage"] == AFTER, shares, np.nan))


def learnt_from(models: Mapping[str, Mapping[str, Any]], name: str | None) -> str:
    """Training sets of a model, in their order: `breast (PSA), then this cohort (WTA, oversample)`."""
    if name is None:
        return ""
    settings = models[name]
    if "onnx" in settings:
        return "a finished model"
    data, weights = settings["data"], settings["weights"]
    if settings.get("training", {}).get("epochs") == 0:
        return learnt_from(models, weights["model"]) if isinstance(weights, Mapping) else "a weights file, as it is"
    kinds = " and ".join(kind.upper() for kind in data["annotation_kinds"])
    sampling = {"strategy": "as_is", **data.get("sampling", {})}
    how = kinds if sampling["strategy"] == "as_is" else f"{kinds}, {sampling['strategy'].replace('_', ' ')}"
    how += ", one crop of each area" if sampling.get("crops_per_area") == "one" else ""
    own = f"{', '.join(data.get('cohorts') or ['this cohort'])} ({how})"
    if isinstance(weights, Mapping) and "model" in weights:
        return f"{learnt_from(models, weights['model'])}, then {own}"
    return own if weights == "random" else f"{'ImageNet' if weights == 'imagenet' else 'a weights file'}, then {own}"


def runs_table(
    scores: pd.DataFrame,
    labels: Mapping[str, str],
    runs: Runs,
    models: Mapping[str, Mapping[str, Any]],
    *,
    resamples: int,
    seed: int,
) -> pd.DataFrame:
    """A row per experiment: what it is made of, and its scores without refiner (`before_…`) and at the end.

    Returns columns experiment, run, classifier, classifier_data, refiner, refiner_data, fragments_of (the refiner whose
    training slides say which fragments are too small), slides, patients, then per score mean, sd, median, low and high
    (95 % bootstrap interval of the mean, by patient); for distances and the margin also n, the slides that have one.
    Where slides without tumour count as Dice 0 or 1, tumour_dsc_… is of the others.
    """
    wanted = [(BEFORE, "before_dsc", "dsc"), (BEFORE, "before_iou", "iou")]
    wanted += [(AFTER, score, score) for score in ("dsc", "iou", "hd_um", "hd95_um", "margin") if score in scores]
    # Nothing can be recalled where there is no tumour.
    named = scores.assign(run=scores["experiment"], tumour_dsc=scores["dsc"].where(scores["recall"].notna()))
    if named["tumour_dsc"].count() < named["dsc"].count():
        wanted.append((AFTER, "tumour_dsc", "tumour_dsc"))
    summaries = {
        score: summary_table(named, value=score, resamples=resamples, seed=seed)
        for score in {score for _, _, score in wanted}
    }
    rows = []
    for experiment, run in labels.items():
        counted = scores[scores["experiment"] == experiment]
        row: dict[str, Any] = {"experiment": experiment, "run": run}
        for part in ("classifier", "refiner"):
            name = runs[run][part]
            row |= {part: name or "none", f"{part}_data": learnt_from(models, name)}
        if runs[run].get("clustering") is not None:
            row["refiner"] = "clustering"
        row["fragments_of"] = runs[run].get("smallest_tumour_of") or runs[run]["refiner"] or "none"
        row |= {"slides": counted["slide"].nunique(), "patients": counted["patient_id"].nunique()}
        for stage, prefix, score in wanted:
            table = summaries[score]
            summary = table[(table["run"] == experiment) & (table["stage"] == stage)].iloc[0]
            if score not in ("dsc", "iou"):
                row[f"{prefix}_n"] = int(summary["n"])
            row |= {f"{prefix}_{key}": summary[key] for key in ("mean", "sd", "median", "low", "high")}
        rows.append(row)
    return pd.DataFrame(rows)


def tests_table(scores: pd.DataFrame, labels: Mapping[str, str], runs: Runs, value: str = "dsc") -> pd.DataFrame:
    """Wilcoxon's signed-rank tests of a score between runs on the same slides, Holm's correction within each family.

    Returns columns family, score, and the columns of `studies.common.statistics.paired_tests`. Families: `with refiner`
    (all pairs of experiments that have a refinement, last stage), `without refiner` (all pairs of classifiers,
    heatmaps), `refiner and post-processing` (per run that has a refinement, last stage against heatmap).
    """
    before = scores[scores["stage"] == BEFORE]
    # Two experiments may show one run: it is tested once.
    refined = list({run: experiment for experiment, run in labels.items() if is_refined(runs[run])}.values())
    within = [_effect_of_refiner(scores[scores["experiment"] == experiment], value) for experiment in refined]
    families = {
        "with refiner": paired_tests(named_after(scores, labels, runs), arm="experiment", value=value),
        "without refiner": paired_tests(_one_per_classifier(before, labels, runs), arm="experiment", value=value),
    }
    if within:
        joined = pd.concat(within, ignore_index=True)
        families["refiner and post-processing"] = joined.assign(p_holm=holm(joined["p"].to_numpy(dtype=float)))
    joined = pd.concat([t.assign(family=name, score=value) for name, t in families.items()], ignore_index=True)
    return joined[["family", "score", *families["with refiner"].columns]]


def named_after(scores: pd.DataFrame, labels: Mapping[str, str], runs: Runs) -> pd.DataFrame:
    """Rows of the last stage of the experiments with a refinement; with the column name, for a figure: `II  run`."""
    after = scores[(scores["stage"] == AFTER) & scores["experiment"].map(lambda e: is_refined(runs[labels[e]]))]
    return after.assign(name=after["experiment"] + "  " + after["run"])


def named_before(scores: pd.DataFrame, labels: Mapping[str, str], runs: Runs) -> pd.DataFrame:
    """Rows of the heatmaps, each classifier once, named `II, IV  classifier`."""
    rows = _one_per_classifier(scores[scores["stage"] == BEFORE], labels, runs)
    classifiers = rows["run"].map(lambda run: str(runs[run]["classifier"]))
    return rows.assign(name=rows["experiment"] + "  " + classifiers)


def seconds_table(benchmarks: Path, labels: Mapping[str, str], runs: Runs, slides: Sequence[str]) -> pd.DataFrame:
    """Seconds of every job that a slide passes through, from Snakemake's benchmark files.

    A job that several runs share counts for each of them: the table says how long a slide takes in a run. Returns
    columns experiment, run, slide, stage, seconds; jobs without a benchmark file are left out.
    """
    rows = []
    for (experiment, run), stage, slide in product(labels.items(), SLIDE_STAGES, slides):
        own = {**dict.fromkeys(_PER_CLASSIFIER, runs[run]["classifier"]), **dict.fromkeys(_PER_RUN, run)}
        path = benchmarks / stage / str(own.get(stage, "")) / f"{slide}.tsv"
        if path.is_file():
            rows.append([experiment, run, slide, stage, float(pd.read_csv(path, sep="\t")["s"].mean())])
    return pd.DataFrame(rows, columns=["experiment", "run", "slide", "stage", "seconds"])


def _effect_of_refiner(rows: pd.DataFrame, value: str) -> pd.DataFrame:
    """Last stage against heatmap of one experiment."""
    ends = rows[rows["stage"].isin((BEFORE, AFTER))].sort_values("stage", ascending=BEFORE > AFTER, kind="stable")
    words = ends["stage"].map({BEFORE: "without", AFTER: "with refiner"})
    return paired_tests(ends.assign(arm=ends["experiment"] + " " + words), value=value)


def _one_per_classifier(before: pd.DataFrame, labels: Mapping[str, str], runs: Runs) -> pd.DataFrame:
    """Heatmap rows of one experiment per classifier, which stands for all that share it: `I, III`."""
    sharing: dict[str, list[str]] = {}
    for experiment, run in labels.items():
        sharing.setdefault(str(runs[run]["classifier"]), []).append(experiment)
    names = {experiments[0]: ", ".join(experiments) for experiments in sharing.values()}
    rows = before[before["experiment"].isin(names)]
    return rows.assign(experiment=rows["experiment"].map(names))


_LABEL_LETTERS = 15
_PUBLISHED = {
    "dsc_mean_without_refiner": "Dice, heatmap (paper)",
    "dsc_mean": "Dice (paper)",
    "dsc_median": "median (paper)",
    "iou_mean": "IoU (paper)",
}


def draw_figures(
    scores: pd.DataFrame,
    pictures: Mapping[tuple[str, str], np.ndarray],
    labels: Mapping[str, str],
    runs: Runs,
    published: pd.DataFrame,
) -> dict[str, Figure]:
    """The figures with_refiner, without_refiner and pictures.

    `labels` maps experiments to runs; `pictures` holds uint8 (h, w, 3) by run and slide, and the slide itself under the
    empty run; `published` is drunet_experiments.tsv, as text.
    """
    counted = f"{scores['slide'].nunique()} slides of {scores['patient_id'].nunique()} patients"
    boxes = {"with_refiner": ("dsc_mean", named_after(scores, labels, runs))}
    boxes["without_refiner"] = "dsc_mean_without_refiner", named_before(scores, labels, runs)
    figures = {
        name: run_boxes(rows, published_of(rows, published, column), counted) for name, (column, rows) in boxes.items()
    }
    return figures | {"pictures": picture_grid(scores, pictures, labels)}


def run_boxes(scores: pd.DataFrame, published: Mapping[str, float], slides: str) -> Figure:
    """Boxes of the Dice (dsc) per run (name), every slide a point, with the means measured and `published`, by name."""
    frame = scores.rename(columns={"name": "row", "dsc": "value"}).assign(panel="", group="dsc")
    groups = {"dsc": (PALETTE[0], "a slide, and the median")}
    return box_rows(frame, groups, unit=f"{VALUE_NAMES['dsc']}, {slides}", published=published)


def page_view(
    runs: pd.DataFrame, tests: pd.DataFrame, seconds: pd.DataFrame, published: pd.DataFrame, *, band_um: float
) -> dict[str, Any]:
    """What `page.md.j2` names, but for `fragment_um2` (of the post-processing) and `validated_on_wta` (classifiers).

    `band_um` is the width of the margin in which false positives are counted.
    """
    judged = runs[runs["dsc_mean"].notna()]
    with_tumour = "tumour_dsc_mean" in judged and bool(judged["tumour_dsc_mean"].notna().any())
    fragments = runs.groupby("fragments_of", sort=False)["experiment"].agg(", ".join).to_dict()
    makings = runs[["experiment", "run", "classifier", "classifier_data", "refiner", "refiner_data"]]
    return {
        "slides": int(runs["slides"].max()),
        "patients": int(runs["patients"].max()),
        "best": None if judged.empty else judged.iloc[int(judged["dsc_mean"].argmax())].to_dict(),
        "best_with_tumour": judged.iloc[int(judged["tumour_dsc_mean"].argmax())].to_dict() if with_tumour else None,
        "before": BEFORE,
        "after": AFTER,
        "band_um": band_um if "margin_mean" in runs else None,
        "slides_as_independent": SLIDES_AS_INDEPENDENT,
        "unrefined": list(runs.loc[runs["refiner"] == "none", "experiment"]),
        "fragments": fragments,
        "runs": makings.rename(columns={"classifier_data": "trained on", "refiner_data": "refiner trained on"}),
        "scores": _scores(runs, published),
        "seconds": _seconds(seconds, published),
        "families": {
            family: shown_tests(rows).rename(columns={"arm": "run"})
            for family, rows in tests.groupby("family", sort=False)
        },
    }


def published_of(rows: pd.DataFrame, published: pd.DataFrame, column: str) -> dict[str, float]:
    """Published numbers by the names in a figure, where the paper states one; a row may be several experiments."""
    means = published[published[column] != ""].set_index("experiment")[column].astype(float).to_dict()
    stated = {
        name: [means[e] for e in own.split(", ") if e in means]
        for name, own in zip(rows["name"], rows["experiment"], strict=True)
    }
    return {str(name): values[0] for name, values in stated.items() if values}


def picture_grid(
    scores: pd.DataFrame, pictures: Mapping[tuple[str, str], np.ndarray], labels: Mapping[str, str]
) -> Figure:
    """A row for the slides themselves and one per experiment, titled by the Dice (Oskouei et al. 2025, Fig. 6).

    Columns are the slides that have a picture under the empty run; a place without a picture stays empty.
    """
    slides = [slide for run, slide in pictures if run == ""]
    after = scores[scores["stage"] == AFTER].set_index(["experiment", "slide"])["dsc"].to_dict()
    rows: list[list[Panel | None]] = [[Panel(pictures["", slide], title=slide) for slide in slides]]
    names = ["slide"]
    for experiment, run in labels.items():
        there = {s: number(after[experiment, s]) for s in slides if (run, s) in pictures and (experiment, s) in after}
        if there:
            rows.append([Panel(pictures[run, s], title=there[s]) if s in there else None for s in slides])
            names.append("\n".join([experiment, *textwrap.wrap(run.replace("_", " "), _LABEL_LETTERS)]))
    figure = panel_grid(rows if slides else [], names, nothing="there is no slide to show", bar=False)
    colours = {name: (red / 255, green / 255, blue / 255) for name, (red, green, blue) in TRUTH_LEGEND}
    handles = [Patch(facecolor=colour, edgecolor=MUTED, label=name) for name, colour in colours.items()]
    with matplotlib.rc_context(STYLE):
        figure.legend(handles=handles, loc="outside lower right", ncols=3, handlelength=1.0, fontsize=9)
    return figure


def _scores(runs: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    stated = published.set_index("experiment")
    columns = {"before_dsc_mean": "Dice, heatmap", "dsc_mean": "Dice, final", "dsc_sd": "sd", "dsc_median": "median"}
    columns |= {"tumour_dsc_mean": "with tumour"}
    # A slide without an outline, or without tumour that is outlined, has no distance: a mean may be of few slides.
    columns |= {"iou_mean": "IoU", "hd95_um_mean": "HD95 (µm)", "hd95_um_n": "of slides"}
    columns |= {"margin_mean": "margin"}
    table = runs[["experiment", *(c for c in columns if c in runs)]].rename(columns=columns)
    intervals = [interval(low, high) for low, high in zip(runs["dsc_low"], runs["dsc_high"], strict=True)]
    table.insert(3, "95\u00a0% interval", intervals)
    return table.assign(**{h: [stated[c].get(e, "") for e in table["experiment"]] for c, h in _PUBLISHED.items()})


def _seconds(seconds: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    means = seconds.pivot_table(index="experiment", columns="stage", values="seconds", sort=False)
    table = means[[stage for stage in SLIDE_STAGES if stage in means]]
    table = table.assign(total=table.sum(axis=1)).rename(columns=SLIDE_STAGES)
    stated = published.set_index("experiment")["seconds_per_slide"]
    table["paper"] = [stated.get(e, "") for e in table.index]
    return table.rename_axis(None, axis=1).reset_index()
