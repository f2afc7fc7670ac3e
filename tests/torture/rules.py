"""One slide through the scripts of the rules, as Snakemake runs them, and what came out of it."""

from __future__ import annotations

import os
import runpy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import shapely
import yaml
from shapely.geometry import shape

from drunet.annotation.parsed import read_parsed
from drunet.files import read_json
from drunet.outcome import outcome_of
from drunet.tiles import read_mask, read_table

ROOT = Path(__file__).resolve().parents[2]
SLIDE_ID, MODEL, RUN = "case_7", "tone", "by_colour"
OF_A_SLIDE = (
    "inspect_slide", "list_slides", "extract_tiles", "classify_tiles", "postprocess", "export_geojson",
    "draw_slide_pictures", "measure", "list_outcomes",
)  # fmt: skip
# A generous limit: a slide that breaks early cannot give a wrong result.
UNREADABLE = 0.3
SIDE = 32


class Named(list[Any]):
    """Files or values by name and in order, as Snakemake hands them to a script."""

    def __init__(self, **values: Any) -> None:
        super().__init__(v for value in values.values() for v in (value if isinstance(value, list) else [value]))
        self.__dict__.update(values)

    def get(self, name: str, default: Any = None) -> Any:
        return self.__dict__.get(name, default)


class Stopped(Exception):  # noqa: N818 - it is what happens to a cohort
    """A script ended with an exit status: Snakemake would stop there."""


@dataclass
class Case:
    """The files that a user names in a row of the sheet, and what else stands there."""

    slide: Path
    annotation: Path | None = None
    kind: str = "wta"
    mpp: float | None = None


@dataclass
class Found:
    """What the workflow made of a slide.

    Attributes
    ----------
    refused : str
        Why there is no result, empty if there is one.
    words : str
        What the workflow says that it mended, passed over or saw differ.
    unread_mm2, unreadable : float, int
        Tissue, and tiles, that it counts as unknown.
    """

    refused: str = ""
    words: str = ""
    unread_mm2: float = 0.0
    unreadable: int = 0
    mpp: float = 0.0
    size: tuple[int, int] = (0, 0)
    tissue: np.ndarray | None = None
    tiles: dict[tuple[int, int], float] = field(default_factory=dict)
    tumour: Any = None
    drawn: dict[str, Any] = field(default_factory=dict)


def configuration() -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    config["tiles"].update(size=SIDE, step=SIDE)
    config["inference"].update(batch_size=64, readers=1, max_unreadable=UNREADABLE)
    config["postprocess"].update(opening_px=3, median_px=3, unrefined_px=224)
    return config


@dataclass
class Rules:
    """The rules of one slide in a folder of results."""

    results: Path
    case: Case
    model: Path
    config: dict[str, Any]
    settings: dict[str, Any] = field(default_factory=dict)

    def script(self, name: str, log: str, inputs: Named, output: Named, **params: Any) -> None:
        """Run a rule's script with what Snakemake would hand it; raises Stopped if it ends with a status."""
        for path in (*output, str(self.results / "logs" / log)):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        given = SimpleNamespace(
            input=inputs,
            output=output,
            params=Named(**params),
            log=[str(self.results / "logs" / log)],
            wildcards=Named(slide=SLIDE_ID, model=MODEL, run=RUN),
            config=self.config,
            rule=name,
            threads=1,
            resources=SimpleNamespace(gpu=0),
        )
        with own_streams():
            try:
                runpy.run_path(str(ROOT / "scripts" / f"{name}.py"), init_globals={"snakemake": given})
            except SystemExit as ended:
                raise Stopped(f"{name} ended with {ended.code}") from None

    def run(self) -> None:
        """All rules of the slide, in their order."""
        one, case, config = self.results / "slides" / SLIDE_ID, self.case, self.config
        of_run, heat = self.results / "runs" / RUN / SLIDE_ID, self.results / "heatmaps" / MODEL / SLIDE_ID
        status, parsed, mask = str(one / "status.json"), str(one / "annotation.parquet"), str(one / "tissue.png")
        tiles, heatmap, small = str(one / "tiles.parquet"), f"{heat}.tif", str(of_run / "segmentation.png")
        inputs = {"slide": str(case.slide)} | ({"annotation": str(case.annotation)} if case.annotation else {})
        outputs = {"status": status, "tissue": mask, "outline": str(one / "tissue.geojson"), "annotation": parsed}
        cohort = config["cohort"]
        own = {"mpp": case.mpp, "kind": case.kind, "tissue": config["tissue"]}
        own |= {"classes": cohort["annotation_classes"], "geojson_frame": cohort["geojson_frame"]}
        own["max_untangled"] = cohort["max_untangled"]
        self.script("inspect_slide", "inspect.log", Named(**inputs), Named(**outputs), **own)
        table, sheet = str(self.results / "slides.tsv"), [{"split": "test", "annotation_kind": case.kind}]
        listed = {"sheet": sheet, "remarks": {}, "on_bad_slide": cohort["on_bad_slide"]}
        self.script("list_slides", "list.log", Named(status=status), Named(table=table), **listed)
        report = read_json(status)
        if report["status"] != "ok":
            return
        slide, mpp = {"slide": str(case.slide)}, {"mpp": case.mpp}
        rules = {k: config["tiles"][k] for k in ("min_tissue", "min_tumour", "max_non_tumour", "min_annotated")}
        cut = {k: config["tiles"][k] for k in ("mpp", "size", "step")}
        taken = Named(**slide, tissue=mask, annotation=parsed)
        self.script("extract_tiles", "tiles.log", taken, Named(tiles=tiles), **mpp, tiles=cut, rules=rules)
        engine, plain = {k: config["inference"][k] for k in ("provider", "precision")}, {"stains": None}
        taken = Named(**slide, tissue=mask, tiles=tiles, model=str(self.model), stains=[])
        made = Named(tiles=f"{heat}.parquet", heatmap=heatmap)
        self.script(
            "classify_tiles",
            "classify.log",
            taken,
            made,
            **mpp,
            engine=engine,
            settings=self.settings,
            set_aside=[],
            **plain,
        )
        taken = Named(tissue=mask, heatmap=heatmap, refined=[], refiner=[])
        made = Named(mask=str(of_run / "segmentation.tif"), small=small)
        self.script("postprocess", "postprocess.log", taken, made, postprocess=config["postprocess"])
        taken = Named(status=status, heatmap=heatmap, refiner=[], refined=[], mask=small, spread=[])
        made = Named(outline=str(of_run / "tumour.geojson"))
        self.script("export_geojson", "export.log", taken, made, parent=False)
        taken = Named(**slide, annotation=parsed, heatmap=heatmap, mask=small)
        drawn = Named(overlay=str(of_run / "overlay.jpg"), heatmap=str(of_run / "heatmap.jpg"))
        self.script("draw_slide_pictures", "draw.log", taken, drawn, **mpp, overlay_px=300)
        if case.annotation:
            taken = Named(annotation=parsed, tiles=tiles, classified=f"{heat}.parquet", heatmap=heatmap, refined=[],
                          mask=str(of_run / "segmentation.tif"))  # fmt: skip
            measured = Named(metrics=str(of_run / "metrics.json"))
            self.script("measure", "measure.log", taken, measured, measure=config["measure"])
        names = {"table": "slides", "tumour": "tumour", "patients": "tumour_per_patient"}
        outcomes = Named(**{key: str(of_run.parent / f"{name}.tsv") for key, name in names.items()})
        listed = {
            "slides": [SLIDE_ID],
            "patients": {SLIDE_ID: 1},
            "on_bad_slide": cohort["on_bad_slide"],
            "bounded": False,
        }
        taken = Named(slides=table, masks=[str(of_run / "segmentation.tif")], small=[small], tissue=[mask], cascades=[],
                      classified=[f"{heat}.parquet"], appearance=[])  # fmt: skip
        self.script("list_outcomes", "outcomes.log", taken, outcomes, **listed)


def read_found(results: Path) -> Found:
    """What the rules left in a folder of results."""
    one, of_run = results / "slides" / SLIDE_ID, results / "runs" / RUN / SLIDE_ID
    report, classified = read_json(one / "status.json"), results / "heatmaps" / MODEL / f"{SLIDE_ID}.parquet"
    if report["status"] != "ok":
        return Found(refused=f"{report['status']}: {report['reason']}")
    for path in (one / "tiles.parquet", classified, of_run / "segmentation.tif", of_run / "tumour.geojson",
                 of_run / "overlay.jpg"):  # fmt: skip
        if failed := outcome_of(path):
            return Found(refused=f"{failed.status} at {failed.stage}: {failed.what} ({failed.found})")
    size = report["width"], report["height"]
    table, facts = read_table(classified)
    annotation = read_parsed(one / "annotation.parquet", slide_id=SLIDE_ID, size=size)
    labels = () if annotation is None else ("tumour", "non_tumour", "ignore")
    return Found(
        words="; ".join(filter(None, [report.get("noted", ""), report.get("annotation_mended", "")])),
        unread_mm2=report["unread_mm2"],
        unreadable=facts["unreadable"],
        mpp=report["mpp"],
        size=size,
        tissue=read_mask(one / "tissue.png"),
        tiles={(c, r): p for c, r, p in table[["column", "row", "p_tumour"]].itertuples(index=False)},
        tumour=shapely.union_all([shape(f["geometry"]) for f in read_json(of_run / "tumour.geojson")["features"]]),
        drawn={label: getattr(annotation, label) for label in labels},
    )


@contextmanager
def own_streams() -> Iterator[None]:
    """Give standard output and error back after a job, which keeps them for itself as it ends with its process."""
    kept = os.dup(1), os.dup(2)
    try:
        yield
    finally:
        for number, stream in enumerate(kept, start=1):
            os.dup2(stream, number)
            os.close(stream)


def run_rules(case: Case, results: Path, model: Path, settings: dict[str, Any] | None = None) -> Found:
    """Run a slide's rules, and read what they made; `settings` of the model as the configuration has them."""
    Rules(results, case, model, configuration(), settings or {}).run()
    return read_found(results)
