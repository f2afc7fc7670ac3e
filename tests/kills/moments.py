"""The moments: what is going on when a run is cut off, and how."""

from __future__ import annotations

from dataclasses import dataclass

# Where a run begins: results of an undisturbed run, without what these rules make and all that comes of it.
_LAST = ("runs", "report")
WITHOUT: dict[str, tuple[str, ...]] = {
    "inspect_slide": (".",),
    "extract_tiles": (".",),
    "adopt_onnx": ("models/tone", "heatmaps/tone", "models/unet", *_LAST),
    "train_classifier": ("models/plain", "heatmaps/plain", *_LAST),
    "train_refiner": ("models/unet", *_LAST),
    "export_onnx": ("models/plain/model.onnx", "models/plain/export.json", "heatmaps/plain", *_LAST),
    "describe_model": ("models/plain/card.md", "models/plain/training.png", "report"),
    "classify_tiles": ("heatmaps/plain", *_LAST),
    "refine_heatmap": _LAST,
    "postprocess": _LAST,
    "measure": _LAST,
    "draw_slide_pictures": _LAST,
    "gather_metrics": ("runs/learnt/metrics.tsv", "runs/learnt/tile_metrics.tsv", "runs/learnt/summary.tsv", "report"),
    "report": ("report",),
}

HOW = {
    "group": "SIGKILL of driver and jobs",
    "driver": "SIGKILL of the driver alone",
    "job": "SIGKILL of the job",
    "term": "SIGTERM",
    "ctrl_c": "Ctrl-C",
}


@dataclass(frozen=True)
class Share:
    """When this share of the time is over that a job took in the undisturbed run."""

    share: float

    def __str__(self) -> str:
        return f"at {self.share:.0%} of its time"


@dataclass(frozen=True)
class Says:
    """When these words are in the job's log."""

    words: str

    def __str__(self) -> str:
        return f"after {self.words!r}"


@dataclass(frozen=True)
class Writes:
    """While a file is being written: its temporary file, a pattern below `results`, is there."""

    pattern: str

    def __str__(self) -> str:
        return f"while it writes {self.pattern.rpartition('/')[0]}"


@dataclass(frozen=True)
class Moment:
    """One cut: how, during a job of which rule, and when in it."""

    how: str
    rule: str
    when: Share | Says | Writes

    def __str__(self) -> str:
        return f"{HOW[self.how]}: {self.rule} {self.when}"


EPOCH_1, EPOCH_4 = Says("epoch 1/"), Says("epoch 4/")
MOMENTS = (
    Moment("group", "inspect_slide", Share(0.7)),
    Moment("group", "extract_tiles", Share(0.7)),
    Moment("group", "train_classifier", EPOCH_4),
    Moment("group", "train_classifier", Writes("models/plain/.state/.*.part*")),
    Moment("group", "train_classifier", Writes("models/plain/.weights*.part*")),
    Moment("group", "train_refiner", EPOCH_1),
    Moment("group", "export_onnx", Share(0.7)),
    Moment("group", "classify_tiles", Share(0.8)),
    Moment("group", "draw_slide_pictures", Share(0.7)),
    Moment("group", "report", Share(0.8)),
    Moment("driver", "train_classifier", EPOCH_1),
    Moment("driver", "train_refiner", EPOCH_4),
    Moment("driver", "export_onnx", Share(0.5)),
    Moment("driver", "classify_tiles", Share(0.5)),
    Moment("driver", "postprocess", Share(0.5)),
    Moment("driver", "report", Share(0.5)),
    Moment("job", "adopt_onnx", Share(0.6)),
    Moment("job", "train_refiner", EPOCH_4),
    Moment("job", "refine_heatmap", Share(0.6)),
    Moment("job", "gather_metrics", Share(0.6)),
    Moment("term", "train_classifier", EPOCH_4),
    Moment("term", "measure", Share(0.5)),
    Moment("ctrl_c", "train_refiner", EPOCH_1),
    Moment("ctrl_c", "export_onnx", Share(0.6)),
    Moment("ctrl_c", "describe_model", Share(0.5)),
)
