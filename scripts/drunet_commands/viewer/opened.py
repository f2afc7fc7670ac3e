"""What there is to look at: slides of the sheet, what became of them, runs and files, as they are on disk now.

Only files are read: a run may be going on, the configuration may be broken.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from drunet.annotation.region import MAX_UNTANGLED
from drunet.cohort import SheetRow, read_sheets
from drunet.errors import ConfigError, DrunetError
from drunet.files import is_safe_id, read_json
from drunet.outcome import outcome_of, reason_of
from drunet.settings.merging import merged, read_yaml
from drunet.tiles import read_mask

# Where the configuration cannot be read.
_CLASSES = {"tumour": ["tumor", "tumour"], "non_tumour": ["non-tumour", "stroma", "necrosis"], "ignore": ["ignore*"]}

_GONE = {"status": "missing", "reason": "the slide file is not there", "mend": "Correct `path` in the sheet."}


@dataclass(frozen=True)
class Opened:
    """A folder of results, where corrections go (`saves`), and the cohort.

    `rows` of the sheet have paths that start in the working directory; without a sheet they are slides with results,
    without paths. `models`: classifier by run. `root`: where paths of the sheet start. `remarks`: what is wrong.
    `max_untangled`: as `cohort.max_untangled`.
    """

    directory: Path
    results: Path
    saves: Path
    rows: Mapping[str, SheetRow]
    models: Mapping[str, str]
    frame: str
    classes: Mapping[str, Sequence[str]]
    root: Path
    remarks: Sequence[str]
    max_untangled: float = MAX_UNTANGLED

    def runs(self) -> list[str]:
        """Runs of which there are results, those of the configuration first."""
        names = [path.name for path in _inside(self.results / "runs") if path.is_dir()]
        return sorted(names, key=lambda run: run not in self.models)

    def heatmap(self, run: str, slide: str) -> Path | None:
        """The heatmap that a run began with, if there is one."""
        cascade = self.results / "runs" / run / slide / "cascade.tif"
        whole = self.results / "heatmaps" / self.models.get(run, "") / f"{slide}.tif"
        path = cascade if cascade.is_file() else whole
        return path if path.is_file() and not outcome_of(path) else None

    def uncertainty(self, run: str, slide: str) -> Path | None:
        """The map of where a run's classifier is unsure, if there is one."""
        path = self.results / "uncertainty" / self.models.get(run, "") / f"{slide}.tif"
        return path if path.is_file() and not outcome_of(path) else None

    def quality(self, run: str, slide: str) -> Path | None:
        """The table of tiles as the run's classifier judged them, if there is one."""
        path = self.results / "heatmaps" / self.models.get(run, "") / f"{slide}.parquet"
        return path if path.is_file() and not outcome_of(path) else None

    def files(self, run: str, slide: str) -> dict[str, Path]:
        """What can be downloaded, by name: results of the slide and of the whole run, no links."""
        folder = self.results / "runs" / run
        found = {p.name: p for p in [*_inside(folder / slide), *_inside(folder)] if not p.name.startswith(".")}
        found["tissue.geojson"] = self.results / "slides" / slide / "tissue.geojson"
        if heatmap := self.heatmap(run, slide):
            found["heatmap.tif"] = heatmap
        if unsure := self.uncertainty(run, slide):
            found["uncertainty.tif"] = unsure
        return {n: p for n, p in found.items() if p.is_file() and not p.is_symlink() and not outcome_of(p)}

    def regions(self, run: str) -> dict[str, list[dict[str, Any]]]:
        """By slide, what to annotate next for a run's classifier: rank, why, and box (left, top, right, bottom).

        Boxes count from where the pixels that are shown begin.
        """
        table = self.results / "next_regions" / self.models.get(run, "") / "regions.tsv"
        found = dict[str, list[dict[str, Any]]]()
        if table.is_file():
            with table.open(encoding="utf-8", newline="") as file:
                for row in csv.DictReader(file, delimiter="\t"):
                    x, y = status_of(self.results, row["slide"]).get("geojson_origin") or (0, 0)
                    box = [
                        float(row[key]) - start for key, start in zip(("x0", "y0", "x1", "y1"), (x, y) * 2, strict=True)
                    ]
                    found.setdefault(row["slide"], []).append({"rank": int(row["rank"]), "why": row["why"], "box": box})
        return found

    def saved(self, slide: str) -> Path:
        """The corrected outlines of a slide, once they are saved."""
        return self.saves / f"{slide}.geojson"

    def summary(self) -> dict[str, Any]:
        """All slides and runs, as JSON values."""
        dice = {run: _dice(self.results / "runs" / run / "metrics.tsv") for run in self.runs()}
        going = ["A run is going on here, or was cut off."] * bool(_inside(self.directory / ".snakemake" / "locks"))
        classes = {label: [n for n in names if "*" not in n] for label, names in self.classes.items()}
        regions = {run: self.regions(run) for run in dice}
        slides = [self._slide(slide, row, dice, regions) for slide, row in self.rows.items()]
        return {"runs": list(dice), "remarks": [*self.remarks, *going], "classes": classes, "slides": slides}

    def _slide(
        self, slide: str, row: SheetRow, dice: Mapping[str, Mapping[str, float]], regions: Mapping[str, Any]
    ) -> dict[str, Any]:
        facts = status_of(self.results, slide)
        said = {key: facts.get(key, "") for key in ("status", "reason", "mend")}
        if not Path(row.path).is_file():
            said = _GONE
        runs = {
            run: self._outcome(run, slide, facts) | {"dice": dice[run].get(slide), "next": regions[run].get(slide, [])}
            for run in dice
        }
        flags = {"annotated": bool(row.annotation), "saved": self.saved(slide).is_file()}
        return {"id": slide, "split": row.split, "runs": runs, **flags, **said}

    def _outcome(self, run: str, slide: str, facts: Mapping[str, Any]) -> dict[str, Any]:
        mask = self.results / "runs" / run / slide / "segmentation.png"
        maps = {kind: bool(getattr(self, kind)(run, slide)) for kind in ("heatmap", "uncertainty", "quality")}
        if not mask.is_file():
            return {"state": "none", **maps}
        if failure := outcome_of(mask):
            return {"state": "failed", **maps, "reason": reason_of(failure)}
        um2 = facts.get("width", 0) * facts.get("height", 0) * facts.get("mpp", 0) ** 2
        return {"state": "ok", **maps, "mm2": round(_share(mask, mask.stat().st_mtime_ns) * um2 / 1e6, 3)}


def open_results(directory: Path, files: Iterable[Path], saves: Path | None = None) -> Opened:
    """Find results and cohort as the workflow does: `config.yaml` of the directory, and `files` over it.

    What cannot be read becomes a remark. Raises ConfigError if there is nothing to look at.
    """
    config, remarks = dict[str, Any](), list[str]()
    for path in (directory / "config.yaml", *files):
        try:
            config = merged(config, _mapping(read_yaml(path)))
        except (OSError, ValueError, yaml.YAMLError) as error:
            remarks.append(f"{path.name} cannot be read and is passed over (found: {' '.join(str(error).split())}).")
    cohort, results = _mapping(config.get("cohort")), directory / str(config.get("results") or "results")
    sheets = cohort.get("sheet") or []
    paths = [str(directory / str(sheet)) for sheet in ([sheets] if isinstance(sheets, str) else sheets)]
    root = directory / str(cohort["root"]) if cohort.get("root") else None
    try:
        rows = read_sheets(paths, str(root) if root else None)
    except DrunetError as error:
        remarks.append(str(error))
        rows = {p.name: SheetRow(p.name, "", "", "", "", "") for p in _inside(results / "slides") if is_safe_id(p.name)}
    if not results.is_dir():
        remarks.append("There are no results yet: slides alone.")
        if not any(Path(row.path).is_file() for row in rows.values()):
            what, mend = "there are no results to look at", "Run the workflow first, or name its folder: --directory."
            raise ConfigError(what, where="results", found=os.fspath(results), mend=mend)
    share = cohort.get("max_untangled")
    named = {str(run): str(_mapping(block).get("classifier")) for run, block in _mapping(config.get("runs")).items()}
    return Opened(
        directory,
        results,
        saves or results.with_name(f"{results.name}_corrections"),
        rows,
        {run: model for run, model in named.items() if is_safe_id(model)},
        "slide" if cohort.get("geojson_frame") == "slide" else "qupath",
        _CLASSES | {k: v for k, v in _mapping(cohort.get("annotation_classes")).items() if isinstance(v, list)},
        root or Path(*paths[:1]).parent,
        remarks,
        float(share) if isinstance(share, int | float) and 0 <= share <= 1 else MAX_UNTANGLED,
    )


def status_of(results: Path, slide: str) -> dict[str, Any]:
    """What inspection wrote of a slide; empty if it has not."""
    try:
        return dict(read_json(results / "slides" / slide / "status.json"))
    except (OSError, ValueError, DrunetError):
        return {}


def _mapping(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}


def _inside(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _dice(table: Path) -> dict[str, float]:
    """Dice of the segmentation by slide, as far as it has been measured."""
    if not table.is_file():
        return {}
    with table.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["stage"] == "segmentation" and row["dsc"]]
    return {row["slide"]: float(row["dsc"]) for row in rows}


@lru_cache(maxsize=4096)
def _share(mask: Path, _changed: int) -> float:
    return float(read_mask(mask).mean())
