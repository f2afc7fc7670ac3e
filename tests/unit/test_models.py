from __future__ import annotations

import contextlib
import importlib
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from architectures import tiny_backbone

from drunet.errors import ModelError
from drunet.models import backbones, registry
from drunet.models.dr_fused import build_dr_fused
from drunet.models.drunet_unet import build_drunet_unet


def batch_norms(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    found = []
    for layer in model.layers:
        found += batch_norms(layer) if isinstance(layer, keras.Model) else [layer]
    return [layer for layer in found if isinstance(layer, keras.layers.BatchNormalization)]


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Put tiny backbones in place of the real ones; returns options that fit them."""
    monkeypatch.setitem(backbones.BACKBONES, "densenet201", tiny_backbone(4, blocks=3))
    monkeypatch.setitem(backbones.BACKBONES, "resnet101v2", tiny_backbone(6, blocks=3))
    return {"size": 32, "densenet_cut": "block2_conv", "resnet_cut": "block1_bn", "dense_units": 8}


@pytest.fixture(scope="module")
def small() -> keras.Model:
    return registry.build("dr_fused", size=64, seed=3, batch_norm_momentum=0.9)


# ---- DR-fused


@pytest.mark.slow
def test_dr_fused_ends_its_backbones_where_the_authors_do(small: keras.Model) -> None:
    # A sixteenth of the tile: 14 x 14 of the published 224 px.
    assert small.get_layer("densenet201").output.shape == (None, 4, 4, 128)
    assert small.get_layer("resnet101v2").output.shape == (None, 4, 4, 256)
    assert small.get_layer("fused").output.shape == (None, 384)


def test_weights_do_not_depend_on_the_size(tiny: dict[str, Any]) -> None:
    one, other = (build_dr_fused(**{**tiny, "size": size}, seed=1).get_weights() for size in (32, 64))
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


def test_batch_norm_momentum_reaches_every_layer(tiny: dict[str, Any], small: keras.Model) -> None:
    assert {norm.momentum for norm in batch_norms(small)} == {0.9}
    assert {norm.momentum for norm in batch_norms(build_dr_fused(**tiny))} == {0.99}


def test_freezing_starts_at_the_input_and_stops_batch_norm(tiny: dict[str, Any]) -> None:
    # Trunks of input, conv, bn, conv, bn(, conv): half of 6 and half of 5, rounded to even, layers.
    model = build_dr_fused(**tiny, freeze_fraction=0.5)
    trunks = [model.get_layer(name) for name in ("densenet201", "resnet101v2")]
    assert [len(trunk.layers) for trunk in trunks] == [6, 5]
    assert [[layer.trainable for layer in trunk.layers] for trunk in trunks] == [
        [False] * 3 + [True] * 3,
        [False] * 2 + [True] * 3,
    ]
    first = trunks[0].get_layer("block0_bn")
    before, later = first.moving_mean.numpy().copy(), trunks[0].get_layer("block1_bn").moving_mean.numpy().copy()
    model(np.ones((2, 32, 32, 3), dtype=np.float32), training=True)
    np.testing.assert_array_equal(first.moving_mean.numpy(), before)
    assert (trunks[0].get_layer("block1_bn").moving_mean.numpy() != later).any()
    everything = build_dr_fused(**tiny, freeze_fraction=1)
    assert len(everything.trainable_weights) == 4  # the head: two kernels, two biases


def test_backbone_weights_come_from_the_files_named(tiny: dict[str, Any], tmp_path: Path) -> None:
    files = {}
    for name, value in (("densenet201", 0.25), ("resnet101v2", 0.75)):
        backbone = backbones.BACKBONES[name](include_top=False, weights=None, input_shape=(48, 48, 3))
        backbone.set_weights([np.full_like(w, value) for w in backbone.get_weights()])
        backbone.save_weights(tmp_path / f"{name}.weights.h5")
        files[name] = tmp_path / f"{name}.weights.h5"
    model = build_dr_fused(**tiny, weights=files)
    for name, value in (("densenet201", 0.25), ("resnet101v2", 0.75)):
        assert {float(v) for w in model.get_layer(name).get_weights() for v in np.unique(w)} == {value}
    swapped = {"densenet201": files["resnet101v2"], "resnet101v2": files["densenet201"]}
    with pytest.raises(ModelError, match="does not hold the weights of densenet201"):
        build_dr_fused(**tiny, weights=swapped)
    (tmp_path / "notes.h5").write_text("not weights")
    with pytest.raises(ModelError, match="does not hold the weights of resnet101v2"):
        build_dr_fused(**tiny, weights={**files, "resnet101v2": tmp_path / "notes.h5"})
    with pytest.raises(ModelError, match="no such file"):
        build_dr_fused(**tiny, weights={**files, "resnet101v2": tmp_path / "absent.h5"})


def test_imagenet_without_a_network_says_which_files_to_name(tiny: dict[str, Any]) -> None:
    with pytest.raises(ModelError) as caught:
        build_dr_fused(**tiny, weights="imagenet")
    assert "densenet201: FILE, resnet101v2: FILE" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"size": 16}, "at least 32"),
        ({"size": "64"}, "at least 32"),
        ({"densenet_cut": "block1_cnv"}, "block1_conv"),
        ({"weights": "imagnet"}, "random, imagenet"),
        ({"weights": {"densenet201": "a.h5"}}, "resnet101v2"),
        ({"dropout": 1.0}, "below 1"),
        ({"freeze_fraction": 1.5}, "from 0 to 1"),
        ({"batch_norm_momentum": 1}, "null"),
        ({"classes": 1}, "at least 2"),
        ({"dense_units": None}, "at least 1"),
    ],
)
def test_a_mistaken_option_of_dr_fused_is_refused(tiny: dict[str, Any], change: dict, word: str) -> None:
    with pytest.raises(ModelError, match=word):
        build_dr_fused(**{**tiny, **change})


# ---- the refinement network


@pytest.mark.slow
def test_the_refiner_takes_its_inputs_by_name_or_in_alphabetical_order() -> None:
    model = build_drunet_unet()
    assert model.get_layer("bottleneck_conv").output.shape == (None, 140, 140, 128)
    assert model.get_layer("fused").output.shape[-1] == 4
    small = build_drunet_unet(40, fusion="convolve")
    rng = np.random.default_rng(0)
    inputs = {"input_image": rng.random((2, 40, 40, 3)), "input_pred": rng.random((2, 40, 40, 1))}
    probabilities = small.predict(inputs, verbose=0)
    np.testing.assert_array_equal(probabilities, small.predict(list(inputs.values()), verbose=0))


def test_the_refiner_skips_where_the_layout_says() -> None:
    def sources(model: keras.Model, name: str) -> list[str]:
        tensors = model.get_layer(name).input
        return [tensor._keras_history.operation.name for tensor in tensors]

    model = build_drunet_unet(32, top_skip=True)
    for level in (1, 2, 3, 4):
        assert sources(model, f"decoder_{level}_skip") == [f"decoder_{level}_conv", f"encoder_{level}_bn"]
    assert "decoder_1_skip" not in [layer.name for layer in build_drunet_unet(32).layers]
    ups = [layer for layer in model.layers if isinstance(layer, keras.layers.UpSampling2D)]
    assert [(up.name, up.interpolation) for up in ups] == [(f"decoder_{i}_up", "nearest") for i in (3, 2, 1)]
    [dropout] = [layer for layer in model.layers if isinstance(layer, keras.layers.SpatialDropout2D)]
    assert (dropout.rate, dropout.input._keras_history.operation.name) == (0.3, "encoder_3_conv_1")


def test_a_residual_refiner_begins_with_the_heatmap_and_changes_it_by_what_it_learns() -> None:
    rng = np.random.default_rng(1)
    image, heat = rng.random((2, 16, 16, 3)), rng.uniform(0.02, 0.98, (2, 16, 16, 1))
    heat[0, 0, :2, 0] = (0.0, 1.0)
    model = build_drunet_unet(16, residual=True)
    begun = model.predict([image, heat], verbose=0)
    np.testing.assert_allclose(begun[..., 1], np.clip(heat[..., 0], 0.01, 0.99), atol=1e-6)
    # A change of the log odds by 1.5 everywhere, by hand.
    model.get_layer("change").bias.assign([0.5, 2.0])
    odds = heat / (1 - heat) * np.exp(1.5)
    changed = model.predict([image, heat], verbose=0)[..., 1:]
    inside = (heat > 0) & (heat < 1)
    np.testing.assert_allclose(changed[inside], (odds / (1 + odds))[inside], atol=1e-5)
    with pytest.raises(ModelError, match="residual"):
        build_drunet_unet(16, residual=True, classes=3)


def test_a_momentum_is_that_of_every_normalisation_of_the_refiner() -> None:
    model = build_drunet_unet(16, batch_norm_momentum=0.9)
    assert {norm.momentum for norm in batch_norms(model)} == {0.9}


def test_mixed_precision_ends_in_single_precision() -> None:
    policy = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    try:
        model = build_drunet_unet(16)
    finally:
        keras.mixed_precision.set_dtype_policy(policy)
    assert model.get_layer("bottleneck_conv").compute_dtype == "bfloat16"
    assert model.output.dtype == "float32"


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"size": 100}, "multiple of 8"),
        ({"size": 0}, "multiple of 8"),
        ({"fusion": "add"}, "concatenate, convolve"),
        ({"spatial_dropout": 1.2}, "below 1"),
        ({"batch_norm_momentum": "0.9"}, "null"),
        ({"classes": 0}, "at least 2"),
    ],
)
def test_a_mistaken_option_of_the_refiner_is_refused(options: dict[str, Any], word: str) -> None:
    with pytest.raises(ModelError, match=word):
        build_drunet_unet(**options)


# ---- the registry


def test_the_registry_names_modules_without_importing_keras() -> None:
    code = (
        "import sys; from drunet.models import registry; "
        "print([registry.module_of(name) for name in registry.ARCHITECTURES]); "
        "[registry.check_options(name, {'seed': 1}, 'here') for name in registry.ARCHITECTURES if name != 'backbone']; "
        "sys.exit('keras' in sys.modules or 'tensorflow' in sys.modules)"
    )
    scripts = Path(registry.__file__).parents[2]
    run = subprocess.run([sys.executable, "-c", code], cwd=scripts, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "'drunet.models.dr_fused', 'drunet.models.drunet_unet'" in run.stdout


def test_an_unknown_architecture_is_refused_with_the_closest() -> None:
    with pytest.raises(ModelError) as caught:
        registry.build("dr-fused", size=64)
    assert "Did you mean dr_fused?" in str(caught.value)
    assert "drunet_unet" in str(caught.value)


@pytest.fixture
def others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A folder in the place of `workflow`, with an architecture that is not the library's."""
    monkeypatch.setattr(registry, "_WORKFLOW", tmp_path)
    registry._others.cache_clear()
    (tmp_path / "sky/models").mkdir(parents=True)
    (tmp_path / "sky/models/tiny.py").write_text("def build_tiny(size):\n    return size\n", encoding="utf-8")
    (tmp_path / "sky/large.py").write_text("def build_huge(size):\n    return size\n", encoding="utf-8")
    yield tmp_path
    registry._others.cache_clear()


def test_an_architecture_beside_the_library_is_found_by_the_name_of_its_file_and_builder(
    others: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert registry.module_of("tiny") == "sky.models.tiny"
    monkeypatch.syspath_prepend(str(others))
    assert registry.build("tiny", size=7) == 7
    with pytest.raises(ModelError, match=r"Did you mean tiny\? Known architectures: dr_fused, .*, tiny\.$"):
        registry.module_of("tinny")
    for name in ("large", "huge"):
        with pytest.raises(ModelError, match="unknown architecture"):
            registry.module_of(name)


def test_two_files_that_build_one_architecture_are_named(others: Path) -> None:
    (others / "tiny.py").write_text("def build_tiny():\n    return 1\n", encoding="utf-8")
    with pytest.raises(ModelError, match=r"two files build one architecture \(found: sky/models/tiny\.py, tiny\.py\)"):
        registry.module_of("tiny")


def test_an_unknown_option_is_refused_with_the_legal_ones() -> None:
    with pytest.raises(ModelError) as caught:
        registry.build("drunet_unet", topskip=True)
    assert "Did you mean top_skip?" in str(caught.value)
    assert "spatial_dropout" in str(caught.value)
    with pytest.raises(ModelError, match="'size' is missing"):
        registry.build("dr_fused")
    with pytest.raises(ModelError, match=r"^here: option 'backbone' is missing \(found: no options\)"):
        registry.check_options("backbone", {}, "here")
    registry.check_options("backbone", {"backbone": "vgg16"}, "here")


@pytest.mark.parametrize(
    ("architecture", "option", "value", "words"),
    [
        ("dr_fused", "dropout", "1e-5", "Write a number."),  # to YAML that is text
        ("dr_fused", "dense_units", 12.5, "Write a whole number."),
        ("dr_fused", "dense_units", True, "Write a whole number."),
        ("dr_fused", "densenet_cut", None, "Write a word."),
        ("dr_fused", "trainable_layers", "8", "Write a whole number or null."),
        ("drunet_unet", "top_skip", "yes", "Write true or false."),
        ("drunet_unet", "batch_norm_momentum", [0.9], "Write a number or null."),
        ("encoder_head", "dropout", None, "Write a number."),
    ],
)
def test_an_option_of_another_kind_is_refused_before_anything_is_built(
    architecture: str, option: str, value: object, words: str
) -> None:
    with pytest.raises(ModelError) as caught:
        registry.check_options(architecture, {option: value}, "here")
    assert str(caught.value) == f"here: option '{option}' is of another kind (found: {value!r}). {words}"


@pytest.mark.parametrize("architecture", [name for name in registry.ARCHITECTURES if name != "backbone"])
def test_whatever_a_builder_has_by_default_is_of_its_kind(architecture: str) -> None:
    module, _, function = registry.ARCHITECTURES[architecture].partition(":")
    builder = inspect.signature(getattr(importlib.import_module(module), function)).parameters
    defaults = {name: p.default for name, p in builder.items() if p.default is not p.empty}
    shared = {
        "weights": {"densenet201": "a.h5"},
        "classes": 3,
        "freeze_fraction": 0,
        "trainable_layers": None,
        "seed": 1,
    }
    assert defaults
    registry.check_options(architecture, {**defaults, **(shared if "shared" in builder else {})}, "here")


def test_whole_model_weights_go_back_into_the_same_architecture_only(tmp_path: Path) -> None:
    trained = build_drunet_unet(16, seed=1)
    trained.save_weights(tmp_path / "unet.weights.h5")
    fresh = build_drunet_unet(32, seed=2)
    registry.load_weights(fresh, tmp_path / "unet.weights.h5")
    for one, other in zip(trained.get_weights(), fresh.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(ModelError, match="does not fit"):
        registry.load_weights(build_drunet_unet(16, top_skip=True), tmp_path / "unet.weights.h5")
    # Keras itself takes the first layers of a larger network without a word.
    beginning = keras.Sequential([keras.Input((8, 8, 4)), keras.layers.Conv2D(4, 3), keras.layers.Conv2D(8, 3)])
    with pytest.raises(ModelError, match="64 arrays of weights where the model has 4"):
        registry.load_weights(beginning, tmp_path / "unet.weights.h5")
    with pytest.raises(ModelError, match="no such file"):
        registry.load_weights(fresh, tmp_path / "absent.weights.h5")


def test_damaged_weights_are_refused_in_one_message(tmp_path: Path) -> None:
    def small() -> keras.Model:
        return keras.Sequential([keras.Input((4,)), keras.layers.Dense(2), keras.layers.Dense(3)])

    path = tmp_path / "m.weights.h5"
    small().save_weights(path)
    whole = path.read_bytes()
    rng = np.random.default_rng(3)
    for _ in range(30):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), 40):
            damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        model = small()
        with contextlib.suppress(ModelError):
            registry.load_weights(model, path)
            assert all(np.isfinite(w).all() for w in model.get_weights())
    path.write_bytes(whole)
    with h5py.File(path, "a") as file:
        file["layers/dense/vars/0"][0, 0] = np.nan
    with pytest.raises(ModelError, match="holds weights that are no numbers"):
        registry.load_weights(small(), path)
    with h5py.File(path, "w") as file:
        group = file
        for _ in range(1200):
            group = group.create_group("g")
    with pytest.raises(ModelError, match="damaged"):
        registry.load_weights(small(), path)
