"""Encoders of others: put into form, their features kept, a head trained on them, and both joined."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import TensorProto
from tiny_encoder import CLASS, FEATURES, SIDE, patches_by_hand, save_encoder

from drunet.errors import ConfigError, DrunetError, FailedSlideError, ModelError, SlideError
from drunet.export.adoption import adopt
from drunet.export.head import head_opset, join
from drunet.export.onnx_model import export_trained
from drunet.export.trial import trial_tiles
from drunet.features import classify_features, open_features, write_features
from drunet.grid import Grid
from drunet.inference import EngineOptions, Layout, check_classifier, open_session, probabilities
from drunet.models import registry
from drunet.models.encoder_head import standardise
from drunet.outcome import write_outcome
from drunet.sampling import Crops
from drunet.settings.encoder import EncoderSettings, HeadRecipe
from drunet.tiles import write_table
from drunet.training import head
from drunet.training.head import FeatureReader, train_head
from drunet.training.readers import AnnotatedSlide, SlideSource
from drunet.training.trained import rebuild

MEAN, DEVIATION = (0.7, 0.5, 0.6), (0.2, 0.3, 0.25)
NORMALISED: dict[str, Any] = {"scale": 1 / 255, "mean": list(MEAN), "deviation": list(DEVIATION)}
RNG = np.random.default_rng(3)
TILES = RNG.integers(0, 256, (5, SIDE, SIDE, 3)).astype(np.uint8)


def take(source: Path, tile: int = SIDE, **settings: Any) -> tuple[Path, dict[str, Any]]:
    target = source.with_name("adopted.onnx")
    encoder = EncoderSettings.of({"onnx": str(source), **settings}, "encoders.guest")
    return target, adopt(source, target, name="guest", role="encoder", size=tile, settings=encoder)


def features_of(path: Path, tiles: np.ndarray = TILES) -> np.ndarray:
    session = open_session(path, EngineOptions(threads=1), where="guest")
    name = check_classifier(session, Layout(), tiles.shape[1], where="guest", outputs=False)
    return np.asarray(session.run(None, {name: tiles.astype(np.float32)})[0])


def normalised(tiles: np.ndarray) -> np.ndarray:
    return np.asarray((tiles / 255 - MEAN) / DEVIATION)


# ---- adoption


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("form", ["pooled", "map"])
def test_pixels_are_scaled_and_a_map_is_averaged_inside_the_graph(tmp_path: Path, form: str, last: bool) -> None:
    pooling = {"pooling": "mean"} if form == "map" else {}
    path, facts = take(save_encoder(tmp_path / "e.onnx", form=form, last=last), **NORMALISED, **pooling)
    got = features_of(path)
    np.testing.assert_allclose(got, patches_by_hand(normalised(TILES)).mean(axis=1), rtol=1e-4, atol=1e-5)
    assert facts["decided"]["features"] == FEATURES and facts["decided"]["channels_last"] is last
    assert facts["decided"]["opset"] == 17


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        ({"pooling": "class_token"}, ["class"]),
        ({"pooling": "class_token_and_mean"}, ["class", 1]),
        ({"pooling": "class_token_and_mean", "patches_from": 5}, ["class", 5]),
        ({"pooling": "mean"}, [0]),
        ({"pooling": "mean", "patches_from": 1}, [1]),
    ],
)
def test_tokens_become_one_row(tmp_path: Path, settings: dict[str, Any], parts: list[Any]) -> None:
    path, facts = take(save_encoder(tmp_path / "e.onnx", form="tokens"), scale=0.01, **settings)
    patches = patches_by_hand(TILES * 0.01)
    tokens = np.concatenate([patches[:, :1] + CLASS, patches], axis=1)
    wanted = [tokens[:, 0] if part == "class" else tokens[:, part:].mean(axis=1) for part in parts]
    np.testing.assert_allclose(features_of(path), np.concatenate(wanted, axis=1), rtol=1e-4, atol=1e-5)
    assert facts["decided"]["features"] == FEATURES * len(parts)


def test_tiles_of_another_side_are_resized_inside_the_graph(tmp_path: Path) -> None:
    tiles = RNG.integers(0, 256, (3, 2 * SIDE, 2 * SIDE, 3)).astype(np.uint8)
    path, facts = take(save_encoder(tmp_path / "e.onnx"), tile=2 * SIDE, scale=1 / 255)
    # Half-way between four pixels, linear interpolation is their mean.
    halved = tiles.reshape(3, SIDE, 2, SIDE, 2, 3).mean(axis=(2, 4)) / 255
    np.testing.assert_allclose(features_of(path, tiles), patches_by_hand(halved).mean(axis=1), rtol=1e-4, atol=1e-5)
    assert f"tiles of {2 * SIDE} px resized to {SIDE}" in facts["decided"]["changed"]


@pytest.mark.parametrize("size", [17, 20, 100, 224, 255, 333])
def test_a_tile_of_any_side_comes_out_at_the_side_of_the_encoder(tmp_path: Path, size: int) -> None:
    assert take(save_encoder(tmp_path / "e.onnx"), tile=size, scale=1 / 255)[1]["decided"]["side"] == SIDE


def test_an_encoder_that_leaves_its_side_open_is_given_that_of_the_tiles_or_the_one_set(tmp_path: Path) -> None:
    source = save_encoder(tmp_path / "e.onnx", form="map", side="s")
    assert take(source, tile=24, pooling="mean")[1]["decided"]["side"] == 24
    assert take(source, tile=24, pooling="mean", size=SIDE)[1]["decided"]["side"] == SIDE


def test_half_precision_and_a_fixed_batch_are_taken(tmp_path: Path) -> None:
    source = save_encoder(tmp_path / "e.onnx", batch=2, kind=TensorProto.FLOAT16)
    path, _ = take(source, **NORMALISED)
    wanted = patches_by_hand(normalised(TILES)).mean(axis=1)
    np.testing.assert_allclose(features_of(path), wanted, rtol=2e-2, atol=2e-2)


def test_weights_beside_the_file_are_taken_along(tmp_path: Path) -> None:
    whole = save_encoder(tmp_path / "whole.onnx")
    parted = tmp_path / "parted" / "e.onnx"
    parted.parent.mkdir()
    onnx.save(onnx.load(whole), parted, save_as_external_data=True, location="e.onnx.data", size_threshold=0)
    path, facts = take(parted, **NORMALISED)
    assert "weights taken into the file" in facts["decided"]["changed"]
    (parted.parent / "e.onnx.data").unlink()
    np.testing.assert_allclose(features_of(path), patches_by_hand(normalised(TILES)).mean(axis=1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("made", "settings", "message"),
    [
        ({"form": "tokens"}, {}, "row of features per tile.*Set `pooling: class_token or mean"),
        ({"form": "pooled"}, {"pooling": "mean"}, "row of features per tile.*Set `pooling: none`"),
        ({"last": True}, {"channels_last": False}, "order of the encoder's axes"),
        ({}, {"size": SIDE + 1}, r"guest\.size: the encoder takes no square of that side"),
        ({}, {"output": "tokens"}, "no such output"),
        ({}, {"sha256": "0" * 64}, "encoders.guest.sha256: the file is not the one"),
        ({}, {"scale": 1e-30, "mean": [9.0, 9.0, 9.0]}, "same features"),
        ({"kind": TensorProto.FLOAT16}, {"scale": 1000.0}, "finite features"),
    ],
)
def test_an_encoder_that_does_not_fit_is_refused(
    tmp_path: Path, made: dict[str, Any], settings: dict[str, Any], message: str
) -> None:
    source = save_encoder(tmp_path / "e.onnx", **made)
    with pytest.raises(ModelError, match=message):
        take(source, **settings)
    assert not (tmp_path / "adopted.onnx").exists()


def test_features_that_depend_on_the_batch_are_refused(tmp_path: Path) -> None:
    model = onnx.load(save_encoder(tmp_path / "e.onnx"))
    model.graph.node[-1].output[0] = "raw"
    model.graph.node.append(onnx.helper.make_node("ReduceMax", ["raw"], ["most"], axes=[0], keepdims=1))
    model.graph.node.append(onnx.helper.make_node("Sub", ["raw", "most"], ["pooled"]))
    onnx.save(model, tmp_path / "e.onnx")
    with pytest.raises(ModelError, match="depend on the other tiles of its batch"):
        take(tmp_path / "e.onnx")


def test_a_place_of_patches_that_nothing_averages_is_refused() -> None:
    with pytest.raises(ConfigError, match="patches_from: no token is averaged"):
        EncoderSettings.of({"onnx": "e.onnx", "pooling": "class_token", "patches_from": 3}, "encoders.guest")


# ---- features


class Reader:
    """Tiles by their place; the one at x = 7 cannot be read."""

    def read(self, x: int, y: int, size: tuple[int, int], mpp: float) -> np.ndarray:
        if x == 7:
            raise SlideError("broken", status="unreadable", where="s1", mend="-")
        return np.asarray(np.random.default_rng([x, y]).integers(0, 256, (*size, 3)), np.uint8)

    def close(self) -> None:
        pass


def kept_in(path: Path, encoder: Path, places: list[tuple[int, int]], kept: str = "float16") -> pd.DataFrame:
    table = pd.DataFrame(places, columns=["x", "y"])
    options = EngineOptions(batch_size=2, max_unreadable=0.5, threads=1)
    session = open_session(encoder, options, where="guest")
    told: dict[str, Any] = {"size": SIDE, "mpp": 1.0, "options": options, "where": "s1"}
    write_features(path, session, Reader, table, kept=kept, **told)  # type: ignore[arg-type]
    return table


def test_features_are_kept_a_row_per_tile_and_nan_where_a_tile_could_not_be_read(tmp_path: Path) -> None:
    encoder, _ = take(save_encoder(tmp_path / "e.onnx"), scale=1 / 255)
    table = kept_in(tmp_path / "f.npy", encoder, [(0, 0), (1, 0), (7, 2), (3, 3), (4, 0)])
    rows = open_features(tmp_path / "f.npy", table)
    assert rows.dtype == np.float16 and rows.shape == (5, FEATURES) and isinstance(rows, np.memmap)
    assert np.isnan(rows[2]).all() and np.isfinite(rows[[0, 1, 3, 4]]).all()
    tiles = np.stack([Reader().read(x, y, (SIDE, SIDE), 1.0) for x, y in ((0, 0), (1, 0), (3, 3), (4, 0))])
    wanted = patches_by_hand(tiles / 255).mean(axis=1)
    np.testing.assert_allclose(rows[[0, 1, 3, 4]], wanted, rtol=1e-3)


def test_features_of_no_tile_and_of_other_tiles_are_known_as_such(tmp_path: Path) -> None:
    encoder, _ = take(save_encoder(tmp_path / "e.onnx"), scale=1 / 255)
    empty = kept_in(tmp_path / "f.npy", encoder, [])
    assert open_features(tmp_path / "f.npy", empty).shape == (0, FEATURES)
    with pytest.raises(DrunetError, match="do not belong together"):
        open_features(tmp_path / "f.npy", pd.DataFrame({"x": [1], "y": [1]}))


def test_what_became_of_a_slide_that_broke_is_not_taken_for_its_features(tmp_path: Path) -> None:
    broken = FailedSlideError("cut", stage="encode_tiles", status="unreadable", where="s1", found=None, mend="-")
    write_outcome([tmp_path / "f.npy"], broken)
    with pytest.raises(FailedSlideError, match="cut"):
        open_features(tmp_path / "f.npy", pd.DataFrame({"x": [1], "y": [1]}))


def test_features_too_large_for_half_precision_are_refused_and_kept_in_single(tmp_path: Path) -> None:
    encoder, _ = take(save_encoder(tmp_path / "e.onnx"), scale=300.0)
    with pytest.raises(ModelError, match=r"not finite.*Set `kept: float32`"):
        kept_in(tmp_path / "f.npy", encoder, [(0, 0), (1, 0)])
    assert not (tmp_path / "f.npy").exists()
    table = kept_in(tmp_path / "f.npy", encoder, [(0, 0), (1, 0)], "float32")
    assert open_features(tmp_path / "f.npy", table).max() > 65504


# ---- the head

HEAD: dict[str, Any] = {
    "architecture": "encoder_head",
    "encoder": "guest",
    "options": {},
    "data": {"annotation_kinds": ["wta"], "cohorts": None, "sampling": {"strategy": "oversample"}},
    "loss": {"name": "cross_entropy", "class_weights": None},
    "training": {
        "optimiser": "adam",
        "learning_rate": 0.1,
        "batch_size": 16,
        "epochs": 15,
        "steps_per_epoch": None,
        "patience": 15,
    },
}
GRID = Grid(width=400, height=100, mpp=1.0, tile_mpp=1.0, size=10, step=10)


def slide_of(
    folder: Path, slide_id: str, seed: int, shift: float = 2.0, lost: int = 0
) -> tuple[AnnotatedSlide, str, np.ndarray, np.ndarray]:
    """A slide of 400 tiles in three classes, whose features say tumour by their first two numbers."""
    rng = np.random.default_rng(seed)
    label = rng.choice([-1, 0, 0, 0, 1], 400).astype(np.int8)
    place = np.arange(400)
    table = pd.DataFrame({"x": place % 40 * 10, "y": place // 40 * 10, "label": label})
    # Two of them large and hardly varying, as encoders give.
    features = rng.normal([0, 0, 300, -5], [1, 1, 2, 0.01], (400, 4))
    features[label == 1, :2] += shift
    features[:lost] = np.nan
    tiles, annotation = folder / f"{slide_id}.parquet", folder / f"{slide_id}.annotation"
    write_table(tiles, table, {"slide": slide_id, "grid": GRID.to_dict()})
    annotation.write_text(slide_id, encoding="utf-8")
    np.save(folder / f"{slide_id}.npy", features.astype(np.float32))
    return (
        AnnotatedSlide(SlideSource("-", slide_id), str(tiles), str(annotation)),
        str(folder / f"{slide_id}.npy"),
        (features),
        label,
    )


def test_mean_and_variance_are_those_of_the_labelled_tiles_that_could_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(head, "_ROWS", 100)
    made = [slide_of(tmp_path, f"s{seed}", seed, lost=30) for seed in (1, 2)]
    reader = FeatureReader([m[0] for m in made], [m[1] for m in made])
    known = np.concatenate([f[(label >= 0) & np.isfinite(f[:, 0])] for *_, f, label in made])
    mean, variance = reader.moments()
    np.testing.assert_allclose(mean, known.mean(axis=0), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(variance, known.var(axis=0), rtol=1e-3)


def test_crops_get_the_features_of_their_tiles(tmp_path: Path) -> None:
    made = [slide_of(tmp_path, f"s{seed}", seed) for seed in (1, 2)]
    reader = FeatureReader([m[0] for m in made], [m[1] for m in made])
    rng = np.random.default_rng(0)
    crops = Crops.join([source.draw(rng) for source in reader.sources])
    crops = crops.take(rng.permutation(len(crops))[:50])
    row = crops.y // 10 * 40 + crops.x // 10
    wanted = np.stack([made[s][2][r] for s, r in zip(crops.slide, row, strict=True)])
    np.testing.assert_allclose(reader.read(crops), wanted, rtol=1e-6)


def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> tuple[Any, dict[str, Any]]:
    monkeypatch.setattr(
        head, "slide_facts", lambda *slides: {"training_slides": [s.source.slide_id for s in slides[0]]}
    )
    made = [slide_of(tmp_path, f"s{seed}", seed) for seed in (1, 2, 3)]
    slides = [m[0] for m in made]
    settings = {**HEAD, **changes}
    done = train_head(
        "guest",
        HeadRecipe.of(settings, "classifiers.guest"),
        slides[:2],
        slides[2:],
        [m[1] for m in made],
        encoder={"sha256": "ab", "source_sha256": "cd", "decided": {"features": 4, "opset": 17}},
        seed=5,
        folder=tmp_path / ".state",
    )
    return done, settings


@pytest.mark.slow
def test_a_head_learns_and_is_built_again_and_exported_from_what_its_training_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done, settings = trained(tmp_path, monkeypatch)
    done.write(weights=tmp_path / "w.weights.h5", facts=tmp_path / "facts.json", settings=settings)
    facts = json.loads((tmp_path / "facts.json").read_text(encoding="utf-8"))
    # An ideal observer of two unit normals 2 apart in each of two axes: AUC = Phi(2) = 0.977.
    _, _, features, label = slide_of(tmp_path, "s9", 9)
    model = rebuild(facts, tmp_path / "w.weights.h5")
    p = keras.ops.convert_to_numpy(model(features.astype(np.float32)))[:, 1]
    assert (p[label == 1][:, None] > p[label == 0][None]).mean() > 0.95
    report = export_trained(facts, tmp_path / "w.weights.h5", tmp_path / "head.onnx", opset=17, name="guest")
    assert report["parity"] < 1e-4 and report["inputs"] == {"features": [None, 4]}
    session = open_session(tmp_path / "head.onnx", EngineOptions(threads=1), where="guest")
    features[7] = np.nan
    result = classify_features(session, features.astype(np.float32), where="guest")
    assert result.unreadable == 1 and np.isnan(result.p_tumour[7])
    np.testing.assert_allclose(np.delete(result.p_tumour, 7), np.delete(p, 7), atol=1e-4)
    with pytest.raises(ModelError, match="other features"):
        classify_features(session, features[:, :3], where="guest")


@pytest.mark.slow
def test_the_same_seed_trains_the_same_head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = (
        trained(tmp_path, monkeypatch, options={"dense_units": 3, "dropout": 0.3})[0].model.get_weights()
        for _ in range(2)
    )
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_an_option_that_a_head_does_not_have_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match="unknown option"):
        trained(tmp_path, monkeypatch, options={"freeze": 1})


def test_noise_of_half_precision_is_not_blown_up() -> None:
    model = registry.build("encoder_head", features=3)
    # One alive, one that half precision rounds to a constant at 300 (steps of 0.25), one dead.
    standardise(model, np.array([0.0, 300.0, 0.0]), np.array([1.0, 0.0, 0.0]))
    layer = keras.Model(model.input, model.get_layer("standardised").output)
    row = np.array([[2.0, 300.12, 1e-4]], np.float32)
    seen = np.abs(keras.ops.convert_to_numpy(layer(row)))[0]
    np.testing.assert_allclose(seen[0], 2, rtol=1e-5)
    assert seen[1] < 0.5 and seen[2] < 0.5


# ---- joined


def joined(tmp_path: Path, opset: int, dense_units: int = 5) -> Path:
    encoder, facts = take(save_encoder(tmp_path / "e.onnx", opset=opset), **NORMALISED)
    model = registry.build("encoder_head", features=FEATURES, dense_units=dense_units, seed=2)
    standardise(model, np.full(FEATURES, 0.5), np.full(FEATURES, 0.04))
    built = {"architecture": "encoder_head", "seed": 2}
    of = head_opset(facts["decided"]["opset"])
    export_trained(built, None, tmp_path / "head.onnx", opset=of, name="guest", model=model)
    report = join(
        encoder, tmp_path / "head.onnx", tmp_path / "model.onnx", kept="float16", metadata={"a": "b"}, where="guest"
    )
    assert report["parity"] < 1e-5 and report["kept_parity"] < 1e-2 and report["opset"] == opset
    wanted = keras.ops.convert_to_numpy(model(patches_by_hand(normalised(TILES)).mean(axis=1).astype(np.float32)))
    session = open_session(tmp_path / "model.onnx", EngineOptions(threads=1), where="guest")
    name = check_classifier(session, Layout(), SIDE, where="guest")
    np.testing.assert_allclose(probabilities(session, name, TILES, Layout(), "guest"), wanted[:, 1], atol=1e-4)
    assert session.get_outputs()[0].name == "probability"
    assert session.get_modelmeta().custom_metadata_map == {"a": "b"}
    return encoder


@pytest.mark.parametrize("opset", [13, 17, 20])
def test_encoder_and_head_are_joined_whatever_the_opset_of_the_encoder(tmp_path: Path, opset: int) -> None:
    joined(tmp_path, opset)


def test_an_encoder_too_old_to_be_joined_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot be joined to the encoder.*opset from 13 to 18"):
        joined(tmp_path, 11)


def test_features_that_half_precision_spoils_are_noticed(tmp_path: Path) -> None:
    encoder, _ = take(save_encoder(tmp_path / "e.onnx"), **NORMALISED)
    model = registry.build("encoder_head", features=FEATURES, seed=2)
    # Far finer than half precision resolves at the size of the features, and undecided about one of the tiles tried.
    model.get_layer("standardised").moving_mean.assign(features_of(encoder, trial_tiles(SIDE))[2])
    model.get_layer("standardised").moving_variance.assign(np.full(FEATURES, 1e-8))
    export_trained(
        {"architecture": "encoder_head", "seed": 2}, None, tmp_path / "h.onnx", opset=17, name="g", model=model
    )
    with pytest.raises(ModelError, match=r"answer otherwise once joined.*kept: float32"):
        join(encoder, tmp_path / "h.onnx", tmp_path / "model.onnx", kept="float16", metadata={}, where="guest")
    assert not (tmp_path / "model.onnx").exists()
