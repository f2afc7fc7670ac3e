"""Backbones from Keras' applications: built without their top, cut, frozen, with the weights that are asked for.

What they see is up to the architecture: RGB in [0, 1], as the authors' code feeds both branches of DR-fused, or scaled
by `models.image_normalisation`, perhaps as in the training of Keras' ImageNet weights (`models.names.OWN_SCALING`).
"""

import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import keras
from keras import layers

from drunet.errors import ModelError, spelt_alike
from drunet.models.names import APPLICATIONS
from drunet.models.options import SMALLEST, Network, Weights


def _application_of(kind: str) -> Callable[..., keras.Model]:
    """What builds a network of keras.applications; EfficientNetV2 without the scaling of its own."""
    own = {"include_preprocessing": False} if kind.startswith("EfficientNetV2") else {}
    return partial(getattr(keras.applications, kind), **own)


BACKBONES: dict[str, Callable[..., keras.Model]] = {name: _application_of(kind) for name, kind in APPLICATIONS.items()}
_SMALLEST_INPUT = {"inceptionv3": 75, "inceptionresnetv2": 75, "xception": 71}  # px; of the others: SMALLEST


def smallest_input(name: str) -> int:
    """The least side of an image that Keras builds a backbone for, px."""
    return _SMALLEST_INPUT.get(name, SMALLEST)


def weight_sources(weights: Weights, names: Iterable[str]) -> dict[str, str | None]:
    """Say where the initial weights of some backbones come from: None for random, "imagenet", or a path.

    A mapping may name further backbones, so that one serves several networks. Raises ModelError for a backbone without
    a file, and for anything that is neither a mapping, "random" nor "imagenet".
    """
    names = list(names)
    form = _files_form(names)
    if isinstance(weights, Mapping):
        if not set(names) <= set(weights) <= set(BACKBONES):
            mend = f"Name a file for each: {form}."
            raise ModelError("wrong backbones", where="weights", found=", ".join(map(str, weights)), mend=mend)
        return {name: os.fspath(weights[name]) for name in names}
    if weights not in ("random", "imagenet"):
        raise ModelError(
            "unknown initial weights", where="weights", found=weights, mend=f"Use random, imagenet or {form}."
        )
    return dict.fromkeys(names, None if weights == "random" else weights)


def features(
    network: Network,
    name: str,
    image: Any,
    *,
    sources: Mapping[str, str | None],
    cut: str | None = None,
) -> Any:
    """Pass an image, (n, size, size, 3), through a backbone: symbolic tensor (n, h, w, channels).

    It follows the network's `freeze_fraction`, `trainable_layers` and `batch_norm_momentum`, and becomes the layer of
    its name, a key of `BACKBONES`. An image that is smaller than it bears (Inception: 75 px, Xception: 71 px) is first
    enlarged bilinearly, in the graph. `sources` are from `weight_sources`, of all backbones of the network; at the
    layer `cut` the backbone ends, None for all of it but the top. Raises ModelError for a cut that names no layer, more
    layers to learn than there are, or weights that cannot be had or do not fit.
    """
    size, needed = image.shape[1], smallest_input(name)
    if size < needed:
        image = layers.Resizing(needed, needed, interpolation="bilinear", name=f"{name}_enlarged")(image)
    whole = _application(name, max(size, needed), sources, network.where)
    trunk = whole if cut is None else _truncated(whole, name, cut, network.where)
    trunk.name = name
    network.prepare(trunk)
    return trunk(image)


def _files_form(names: Iterable[str]) -> str:
    """How a configuration names a weights file per backbone."""
    return "{" + ", ".join(f"{name}: FILE" for name in names) + "}"


def _truncated(backbone: keras.Model, name: str, cut: str, where: str) -> keras.Model:
    names = [layer.name for layer in backbone.layers]
    if cut not in names:
        close = spelt_alike(cut, names, at_most=3)
        mend = f"Name a layer of {name}, e.g. {', '.join(close) or names[-1]}."
        raise ModelError(f"{name} has no such layer", where=where, found=cut, mend=mend)
    whole = keras.Model(backbone.input, backbone.get_layer(cut).output, name=name)
    # The layers behind the cut belong to the backbone's graph and would stay in memory with all their weights.
    trunk = keras.models.clone_model(whole)
    trunk.set_weights(whole.get_weights())
    return trunk


def _application(name: str, size: int, sources: Mapping[str, str | None], where: str) -> keras.Model:
    build, source = BACKBONES[name], sources[name]
    shape = (size, size, 3)
    if source == "imagenet":
        try:
            return build(include_top=False, weights="imagenet", input_shape=shape)
        except Exception as error:  # Keras raises a bare Exception where a download fails
            mend = (
                "Without a network, fetch Keras' files for include_top=False elsewhere and name them: "
                f"weights: {_files_form(sources)}."
            )
            raise ModelError(f"the ImageNet weights of {name} cannot be had", where=where, mend=mend) from error
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
