"""From a slide and finished models to tumour outlines in one call, as a notebook wants it.

These are the steps of the workflow with its settings: the mask is the same to the pixel. Each step can be called alone.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from shapely.geometry import Polygon

from drunet.errors import ConfigError, ModelError
from drunet.export.adoption import adopt
from drunet.export.outline import polygons
from drunet.files import AnyPath, read_json
from drunet.grid import Grid
from drunet.heatmap import stitch
from drunet.inference import EngineOptions, Layout, check_classifier, classify, open_session
from drunet.inspection import find_tissue
from drunet.postprocess import min_fragment_um2, segment_slide, unrefined
from drunet.refine import refine_slide, refiner_size, window_scale
from drunet.settings.finished import FinishedModel
from drunet.settings.inference import InferenceSettings
from drunet.settings.postprocess import PostprocessSettings
from drunet.settings.tiles import TilesSettings
from drunet.settings.tissue import TissueSettings
from drunet.slide import Slide
from drunet.tiles import TileRules, check_detail, tile_table

# As in config.yaml; side and distance of tiles come from the classifier's file.
_TISSUE = {"method": "gradient", "mpp": 8.0, "gradient_threshold": 3.0, "white_distance": 85.0}
_TISSUE |= {"min_area_um2": 5000.0, "max_hole_um2": 20000.0, "exclude_pen": True}
_TILES = {"mpp": 1.0, "min_tissue": 0.25, "min_tumour": 0.05, "max_non_tumour": 0.0, "min_annotated": 0.5}
_TILES |= {"save_images": False}
_INFERENCE = {"provider": "cpu", "precision": "float32", "batch_size": 32, "readers": 2, "max_unreadable": 0.01}
_POSTPROCESS: dict[str, Any] = {"threshold": 0.5, "min_fragment_um2": None, "opening_px": 7, "median_px": 11}
_POSTPROCESS |= {"opening_um": 24.0, "median_um": 24.0, "order": "opening_median", "within_tissue": True}
_POSTPROCESS |= {"unrefined_px": 1120, "mpp": 2.0, "smoothing_um": 0}


@dataclass(frozen=True)
class Segmented:
    """What `segment` found in a slide.

    Attributes
    ----------
    grid : Grid
        Of the tiles: level-0 size and µm/px of the slide, and the way between its pixels, tiles and heatmap cells.
    tissue : bool (h, w)
        Tissue mask of the whole slide, at `tissue.mpp` µm/px.
    tiles : DataFrame
        As `drunet.tiles.tile_table` gives it, with the column p_tumour (float32).
    heatmap : float32 (rows, columns)
        Tumour probability per tile; NaN where no tile was looked at.
    refined : float32 (h, w) or None
        Tumour probability over the whole slide: its shape, or a square onto which it is stretched; None without a
        refiner.
    mask : bool (h, w)
        Tumour, over the whole slide.
    outlines : list of Polygon
        Outlines of `mask` in level-0 pixels from the slide's corner, largest first, with holes.
    """

    grid: Grid
    tissue: np.ndarray
    tiles: pd.DataFrame
    heatmap: np.ndarray
    refined: np.ndarray | None
    mask: np.ndarray
    outlines: list[Polygon]

    @property
    def mpp(self) -> float:
        """Level-0 µm/px of the slide."""
        return self.grid.mpp


def segment(
    slide: AnyPath,
    classifier: AnyPath,
    refiner: AnyPath | None = None,
    *,
    slide_id: str | None = None,
    mpp: float | None = None,
    layout: Layout | None = None,
    models: Mapping[str, Mapping[str, Any]] | None = None,
    tissue: Mapping[str, Any] | None = None,
    tiles: Mapping[str, Any] | None = None,
    inference: Mapping[str, Any] | None = None,
    postprocess: Mapping[str, Any] | None = None,
) -> Segmented:
    """Find the tumour in a slide.

    Parameters
    ----------
    slide : path
        A file that OpenSlide reads.
    classifier, refiner : path
        ONNX files; without a refiner the outlines come from the heatmap.
    slide_id : str, optional
        How messages call the slide; left out: as its file.
    mpp : float, optional
        Level-0 µm/px, if the slide does not state it.
    layout : Layout, optional
        How the classifier wants its tiles; left out: as the models that the workflow trains.
    models : mapping, optional
        Settings of finished models, as config.yaml has them beside `onnx`, by role: ``{"classifier": {"activation":
        "softmax"}}``. Such a model is first tried, and gets what it lacks, as in the workflow; `layout` is then part of
        them.
    tissue, tiles, inference, postprocess : mapping, optional
        What differs from these blocks of config.yaml. Left out, `tiles.size` is the side that the classifier's file
        states, `tiles.step` the same, and `postprocess.min_fragment_um2` what `export.json` beside the refiner says, if
        it is there, else one heatmap cell. The refiner's own file states the scale of its windows.

    Raises
    ------
    SlideError
        If the slide is not there, cannot be read, or states no resolution.
    ModelError
        If a model is not there or does not fit.
    ConfigError
        If a setting does not exist or is out of range.
    """
    name, first, second = (Path(path or "").name for path in (slide, classifier, refiner))
    name = slide_id or name
    finding = TissueSettings.of(_TISSUE | dict(tissue or {}), "tissue")
    cleaning = PostprocessSettings.of(_POSTPROCESS | dict(postprocess or {}), "postprocess")
    engine = EngineOptions(**InferenceSettings.of(_INFERENCE | dict(inference or {}), "inference").engine())
    told = {role: FinishedModel.of({"onnx": "given", **own}, f"models.{role}") for role, own in (models or {}).items()}
    if unknown := set(told) - {"classifier", "refiner"}:
        mend = "Its keys are classifier and refiner."
        raise ConfigError("`models` has an unknown key", where="models", found=", ".join(sorted(unknown)), mend=mend)
    if own := told.get("classifier"):
        layout = Layout(own.channels_last, own.scale, own.tumour_index)
    layout = layout or Layout()
    classifying = open_session(classifier, engine, where=first)
    given = dict(tiles or {})
    side = given.get("size") or _tile_side(classifying, layout, first)
    cutting = TilesSettings.of({**_TILES, "size": side, "step": side, **given}, "tiles")
    # Both models are checked before the tiles are classified, which takes minutes.
    if own:
        classifying = _adopted(classifier, "classifier", first, cutting.size, own, engine)
    check_classifier(classifying, layout, cutting.size, where=first)
    # On one thread, as in the workflow: the last bits depend on how many there are.
    alone = replace(engine, threads=1, precision="float32" if engine.precision == "int8" else engine.precision)
    if refiner and "refiner" in told:
        refining = _adopted(refiner, "refiner", second, cutting.size, told["refiner"], alone)
    else:
        refining = open_session(refiner, alone, where=second) if refiner else None
    # The workflow writes there what a refiner was trained on.
    facts = Path(refiner).with_name("export.json") if refiner else None
    trained = read_json(facts) if facts and facts.is_file() else {}
    if refining:
        refiner_size(refining, where=second)
        window_mpp = window_scale(refining, told["refiner"].mpp if "refiner" in told else None, where=second)
    with Slide(slide, name, mpp) as opened:
        seen = opened.properties
        size = seen.width, seen.height
        grid = Grid(*size, mpp=seen.mpp, tile_mpp=cutting.mpp, size=cutting.size, step=cutting.step)
        check_detail(grid, where=name)
        inside, _ = find_tissue(opened, finding)
        table = tile_table(grid, inside, None, TileRules(min_tissue=cutting.min_tissue))
        answer = classify(
            classifying,
            lambda: Slide(slide, name, mpp, inside),
            table["x"].to_numpy(),
            table["y"].to_numpy(),
            size=grid.size,
            mpp=grid.tile_mpp,
            options=engine,
            layout=layout,
            where=name,
        )
        table["p_tumour"] = answer.p_tumour
        heatmap = stitch(table, grid)
        refined = None
        if refining:
            refined = refine_slide(refining, opened, heatmap, grid, mpp=window_mpp, where=second)
    probability = unrefined(heatmap, grid, cleaning.unrefined_px) if refined is None else refined
    smallest = min_fragment_um2(cleaning.min_fragment_um2, trained, grid)
    mask = segment_slide(probability, inside, grid, smallest, cleaning)
    return Segmented(grid, inside, table, heatmap, refined, mask, polygons(mask, size))


def _adopted(path: AnyPath, role: str, name: str, size: int, settings: FinishedModel, engine: EngineOptions) -> Any:
    """A session of a model's standard form."""
    with tempfile.TemporaryDirectory() as folder:
        adopt(path, Path(folder, name), name=name, role=role, size=size, settings=settings)
        return open_session(Path(folder, name), engine, where=name)


def _tile_side(session: Any, layout: Layout, where: str) -> int:
    shape = session.get_inputs()[0].shape
    side = shape[1 if layout.channels_last else -1] if len(shape) == 4 else None
    if not isinstance(side, int):
        mend = "Set it: tiles={'size': 224}, or what it was trained on."
        raise ModelError(
            "the classifier's file does not state the side of its tiles", where=where, found=shape, mend=mend
        )
    return side
