"""Pipelines, models and a project of FastPathology, and what its engine, FAST, can run of ours.

Pipelines are FAST's text files (its Pipeline.cpp), the project is laid out as FastPathology's Project.cpp reads it.
"""

import os
import struct
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from jinja2 import StrictUndefined, Template

from drunet.errors import ConfigError, ModelError
from drunet.export.mask_image import TUMOUR_VALUE, mask_levels
from drunet.export.pyramid import write_levels
from drunet.files import AnyPath, whole_file, write_text
from drunet.grid import Grid
from drunet.inference import Layout
from drunet.settings.tiles import TilesSettings

# FastPathology 1.1.3 carries ONNX Runtime 1.14, and TensorRT 8.2 where there is a GPU.
OPSET, IR_VERSION = 13, 8
# FAST takes 10x for 1 µm/px. A little less, so that a level of 1.0001 µm/px, as their sizes round, counts as one of 1:
# else a finer one is resampled without averaging, and a classifier sees the difference.
_TEN_TIMES = 9.995
# Sides of the patches that FAST puts together have to be multiples of this.
_MULTIPLE = 16
_COLOURS = 'Attribute channel-colors "0" "green" "1" "red"\nAttribute interpolation false\nAttribute hidden-channels '
_SAMPLE_FORMAT, _UNUSED = 339, 340
_LABELS = 'Attribute opacity 0.3\nAttribute border-opacity 0.8\nAttribute label-colors "1" "red"'


def pipeline(
    template: AnyPath,
    name: str,
    models: Mapping[str, str],
    tiles: TilesSettings,
    layout: Layout,
    *,
    white_distance: float,
    notes: str = "",
    exporting: str = "",
) -> str:
    """Text of an .fpl file, which takes its models from the folder `models` beside its own.

    `models` are file names: of the ``classifier``, whose `layout` it is, and of the ``refiner`` if there is one that
    sees the whole slide in one square. Farther than `white_distance` from white (RGB, 0..442) a pixel is tissue.
    `notes` says what the pipeline cannot do. One for the command line, `exporting` its ``heatmap`` or its
    ``segmentation``, reads the slide ``@@slide@@`` and writes the file ``@@output@@`` by itself; FAST hangs where it is
    to write both. Raises ConfigError for tiles that FAST cannot lay out.
    """
    overlap, odd = divmod(tiles.size - tiles.step, 2)
    if odd or overlap < 0 or tiles.size % 2 or tiles.step % _MULTIPLE:
        mend = f"It needs an even `size` and a `step` up to it, a multiple of {_MULTIPLE}; or do without this export."
        found = f"size {tiles.size}, step {tiles.step}"
        raise ConfigError("FastPathology cannot lay out such tiles", where="tiles", found=found, mend=mend)
    refined = "refiner" in models and exporting != "heatmap"
    drawn = ", then the outline of the refiner, not cleaned." if refined else ". It draws no outline."
    description = f"Tumour probability per tile of {tiles.size} px at {tiles.mpp:g} um/px{drawn} {notes}".strip()
    text = Template(Path(template).read_text(encoding="utf-8"), trim_blocks=True, undefined=StrictUndefined)
    return text.render(
        name=name,
        models=models,
        tiles=tiles,
        layout=layout,
        white_distance=round(white_distance),
        exporting=exporting,
        refined=refined,
        description=description,
        classes="Tumour;Other" if layout.tumour == 0 else ";".join(["Other"] * layout.tumour + ["Tumour"]),
        magnification=f"{_TEN_TIMES / tiles.mpp:.6g}",
        overlap=f"{overlap / tiles.size:.8g}",
        colours=_COLOURS,
        labels=_LABELS,
    )


def write_model(source: AnyPath, target: AnyPath, name: str) -> None:
    """Copy a model at an opset and IR version that FastPathology reads; raises ModelError where it has no such form.

    ONNX's own converter does not know the way down. Most operators have only come to take more types since: the graph
    is given the older number, held against its definitions and has to give random inputs the same answers to the bit.
    """
    import onnx
    import onnxruntime as ort

    model = onnx.load(os.fspath(source))
    for own in model.opset_import:
        own.version = min(own.version, OPSET) if own.domain in ("", "ai.onnx") else own.version
    model.ir_version = min(model.ir_version, IR_VERSION)
    try:
        onnx.checker.check_model(model, full_check=True)
        first, second = (
            ort.InferenceSession(given, providers=["CPUExecutionProvider"])
            for given in (os.fspath(source), model.SerializeToString())
        )
        found = [f"{i.name} {i.type} {i.shape}" for i in first.get_inputs() if not _fits(i)]
        if not found:
            rng = np.random.default_rng(0)
            sides = {i.name: [2 if isinstance(k, str | None) else k for k in i.shape] for i in first.get_inputs()}
            # Of one channel is a heatmap, in 0..1; pictures are in 0..255.
            feed = {n: rng.random(k, np.float32) * np.float32(1 if 1 in k[1:] else 255) for n, k in sides.items()}
            pairs = zip(first.run(None, feed), second.run(None, feed), strict=True)
            found = [f"answers differ at opset {OPSET}"] * any(not np.array_equal(a, b) for a, b in pairs)
    except Exception as error:  # the checker's, protobuf's and ONNX Runtime's own
        found = str(error).strip().splitlines()[:1]
    if found:
        mend = "Export it in float32, its sides fixed, at opset 13 (`export.opset: 13`), or do without this format."
        raise ModelError("the model has no form that FastPathology reads", where=name, found=found[0][:160], mend=mend)
    with whole_file(target) as temporary:
        onnx.save(model, os.fspath(temporary))


def _fits(value: Any) -> bool:
    """Whether FAST can feed an input: float32, all sides fixed, and one picture at a time."""
    batch, *sides = value.shape
    fixed = all(isinstance(side, int) for side in sides)
    return value.type == "tensor(float)" and fixed and (batch == 1 or not isinstance(batch, int))


def write_results(folder: AnyPath, heatmap: np.ndarray, grid: Grid, mask: np.ndarray) -> None:
    """Write a slide's results as FastPathology leaves those of a pipeline: `folder` is results/SLIDE/PIPELINE.

    `heatmap` is float32 (rows, columns) of `grid`; cells that were not looked at become zero for both classes, as in
    FAST. `mask` is bool (h, w) over the whole slide; tumour gets label 1.
    """
    import h5py  # type: ignore[import-untyped]

    tensor = np.nan_to_num(np.stack([1 - heatmap, heatmap], axis=-1), nan=0.0)
    side = grid.step * grid.tile_mpp / 1000
    with whole_file(Path(folder, "heatmap/heatmap.hdf5")) as temporary, h5py.File(temporary, "w") as file:
        file["tensor"], file["spacing"] = tensor, np.array([side, side, 1], np.float32)
    resolution = (grid.width * grid.mpp / mask.shape[1], grid.height * grid.mpp / mask.shape[0])
    image = Path(folder, "segmentation/segmentation.tiff")
    levels = mask_levels(mask, resolution, "1 is tumour")
    ones = (replace(level, pixels=level.pixels // TUMOUR_VALUE) for level in levels)
    # tifffile says nothing of unsigned numbers, the default, but FAST wants it said: another tag gets the right number.
    tags = [(_UNUSED, "H", 1, 1, False)]
    write_levels(image, ones, photometric="minisblack", compression="deflate", extratags=tags)
    with tifffile.TiffFile(image, mode="r+") as tiff:
        for page in tiff.pages:
            tiff.filehandle.seek(page.aspage().tags[_UNUSED].offset)
            tiff.filehandle.write(struct.pack(f"{tiff.byteorder}H", _SAMPLE_FORMAT))
    for data, look in (("heatmap", f"{_COLOURS}0"), ("segmentation", _LABELS)):
        write_text(Path(folder, data, "renderer.attributes.txt"), f"Attribute disabled false\n{look}\n")
        write_text(Path(folder, data, "pipeline.attributes.txt"), "Other;Tumour\n")


def write_project(folder: AnyPath, slides: Mapping[str, AnyPath]) -> None:
    """Write what makes a folder of results a project: its slides, by ID, and the time by which projects are sorted."""
    lines = [line for slide, path in slides.items() for line in (slide, str(Path(path).absolute()))]
    write_text(Path(folder, "project.txt"), "".join(f"{line}\n" for line in lines))
    write_text(Path(folder, "timestamp.txt"), time.strftime("%Y-%m-%d %H:%M:%S"))
    Path(folder, "thumbnails").mkdir(parents=True, exist_ok=True)
