"""DR-fused, the patch-wise classifier of DRU-Net: truncated DenseNet201 and ResNet101V2 side by side.

Source: DRU-Net, "Patch-wise classifier"; cuts, head and scaling from the authors' repository. Both branches take RGB
scaled to [0, 1], not the preprocessing of Keras' own applications.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import keras
from keras import layers

from drunet.errors import ModelError
from drunet.models.options import momentum_check, refuse_unfit, within

BACKBONES: dict[str, Callable[..., keras.Model]] = {
    "densenet201": keras.applications.DenseNet201,
    "resnet101v2": keras.applications.ResNet101V2,
}
SMALLEST = 32  # px; what Keras' backbones need
_WHERE = "architecture dr_fused"

Weights = str | Mapping[str, str | os.PathLike[str]]


def build_dr_fused(
    size: int,
    *,
    weights: Weights = "random",
    densenet_cut: str = "conv4_block6_1_conv",
    resnet_cut: str = "conv4_block9_1_bn",
    dense_units: int = 512,
    dropout: float = 0.4,
    classes: int = 2,
    freeze_fraction: float = 0.0,
    batch_norm_momentum: float | None = None,
    seed: int = 0,
) -> keras.Model:
    """Build the classifier.

    Parameters
    ----------
    size : int
        Side of the square tile, px; at least 32 (published: 224).
    weights : "random", "imagenet" or {"densenet201": file, "resnet101v2": file}
        "imagenet" fetches Keras' own files; where there is no network, name the same files (without top).
    densenet_cut, resnet_cut : str
        Layers at which the backbones end; the defaults give 128 and 256 channels at 1/16 of the size.
    dense_units : int
        Width of the hidden layer.
    dropout : float
        Rate before the hidden layer, in [0, 1).
    classes : int
        Outputs of the softmax.
    freeze_fraction : float
        Share of each truncated backbone's layers that is held fixed, counted from the input. A frozen
        batch normalisation also uses its moving averages, in training too.
    batch_norm_momentum : float or None
        Of every batch normalisation, in [0, 1); None keeps Keras' 0.99.
    seed : int
        Of the initial weights and the dropout. Sets the global seed of Keras.

    Returns
    -------
    keras.Model
        `input_image` (n, size, size, 3) float in [0, 1] to probabilities (n, classes). The backbones are the layers
        `densenet201` and `resnet101v2`. 13,179,330 parameters with the defaults, whatever the size.

    Raises
    ------
    ModelError
        For an option out of range, a cut that names no layer, or weights that cannot be had or do not fit.
    """
    _check(size, dense_units, dropout, classes, freeze_fraction, batch_norm_momentum)
    sources = _weight_sources(weights)
    cuts = {"densenet201": densenet_cut, "resnet101v2": resnet_cut}
    keras.utils.set_random_seed(seed)
    image = keras.Input((size, size, 3), name="input_image")
    features = []
    for name, cut in cuts.items():
        trunk = _trunk(name, size, cut, sources[name], batch_norm_momentum)
        _freeze(trunk, freeze_fraction)
        features.append(layers.GlobalAveragePooling2D(name=f"{name}_pool")(trunk(image)))
    x = layers.Concatenate(name="fused")(features)
    x = layers.Dropout(dropout, name="dropout")(x)
    x = layers.Dense(dense_units, activation="relu", name="hidden")(x)
    # A softmax in half precision loses what mixed precision must keep.
    x = layers.Dense(classes, activation="softmax", dtype="float32", name="probabilities")(x)
    return keras.Model(image, x, name="dr_fused")


def _trunk(name: str, size: int, cut: str, source: str | None, momentum: float | None) -> keras.Model:
    """Build a backbone up to and including the layer `cut`, as a graph of its own."""
    backbone = _backbone(name, size, source)
    names = [layer.name for layer in backbone.layers]
    if cut not in names:
        close = difflib.get_close_matches(cut, names, n=3)
        mend = f"Name a layer of {name}, e.g. {', '.join(close) or names[-1]}."
        raise ModelError(f"{name} has no such layer", where=_WHERE, found=cut, mend=mend)
    whole = keras.Model(backbone.input, backbone.get_layer(cut).output, name=name)
    # The layers behind the cut hang on the backbone's graph and would stay in memory with their 48 million weights.
    trunk = keras.models.clone_model(whole)
    trunk.set_weights(whole.get_weights())
    for layer in trunk.layers:
        if momentum is not None and isinstance(layer, layers.BatchNormalization):
            layer.momentum = momentum
    return trunk


def _backbone(name: str, size: int, source: str | None) -> keras.Model:
    build = BACKBONES[name]
    shape = (size, size, 3)
    if source == "imagenet":
        try:
            return build(include_top=False, weights="imagenet", input_shape=shape)
        except Exception as error:  # Keras raises a bare Exception where a download fails
            mend = (
                "Without a network, fetch Keras' files for include_top=False elsewhere and name them: "
                "weights: {densenet201: FILE, resnet101v2: FILE}."
            )
            raise ModelError(f"the ImageNet weights of {name} cannot be had", where=_WHERE, mend=mend) from error
    model = build(include_top=False, weights=None, input_shape=shape)
    if source is not None:
        _load(model, name, source)
    return model


def _load(model: keras.Model, name: str, path: str) -> None:
    where = f"weights.{name}"
    if not Path(path).is_file():
        raise ModelError("there is no such file", where=where, found=path, mend="Check the path.")
    try:
        model.load_weights(path)
    except (ValueError, OSError, KeyError) as error:
        mend = f"Name a file with the weights of Keras' {name} for include_top=False."
        raise ModelError(f"the file does not hold the weights of {name}", where=where, found=path, mend=mend) from error


def _weight_sources(weights: Weights) -> dict[str, str | None]:
    """Say per backbone: None for random, "imagenet", or a path."""
    if isinstance(weights, Mapping):
        if set(weights) != set(BACKBONES):
            mend = f"Name one file each for {' and '.join(BACKBONES)}."
            raise ModelError("wrong backbones", where="weights", found=", ".join(map(str, weights)), mend=mend)
        return {name: os.fspath(weights[name]) for name in BACKBONES}
    if weights not in ("random", "imagenet"):
        mend = "Use random, imagenet or {densenet201: FILE, resnet101v2: FILE}."
        raise ModelError("unknown initial weights", where="weights", found=weights, mend=mend)
    return dict.fromkeys(BACKBONES, None if weights == "random" else weights)


def _freeze(trunk: keras.Model, fraction: float) -> None:
    for layer in trunk.layers[: round(fraction * len(trunk.layers))]:
        layer.trainable = False


def _check(
    size: int, dense_units: int, dropout: float, classes: int, freeze_fraction: float, momentum: float | None
) -> None:
    share = freeze_fraction == 1 or within(freeze_fraction, 0, 1)
    refuse_unfit(
        _WHERE,
        {
            "size": (size, within(size, SMALLEST) and size == int(size), f"Use tiles of at least {SMALLEST} px."),
            "dense_units": (dense_units, within(dense_units, 1), "Use at least 1."),
            "dropout": (dropout, within(dropout, 0, 1), "Use a rate from 0 to below 1."),
            "classes": (classes, within(classes, 2), "Use at least 2."),
            "freeze_fraction": (freeze_fraction, share, "Use a share from 0 to 1."),
            "batch_norm_momentum": momentum_check(momentum),
        },
    )
