"""Finding layers in a model, also in models that are layers of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras

from drunet.errors import ModelError, spelt_alike


def find_layer(model: keras.Model, name: str) -> keras.layers.Layer:
    """The layer of a name or a path.

    `name`: `densenet201/conv4_block6_1_conv` for a layer of a model that is a layer itself; the last part is enough
    where only one layer is called so. Raises ModelError if there is no such layer, or several; with the nearest names.
    """
    paths = dict(walk(model))
    fitting = [path for path in paths if path == name or path.endswith(f"/{name}")]
    if name in paths or len(fitting) == 1:
        return paths[name if name in paths else fitting[0]]
    where = f"model {model.name}"
    if fitting:
        raise ModelError("several layers are called so", where=where, found=name, mend=f"Use {' or '.join(fitting)}.")
    # A path is also known by its last part, the first of several.
    known = {path.rpartition("/")[2]: path for path in reversed(paths)} | {path: path for path in paths}
    near = dict.fromkeys(known[found] for found in spelt_alike(name, known, at_most=3)) or default_layers(model)
    raise ModelError("there is no such layer", where=where, found=name, mend=f"Did you mean {', '.join(near)}?")


def default_layers(model: keras.Model) -> list[str]:
    """Names of the last layers that still have places: those that no other such layer of the model takes up.

    One for a plain network, one per branch where branches are fused after pooling: `densenet201` and `resnet101v2` in
    DR-fused. A model that is a layer counts as one layer, by its output.

    Raises ModelError if there is none, as in a network of dense layers, or one that is not made of layers in a graph.
    """
    spatial = [layer for layer in model.layers if _has_places(layer)]
    last = [layer.name for layer in spatial if not any(_feeds(layer, other) for other in spatial)]
    if not last:
        mend = "Explain a convolutional network, or name the layers."
        raise ModelError("no layer's output has places", where=f"model {model.name}", mend=mend)
    return last


def walk(model: keras.Model, prefix: str = "") -> Iterator[tuple[str, keras.layers.Layer]]:
    """Path and layer of all layers, also of models that are layers, each of those before its own; in Keras' order."""
    for layer in model.layers:
        yield prefix + layer.name, layer
        if isinstance(layer, keras.Model):
            yield from walk(layer, f"{prefix}{layer.name}/")


def _has_places(layer: keras.layers.Layer) -> bool:
    """Whether the output is (n, h, w, c) with more than one place; the input itself does not count."""
    if isinstance(layer, keras.layers.InputLayer):
        return False
    try:
        shape: Any = layer.output.shape
    except (AttributeError, ValueError):  # never called in a graph, or several outputs
        return False
    return len(shape) == 4 and tuple(shape[1:3]) != (1, 1)


def _feeds(layer: keras.layers.Layer, other: keras.layers.Layer) -> bool:
    # Keras says so publicly only for layers that are no models: `output` of those is a tensor of their own graph.
    return any(node.operation is other for node in layer._outbound_nodes)
