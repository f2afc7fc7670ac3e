"""Tables as numbers (DataFrame, TSV) and as HTML for a reader."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import pandas as pd
from markupsafe import Markup, escape

from drunet.metrics import summarise
from drunet.report import words
from drunet.report.words import missing, text

STAGES = ("heatmap", "refined", "segmentation")
STAGE_NAMES = {
    "heatmap": "stitched heatmap",
    "refined": "after refinement",
    "segmentation": "after post-processing",
}
SPLITS = ("test", "val", "train", "")
SPLIT_NAMES = {"test": "test", "val": "validation", "train": "training", "": "no split"}
VALUE_NAMES = {
    "dsc": "Dice similarity coefficient",
    "iou": "intersection over union",
    "hd_um": "Hausdorff distance (µm)",
    "hd95_um": "Hausdorff distance, 95th percentile (µm)",
    "precision": "precision",
    "recall": "recall",
}


@dataclass(frozen=True)
class Column:
    """How one column of a DataFrame is shown: `show` makes text of a value, `numeric` aligns it on the right.

    `style` is a further class of its cells: `code` for a long identifier, `wrap` for words that may take several lines.
    """

    key: str
    heading: str
    show: Callable[[Any], str] = str
    numeric: bool = False
    style: str = ""


def number(digits: int) -> Callable[[Any], str]:
    """A formatter of `drunet.report.words.number` to `digits` decimals."""
    return partial(words.number, digits=digits)


def columns(
    show: Callable[[Any], str] = text, *, numeric: bool = False, style: str = "", **headings: str
) -> list[Column]:
    """Columns, by key, that are shown alike."""
    return [Column(key, heading, show, numeric, style) for key, heading in headings.items()]


def numbers(digits: int, **headings: str) -> list[Column]:
    """Columns, by key, of numbers with so many decimals."""
    return columns(number(digits), numeric=True, **headings)


def split_name(value: Any) -> str:
    """A split in words; an empty one is `no split`."""
    key = "" if missing(value) else str(value)
    return SPLIT_NAMES.get(key, key)


def stage_name(value: Any) -> str:
    """A stage in words."""
    return STAGE_NAMES.get(str(value), str(value))


def status_name(value: Any) -> str:
    """A slide's status in words."""
    return text(value).replace("_", " ")


def parity(value: Any) -> str:
    """The largest difference between two models, as a power of ten."""
    return f"{value:.1e}" if isinstance(value, float) and not missing(value) else text(value)


def summary_table(metrics: pd.DataFrame, *, value: str = "dsc", resamples: int, seed: int) -> pd.DataFrame:
    """Average a score per run, stage and split.

    `metrics` has the columns run, slide, patient_id, split, stage and `value`, a row per run, slide and stage; the
    bootstrap is over patients (`drunet.metrics.summarise`). Gives run, split, stage, n (slides), groups (patients),
    mean, sd, median, low, high (95 % interval of the mean), left_out (slides whose score is not defined); runs as they
    come, test split first, stages in their order.
    """
    require_columns(metrics, ("run", "slide", "patient_id", "split", "stage", value), "metrics")
    groups = dict(list(metrics.assign(split=splits_of(metrics)).groupby(["run", "split", "stage"], sort=False)))
    orders = metrics["run"].unique(), ordered(splits_of(metrics), SPLITS), ordered(metrics["stage"], STAGES)
    rows = []
    for key in filter(groups.__contains__, product(*orders)):
        scores = groups[key]
        # A slide without a patient stands for itself.
        patients = scores["patient_id"].where(scores["patient_id"].notna(), scores["slide"])
        summary = summarise(scores[value].to_numpy(), patients.to_numpy(), resamples=resamples, seed=seed)
        rows.append({**dict(zip(("run", "split", "stage"), key, strict=True)), **summary._asdict()})
    names = ["run", "split", "stage", "n", "groups", "mean", "sd", "median", "low", "high", "left_out"]
    return pd.DataFrame(rows, columns=names)


def times_table(runtimes: pd.DataFrame) -> pd.DataFrame:
    """Time and memory per stage, longest first: stage, jobs, total, median, longest (s), memory_mb (the largest)."""
    jobs = runtimes.reindex(columns=["stage", "seconds", "memory_mb"]).groupby("stage", sort=False)
    times = jobs["seconds"].agg(jobs="count", total="sum", median="median", longest="max")
    return times.assign(memory_mb=jobs["memory_mb"].max()).sort_values("total", ascending=False).reset_index()


def html_table(
    frame: pd.DataFrame, columns: Sequence[Column], *, caption: str = "", group: str | None = None
) -> Markup:
    """A DataFrame as an HTML table, every cell escaped, with what stands between backticks as code.

    Columns that the frame lacks are left out. `group` names a frame column: a heading row opens each run of rows that
    share its value.
    """
    shown = [column for column in columns if column.key in frame.columns]
    lines = [f"<caption>{escape(caption)}</caption>"] if caption else []
    styles = [" ".join(filter(None, ("n" if column.numeric else "", column.style))) for column in shown]
    aligned = [f' class="{style}"' if style else "" for style in styles]
    heads = "".join(f'<th scope="col"{a}>{escape(c.heading)}</th>' for c, a in zip(shown, aligned, strict=True))
    lines.append(f"<thead><tr>{heads}</tr></thead><tbody>")
    open_group: Any = None
    groups = [None] * len(frame) if group is None else frame[group].tolist()
    # By column: a Series of every row would take most of the time.
    for own, *values in zip(groups, *(frame[column.key].tolist() for column in shown), strict=True):
        if group is not None and own != open_group:
            open_group = own
            heading = f'<th colspan="{len(shown)}" scope="rowgroup">{escape(open_group)}</th>'
            lines.append(f'<tr class="group">{heading}</tr>')
        cells = "".join(
            f"<td{align}>{words.message(column.show(value))}</td>"
            for column, align, value in zip(shown, aligned, values, strict=True)
        )
        lines.append(f"<tr>{cells}</tr>")
    lines.append("</tbody>")
    # The focusable wrapper lets a keyboard scroll a wide table on a narrow screen.
    table = "".join(lines)
    return Markup(f'<div class="scroll" tabindex="0"><table>{table}</table></div>')  # noqa: S704 - escaped cell by cell


def plain_columns(frame: pd.DataFrame) -> list[Column]:
    """Columns as they are, for tables of unknown make; one whose filled cells are all numbers is right-aligned."""
    return [
        Column(str(key), str(key).replace("_", " "), text, numeric=_all_numbers(frame[key])) for key in frame.columns
    ]


def calibration_table(calibrations: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """A row per classifier and split of what `drunet.uncertainty.calibration.calibrate` gives; NaN: not determined."""
    rows = [
        {"model": model, "split": split, "temperature": facts["temperature"]}
        | {key: judged[key] for key in ("tiles", "slides", "patients")}
        | {"before": judged["before"]["ece"], "after": (judged["after"] or {}).get("ece")}
        | {"fitted": "other patients" if judged["apart"] else "the same tiles"}
        for model, facts in calibrations.items()
        for split, judged in facts["splits"].items()
    ]
    return pd.DataFrame(rows).astype({"temperature": float, "after": float}) if rows else pd.DataFrame()


def require_columns(frame: pd.DataFrame, columns: Iterable[str], name: str) -> None:
    """Raise ValueError when a table lacks a column."""
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise ValueError(f"the table {name} lacks {', '.join(missing)}; it has {', '.join(map(str, frame.columns))}")


def splits_of(frame: pd.DataFrame) -> pd.Series:
    """The column split as text, empty where there is none; a column all empty comes from a TSV as numbers."""
    return frame["split"].astype(object).where(frame["split"].notna(), "").astype(str)


def ordered(values: pd.Series, order: Sequence[str]) -> list[str]:
    """Distinct values, those of `order` first and in its order, then the others as they come."""
    present = list(dict.fromkeys(values))
    return [known for known in order if known in present] + [other for other in present if other not in order]


def _all_numbers(values: pd.Series) -> bool:
    filled = [str(value) for value in values if not missing(value) and value != ""]
    try:
        [float(value) for value in filled]
    except ValueError:
        return False
    return bool(filled)
