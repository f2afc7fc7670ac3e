"""Pipelines, models and results for FastPathology: by a linter, by hand, and by FAST itself where pyFAST is."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import onnx
import onnxruntime as ort
import pytest
import tifffile
import yaml
from fast_networks import MIDDLE, save_square, save_tone
from fpl_linter import CLASSES, model_faults, parse
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper
from tiny_cohort import paint_slide, picture

from drunet.errors import ConfigError, ModelError
from drunet.export.fastpathology import pipeline, write_model, write_project, write_results
from drunet.grid import Grid
from drunet.inference import Layout
from drunet.segment import segment
from drunet.settings.tiles import TilesSettings
from drunet_demo.pyramid import aperio_description, write_pyramid

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "resources/viewers/pipeline.fpl.j2"
USUAL = Layout()
BOTH = {"classifier": "a.onnx", "refiner": "b.onnx"}


def tiles(**changed: Any) -> TilesSettings:
    shipped = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))["tiles"]
    return TilesSettings.of({**shipped, **changed}, "tiles")


def text(models: dict[str, str] = BOTH, layout: Layout = USUAL, exporting: str = "", **changed: Any) -> str:
    return pipeline(TEMPLATE, "drunet-x", models, tiles(**changed), layout, white_distance=85, exporting=exporting)


def linted(tmp_path: Path, written: str) -> Any:
    (tmp_path / "x.fpl").write_text(written, encoding="utf-8")
    return parse(tmp_path / "x.fpl")


@given(
    refined=st.booleans(),
    exporting=st.sampled_from(["", "heatmap", "segmentation"]),
    tumour=st.integers(0, 2),
    scale=st.sampled_from([1.0, 1 / 255]),
    step=st.sampled_from([16, 32, 48, 96]),
    margin=st.integers(0, 40),
    mpp=st.sampled_from([0.25, 0.5, 1.0, 2.0]),
)
@pytest.mark.slow
def test_every_pipeline_keeps_to_the_grammar_and_to_the_ports(tmp_path_factory: Any, **case: Any) -> None:
    models = BOTH if case["refined"] else {"classifier": "a.onnx"}
    exporting = case["exporting"] if case["refined"] or case["exporting"] != "segmentation" else "heatmap"
    layout = Layout(scale=case["scale"], tumour=case["tumour"])
    size = max(32, case["step"] + 2 * case["margin"])
    step = case["step"] if size > case["step"] or not case["margin"] else size
    written = text(models, layout, exporting, size=size, step=step, mpp=case["mpp"])
    found = linted(tmp_path_factory.mktemp("fpl"), written)
    assert found.faults == []
    patches = found.objects["patches"][1]
    assert patches["patch-size"] == [str(size)] * 2
    # Ten times is what FAST calls 1 µm/px; what is cut off on each side leaves the step.
    assert float(patches["patch-magnification"][0]) * case["mpp"] == pytest.approx(10, rel=1e-3)
    assert size - 2 * round(float(patches["patch-overlap"][0]) * size) == step
    assert found.attributes["classes"].split(";")[case["tumour"]] == "Tumour"
    factor = found.objects["classifier"][1].get("scale-factor", ["1"])
    assert float(factor[0]) == pytest.approx(case["scale"])
    drawn = case["refined"] and exporting != "heatmap"
    assert ("segmentation" in found.objects) == drawn
    assert set(found.outputs) == (set() if exporting else {"heatmap"} | ({"segmentation"} if drawn else set()))
    if drawn:
        # The network's inputs by the alphabet: the slide, then the heatmap's tumour.
        assert found.objects["segmentation"][2] == {0: "overview", 1: "channel"}
        assert found.objects["channel"][1]["channels"] == [str(case["tumour"])]


@pytest.mark.parametrize(
    ("line", "instead"),
    [
        ("Input 1 tissue", ""),
        ("Input 1 tissue", "Input 1 stitcher"),
        ("Input 0 overview", "Input 0 channel2"),
        ("Input 1 channel", "Input 2 channel"),
        ("Attribute patch-size 64 64", "Attribute patch-size 64"),
        ("Attribute threshold 85", "Attribute treshold 85"),
        ("Input 0 stitcher", "Input 0 channel"),
        ("ProcessObject finish RunUntilFinished", "ProcessObject finish"),
        ('PipelineName "drunet-x"', "PipelineName"),
        ("Attribute interpolation false", "Attribute interpolation False"),
        ("PipelineOutputData heatmap stitcher 0", "PipelineOutputData heatmap stitches 0"),
    ],
)
def test_the_linter_notices_a_broken_pipeline(tmp_path: Path, line: str, instead: str) -> None:
    written = text()
    assert line in written and linted(tmp_path, written).faults == []
    assert linted(tmp_path, written.replace(line, instead, 1)).faults


@pytest.mark.parametrize("wrong", [{"size": 64, "step": 40}, {"size": 65, "step": 48}, {"size": 64, "step": 80}])
def test_tiles_that_fast_cannot_lay_out_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="cannot lay out") as error:
        text(**wrong)
    assert "16" in error.value.mend and str(wrong["step"]) in str(error.value.found)


def test_a_pipeline_of_the_classifier_alone_says_why(tmp_path: Path) -> None:
    notes = "The refiner sees windows."
    written = pipeline(TEMPLATE, "n", {"classifier": "a.onnx"}, tiles(), Layout(), white_distance=85.4, notes=notes)
    assert f"It draws no outline. {notes}" in written and "threshold 85\n" in written
    assert linted(tmp_path, written).faults == []


@pytest.mark.parametrize(("save", "inputs"), [(save_tone, 1), (save_square, 2)])
def test_models_go_down_to_opset_13_and_answer_the_same(tmp_path: Path, save: Any, inputs: int) -> None:
    save(tmp_path / "new.onnx", 64)
    assert model_faults(tmp_path / "new.onnx", ["input_image", "input_pred"][:inputs])
    write_model(tmp_path / "new.onnx", tmp_path / "old.onnx", "m")
    assert model_faults(tmp_path / "old.onnx", ["input_image", "input_pred"][:inputs], 64) == []
    one, other = (ort.InferenceSession(tmp_path / f"{name}.onnx") for name in ("new", "old"))
    rng = np.random.default_rng(5)
    feed = {i.name: rng.random([3, *i.shape[1:]], np.float32) for i in one.get_inputs()}
    np.testing.assert_array_equal(one.run(None, feed)[0], other.run(None, feed)[0])


def test_an_old_model_stays_as_it_is(tmp_path: Path) -> None:
    save_tone(tmp_path / "a.onnx", 64, opset=13)
    write_model(tmp_path / "a.onnx", tmp_path / "b.onnx", "m")
    assert onnx.load(tmp_path / "b.onnx").graph == onnx.load(tmp_path / "a.onnx").graph


def layer_norm(path: Path) -> None:
    """Of opset 17 on; and with a free side."""
    node = helper.make_node("LayerNormalization", ["x", "scale"], ["y"])
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 8, 8, 3]) for n in "xy")
    scale = onnx.numpy_helper.from_array(np.ones(3, np.float32), "scale")
    graph = helper.make_graph([node], "g", [x], [y], [scale])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), path)


def changed_meaning(path: Path) -> None:
    """At opset 18 the axes of a mean became an input."""
    node = helper.make_node("ReduceMean", ["x", "axes"], ["y"], keepdims=0)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 8, 8, 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])
    axes = onnx.numpy_helper.from_array(np.array([1, 2]), "axes")
    graph = helper.make_graph([node], "g", [x], [y], [axes])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)


def free_side(path: Path) -> None:
    save_tone(path, 64)
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "h"
    onnx.save(model, path)


def fixed_batch(path: Path) -> None:
    save_tone(path, 64)
    model = onnx.load(path)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 8
    onnx.save(model, path)


@pytest.mark.parametrize("save", [layer_norm, changed_meaning, free_side, fixed_batch])
def test_a_model_without_an_older_form_is_refused_with_what_to_do(tmp_path: Path, save: Any) -> None:
    save(tmp_path / "a.onnx")
    with pytest.raises(ModelError, match="no form that FastPathology reads") as error:
        write_model(tmp_path / "a.onnx", tmp_path / "out/b.onnx", "run, classifier")
    assert "export.opset: 13" in error.value.mend and error.value.where == "run, classifier"
    assert not (tmp_path / "out/b.onnx").exists()


def example(folder: Path) -> tuple[np.ndarray, Grid, np.ndarray]:
    grid = Grid(10_400, 9_000, mpp=0.25, tile_mpp=1.0, size=96, step=64)
    heatmap = np.random.default_rng(0).random(grid.shape, np.float32)
    heatmap[:5] = np.nan
    mask = np.zeros((900, 1300), bool)
    mask[100:300, 200:700] = True
    write_results(folder, heatmap, grid, mask)
    return heatmap, grid, mask


def test_a_project_holds_results_as_the_app_leaves_them(tmp_path: Path) -> None:
    place = tmp_path / "results/s1/drunet-x"
    heatmap, _, mask = example(place)
    write_project(tmp_path, {"s1": "slides/one two.svs", "s2": "/data/b.svs"})
    assert (tmp_path / "project.txt").read_text().split("\n") == [
        "s1",
        str(Path.cwd() / "slides/one two.svs"),
        "s2",
        "/data/b.svs",
        "",
    ]
    # Without it the app does not list the project.
    assert (tmp_path / "timestamp.txt").read_text()[:2] == "20" and (tmp_path / "thumbnails").is_dir()
    with h5py.File(place / "heatmap/heatmap.hdf5") as file:
        tensor = file["tensor"][:]
        assert tensor.dtype == np.float32 and file["spacing"][:] == pytest.approx([0.064, 0.064, 1])
    assert (tensor[:5] == 0).all()
    np.testing.assert_array_equal(tensor[5:, :, 1], heatmap[5:])
    np.testing.assert_allclose(tensor[5:].sum(axis=-1), 1, atol=1e-6)
    with tifffile.TiffFile(place / "segmentation/segmentation.tiff") as tiff:
        np.testing.assert_array_equal(tiff.pages[0].asarray(), mask)
        for page in tiff.pages:
            # FAST reads these without asking for the format's defaults.
            assert [page.tags[n].value for n in ("SampleFormat", "BitsPerSample", "SamplesPerPixel")] == [1, 8, 1]
            codes = [tag.code for tag in page.tags]
            assert page.is_tiled and codes == sorted(codes)
        assert [page.imagewidth for page in tiff.pages] == [1300, 650, 325]
        assert tiff.pages[0].tags["XResolution"].value == (5000, 1)
    for data, kind in (("heatmap", "HeatmapRenderer"), ("segmentation", "SegmentationRenderer")):
        lines = (place / data / "renderer.attributes.txt").read_text().splitlines()
        # Of every renderer, and of this one.
        assert lines.pop(0) == "Attribute disabled false"
        for line in lines:
            word, name, *values = line.split()
            assert word == "Attribute" and CLASSES[kind][1][name] == len(values)
        assert (place / data / "pipeline.attributes.txt").read_text() == "Other;Tumour\n"


@cache
def fast_is_here() -> str:
    """Why FAST cannot be run; nothing where it can."""
    if importlib.util.find_spec("fast") is None:
        return "pyFAST is not here (pip install --no-deps pyfast, and the packages in docs/exports.md)"
    done = subprocess.run([sys.executable, "-c", "import fast"], capture_output=True, timeout=60, check=False)
    return "pyFAST is here, but libraries that it needs are not" if done.returncode else ""


def by_fast(fpl: Path | str, slide: Path, name: str, output: Path, *magnification: str) -> Any:
    if reason := fast_is_here():
        pytest.skip(reason)
    command = [sys.executable, str(ROOT / "tests/run_fast.py"), str(fpl), str(slide), name, str(output), *magnification]
    # It crashes now and then before it has done anything.
    for _ in range(3):
        done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
        if not done.returncode:
            return np.load(output)
    raise RuntimeError(done.stderr[-2000:])


def test_fast_reads_the_results_of_a_project(tmp_path: Path) -> None:
    heatmap, grid, mask = example(tmp_path)
    found = by_fast("read", tmp_path / "segmentation/segmentation.tiff", "read", tmp_path / "a.npz")
    np.testing.assert_array_equal(found["data"][..., 0], mask)
    # In mm, over the whole slide.
    expected = [grid.width * grid.mpp / 1300 / 1000, grid.height * grid.mpp / 900 / 1000]
    assert found["spacing"][:2] == pytest.approx(expected, rel=1e-4)
    found = by_fast("read", tmp_path / "heatmap/heatmap.hdf5", "read", tmp_path / "b.npz")
    np.testing.assert_array_equal(found["data"][..., 1], np.nan_to_num(heatmap))


def written_for_fast(folder: Path, middle: float = MIDDLE, **changed: Any) -> TilesSettings:
    """Both networks and the pipelines, as the workflow lays them out."""
    save_tone(folder / "tone.onnx", changed["size"], middle=middle)
    save_square(folder / "square.onnx", 128)
    for name, model in (("tone", "a"), ("square", "b")):
        write_model(folder / f"{name}.onnx", folder / f"models/{model}.onnx", name)
    (folder / "pipelines").mkdir()
    for exporting in ("", "heatmap", "segmentation"):
        (folder / f"pipelines/{exporting or 'app'}.fpl").write_text(text(exporting=exporting, **changed))
    return tiles(**changed)


def ours(folder: Path, slide: Path, cut: TilesSettings) -> Any:
    told = {"mpp": cut.mpp, "size": cut.size, "step": cut.step, "min_tissue": cut.min_tissue}
    tissue = {"method": "distance_from_white"}
    return segment(slide, folder / "tone.onnx", folder / "square.onnx", tiles=told, tissue=tissue)


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * np.count_nonzero(one & other) / (np.count_nonzero(one) + np.count_nonzero(other))


@pytest.mark.parametrize("step", [64, 32])
def test_fast_finds_the_same_heatmap_cell_by_cell(tmp_path: Path, step: int) -> None:
    paint_slide(tmp_path / "s.tif", seed=0, aperio=True)
    cut = written_for_fast(tmp_path, size=64, step=step)
    found = by_fast(tmp_path / "pipelines/app.fpl", tmp_path / "s.tif", "stitcher", tmp_path / "a.npz")["data"]
    expected = ours(tmp_path, tmp_path / "s.tif", cut)
    assert found.shape == (*expected.heatmap.shape, 2)
    # Which tiles are tissue enough, the two may see otherwise at its edge.
    both = np.isfinite(expected.heatmap) & (found.sum(axis=-1) > 0)
    assert both.sum() > 0.85 * np.isfinite(expected.heatmap).sum() > 20
    assert np.ptp(expected.heatmap[both]) > 0.5
    np.testing.assert_allclose(found[both][:, 1], expected.heatmap[both], atol=0.01)


def test_fast_draws_the_same_outlines_at_a_resolution_between_levels(tmp_path: Path) -> None:
    # A whole number of cells: FAST stretches a heatmap over the slide, and would drift by a part of a cell.
    image = cv2.resize(picture(np.random.default_rng(0))[0], (1600, 1280), interpolation=cv2.INTER_CUBIC)
    write_pyramid(tmp_path / "s.tif", image, 0.4, aperio_description(1600, 1280, 0.4, 25))
    cut = written_for_fast(tmp_path, size=64, step=32)
    drawn = by_fast(tmp_path / "pipelines/app.fpl", tmp_path / "s.tif", "segmentation", tmp_path / "b.npz")["data"]
    expected = ours(tmp_path, tmp_path / "s.tif", cut).refined > 0.5
    assert 0.05 < expected.mean() < 0.5
    assert dice(drawn[..., 0] > 0, expected) >= 0.98


@pytest.mark.parametrize("name", ["lung_scc_2.tif", "lung_scc_3.tif"])
def test_fast_agrees_on_a_biopsy(tmp_path: Path, real_slide: Any, name: str) -> None:
    slide = real_slide(name)
    cut = written_for_fast(tmp_path, middle=190, size=64, step=64)
    fpl = tmp_path / "pipelines/app.fpl"
    found, drawn = (by_fast(fpl, slide, o, tmp_path / "a.npz", "40")["data"] for o in ("stitcher", "segmentation"))
    expected = ours(tmp_path, slide, cut)
    assert found.shape[:2] == expected.heatmap.shape
    both = np.isfinite(expected.heatmap) & (found.sum(axis=-1) > 0)
    assert both.sum() > 0.8 * np.isfinite(expected.heatmap).sum() and np.ptp(expected.heatmap[both]) > 0.5
    # Its levels are 4.0003 and 4.0007 times smaller, so that tiles lie up to a pixel apart.
    np.testing.assert_allclose(found[both][:, 1], expected.heatmap[both], atol=0.06)
    one, other = drawn[..., 0] > 0, expected.refined > 0.5
    assert min(one.mean(), other.mean()) > 0.01 and dice(one, other) >= 0.92
    # FAST averages a cell at the edge with the zeros beside it, we with what was looked at: further in they agree.
    looked = expected.grid.resample_to_slide(both.astype(np.float32), one.shape) > 0
    inner = cv2.erode(looked.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    assert dice(one & inner, other & inner) >= 0.975


@pytest.mark.parametrize("kind", ["heatmap", "segmentation"])
def test_the_command_line_pipelines_write_their_files(tmp_path: Path, kind: str) -> None:
    if reason := fast_is_here():
        pytest.skip(reason)
    paint_slide(tmp_path / "s.tif", seed=0, aperio=True)
    written_for_fast(tmp_path, size=64, step=64)
    # As docs/exports.md says it.
    (line,) = re.findall(r"^runPipeline .*$", (ROOT / "docs/exports.md").read_text(encoding="utf-8"), re.MULTILINE)
    program, documented, *told = line.split()
    assert documented.endswith("-heatmap.fpl") and told[::2] == ["--slide", "--output"]
    output = tmp_path / ("out.hdf5" if kind == "heatmap" else "out.tiff")
    program = str(Path(sys.executable).with_name(program))
    command = [program, f"pipelines/{kind}.fpl", told[0], tmp_path / "s.tif", told[2], output]
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    done = subprocess.run(
        list(map(str, command)), cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, done.stderr[-1000:]
    if kind == "heatmap":
        with h5py.File(output) as file:
            assert file["tensor"].shape == (8, 10, 2) and file["tensor"][:].max() > 0.9
    else:
        assert set(np.unique(tifffile.imread(output))) == {0, 1}
