from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_onnx import colour_model, refiner_model

from drunet.errors import ModelError
from drunet.grid import Grid
from drunet.inference import EngineOptions, open_session
from drunet.refine import refine, refine_slide, refiner_inputs, refiner_size, window_scale, window_starts
from drunet.slide import Slide
from drunet_demo.pyramid import write_pyramid

WIDTH, HEIGHT = 400, 200
GRID = Grid(width=WIDTH, height=HEIGHT, mpp=0.5, tile_mpp=1.0, size=16, step=16)


def session(path: Path) -> ort.InferenceSession:
    return open_session(path, EngineOptions(threads=1), where="r1")


@pytest.fixture(scope="module")
def slide_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    image = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    image[:, : WIDTH // 2] = (200, 40, 90)
    path = tmp_path_factory.mktemp("slide") / "s.tif"
    write_pyramid(path, image, 0.5)
    return path


def inputs(path: Path, heatmap: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    with Slide(path, "s1") as slide:
        return refiner_inputs(slide, heatmap, GRID, (size, size))


def test_the_refiner_sees_slide_and_heatmap_on_one_square(slide_path: Path) -> None:
    heatmap = np.random.default_rng(0).random(GRID.shape, np.float32)
    image, heat = inputs(slide_path, heatmap, 64)
    assert image.shape == (64, 64, 3) and image.dtype == np.uint8
    assert heat.shape == (64, 64) and heat.dtype == np.float32
    assert heat.min() >= 0 and heat.max() <= 1
    # The left half of the slide is the left half of the square, in colour and order of channels.
    np.testing.assert_allclose(image[:, :30].reshape(-1, 3), [[200, 40, 90]] * (64 * 30), atol=12)
    assert (image[:, 34:] > 249).all()


def test_what_was_not_looked_at_is_zero_for_the_refiner(slide_path: Path) -> None:
    heatmap = np.full(GRID.shape, np.nan, np.float32)
    heatmap[1, 2] = 0.75
    _, heat = inputs(slide_path, heatmap, 100)
    assert np.isfinite(heat).all()
    # Cell (1, 2) covers 32 level-0 px a side, 8 x 16 px of the square; not-a-number does not dilute its value.
    inside = np.zeros((100, 100), bool)
    inside[16:32, 16:24] = True
    np.testing.assert_allclose(heat[inside], 0.75, atol=1e-6)
    assert (heat[~inside] == 0).all()


def test_the_heatmap_does_not_drift_where_the_grid_reaches_past_the_slide(slide_path: Path) -> None:
    # A ramp along x, one value per cell centre: half way between them it has to be the straight line again.
    centres = (np.arange(GRID.columns) + 0.5) * GRID.cell
    heatmap = np.tile(centres / 500, (GRID.rows, 1)).astype(np.float32)
    _, heat = inputs(slide_path, heatmap, 200)
    x = (np.arange(200) + 0.5) * WIDTH / 200
    middle = (x > GRID.cell) & (x < WIDTH - GRID.cell)
    np.testing.assert_allclose(heat[100, middle], x[middle] / 500, atol=2e-3)


def test_the_refined_map_is_the_second_class_of_the_models_answer(tmp_path: Path) -> None:
    model = session(refiner_model(tmp_path / "r.onnx", size=16))
    assert refiner_size(model, where="r1") == 16
    rng = np.random.default_rng(3)
    image, heat = rng.integers(0, 256, (16, 16, 3), np.uint8), rng.random((16, 16), np.float32)
    refined = refine(model, image, heat, where="r1")
    assert refined.shape == (16, 16) and refined.dtype == np.float32 and refined.flags.c_contiguous
    np.testing.assert_allclose(refined, heat * (0.5 + 0.5 * image.mean(2) / 255), atol=1e-6)


def test_inputs_and_model_fit_together_from_end_to_end(tmp_path: Path, slide_path: Path) -> None:
    model = session(refiner_model(tmp_path / "r.onnx", size=32))
    image, heat = inputs(slide_path, np.ones(GRID.shape, np.float32), refiner_size(model, where="r1"))
    refined = refine(model, image, heat, where="r1")
    grey = cv2.resize(np.array([[110.0, 255.0]], np.float32), (32, 32), interpolation=cv2.INTER_NEAREST)
    np.testing.assert_allclose(refined[:, [5, 28]], 0.5 + 0.5 * grey[:, [5, 28]] / 255, atol=0.01)


@pytest.mark.parametrize("made", [{"size": "side"}, {"channels": 4}, {"heat": "heatmap"}])
def test_a_model_that_does_not_take_what_a_refiner_is_given_is_refused(tmp_path: Path, made: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match=r"r1: the model does not take.*input_image.*input_pred"):
        refiner_size(session(refiner_model(tmp_path / "r.onnx", **made)), where="r1")


def test_a_classifier_is_no_refiner(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not take what a refiner is given"):
        refiner_size(session(colour_model(tmp_path / "c.onnx")), where="r1")


@pytest.mark.parametrize(("last", "heat"), [("tumour", 0.5), ("Log", 0.0)])
def test_an_answer_of_another_shape_or_without_numbers_is_refused(tmp_path: Path, last: str, heat: float) -> None:
    model = session(refiner_model(tmp_path / "r.onnx", last=last))
    with pytest.raises(ModelError, match="s1: the refiner's output is no map of background and tumour"):
        refine(model, np.zeros((16, 16, 3), np.uint8), np.full((16, 16), heat, np.float32), where="s1")


@given(st.integers(1, 2000), st.integers(16, 256), st.sampled_from([0.0, 0.5, 0.75]))
def test_windows_cover_an_axis_and_lie_over_each_other(length: int, side: int, overlap: float) -> None:
    starts = window_starts(max(length, side), side, overlap)
    assert starts[0] == 0 and starts[-1] == max(length, side) - side
    gaps = np.diff(starts)
    assert (gaps <= side * (1 - overlap) + 1).all()
    # As few as do: with one less some neighbours would lie too far apart.
    needed = (max(length, side) - side) / (side * (1 - overlap))
    assert len(starts) == 1 + int(np.ceil(needed))


@pytest.mark.parametrize(("side", "mpp"), [(16, 1.0), (32, 2.0), (256, 2.0)], ids=["many", "few", "wider"])
def test_windows_at_a_physical_scale_are_put_together_without_a_seam(
    tmp_path: Path, slide_path: Path, side: int, mpp: float
) -> None:
    """The model looks at each pixel alone, so the windows' mean is what it says of the whole slide at that scale."""
    model = session(refiner_model(tmp_path / "r.onnx", size=side))
    heatmap = np.random.default_rng(1).random(GRID.shape, np.float32)
    with Slide(slide_path, "s1") as slide:
        refined = refine_slide(model, slide, heatmap, GRID, mpp=mpp, where="r1")
        shape = GRID.raster(mpp)
        image, heat = refiner_inputs(slide, heatmap, GRID, shape)
    assert refined.shape == shape == (round(100 / mpp), round(200 / mpp)), "200 x 100 µm, not stretched"
    assert refined.dtype == np.float32 and refined.flags.c_contiguous
    np.testing.assert_allclose(refined, heat * (0.5 + 0.5 * image.mean(2) / 255), atol=1e-5)


def test_windows_of_glass_alone_are_not_shown_to_the_refiner(tmp_path: Path, slide_path: Path) -> None:
    class Counted:
        """A session that counts its runs."""

        def __init__(self, real: ort.InferenceSession) -> None:
            self.real, self.runs = real, 0

        def get_inputs(self) -> Any:
            return self.real.get_inputs()

        def get_modelmeta(self) -> Any:
            return self.real.get_modelmeta()

        def run(self, *asked: Any) -> Any:
            self.runs += 1
            return self.real.run(*asked)

    model = Counted(session(refiner_model(tmp_path / "r.onnx", size=16)))
    heatmap = np.full(GRID.shape, np.nan, np.float32)
    heatmap[0, 0] = 1.0
    with Slide(slide_path, "s1") as slide:
        refined = refine_slide(model, slide, heatmap, GRID, mpp=1.0, where="r1")  # type: ignore[arg-type]
    # The tile is 16 px a side: a window reaches it where it begins before.
    down, along = (sum(start < 16 for start in window_starts(length, 16)) for length in (100, 200))
    assert model.runs == 8 * down * along < 80
    assert (refined[:16, :16] > 0).all() and (refined[16:] == 0).all() and (refined[:, 16:] == 0).all()


def test_without_a_scale_the_whole_slide_is_one_square(tmp_path: Path, slide_path: Path) -> None:
    model = session(refiner_model(tmp_path / "r.onnx", size=32))
    heatmap = np.random.default_rng(2).random(GRID.shape, np.float32)
    with Slide(slide_path, "s1") as slide:
        refined = refine_slide(model, slide, heatmap, GRID, mpp=None, where="r1")
    np.testing.assert_array_equal(refined, refine(model, *inputs(slide_path, heatmap, 32), where="r1"))


@pytest.fixture
def trained_at_2(tmp_path: Path) -> ort.InferenceSession:
    """A refiner whose file states the scale of its windows."""
    proto = onnx.load(refiner_model(tmp_path / "r.onnx", size=16))
    proto.metadata_props.add(key="mpp", value="2.0")
    onnx.save(proto, tmp_path / "r.onnx")
    return session(tmp_path / "r.onnx")


def test_a_refiner_works_at_the_scale_that_its_file_states(
    trained_at_2: ort.InferenceSession, slide_path: Path
) -> None:
    heatmap = np.random.default_rng(3).random(GRID.shape, np.float32)
    with Slide(slide_path, "s1") as slide:
        untold, told = (refine_slide(trained_at_2, slide, heatmap, GRID, mpp=mpp, where="r1") for mpp in (None, 2.0))
    assert untold.shape == GRID.raster(2.0)
    np.testing.assert_array_equal(untold, told)


def test_another_scale_than_the_files_own_is_refused(trained_at_2: ort.InferenceSession, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"r1: the refiner was trained at another scale \(found: mpp 8, trained at 2"):
        window_scale(trained_at_2, 8.0, where="r1")
    (tmp_path / "other").mkdir()
    silent = session(refiner_model(tmp_path / "other" / "r.onnx"))
    assert [window_scale(silent, told, where="r1") for told in (None, 8.0)] == [None, 8.0]
