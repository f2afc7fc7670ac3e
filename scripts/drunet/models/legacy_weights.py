"""Weights in the layout of Keras 2 (`.h5`), in which H2G-Net and other networks were released.

Only arrays are read: what a file says of layers and losses is never run. Its layers are found by their names, as those
of a MobileNetV2 are the same everywhere, and the rest (`conv2d_7`, `dense`) by their kind and order. H2G-Net's U-Net
takes one picture of four channels, which must be the slide's red, green and blue, then the heatmap; of its
renormalised batch normalisation, which Keras 3 no longer has, the arrays that inference applies are taken.
"""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from drunet.errors import ModelError
from drunet.files import AnyPath

# A layer's name, and what it holds by role: kernel, bias, gamma, beta, moving_mean, moving_variance.
Layer = tuple[str, Mapping[str, Any]]
_TRAINING_ONLY = ("renorm_mean", "renorm_stddev", "renorm_mean_weight", "renorm_stddev_weight", "moving_stddev")


def is_legacy(path: AnyPath) -> bool:
    """Whether a file has the layout of Keras 2, of weights alone or of a whole model; OSError if it is no HDF5."""
    import h5py  # type: ignore[import-untyped]

    with h5py.File(path) as file:
        return "model_weights" in file or bool(_texts(file, "layer_names"))


def load_legacy(model: Any, path: AnyPath) -> None:
    """Put the weights of such a file into a keras.Model.

    Raises ModelError if a layer lacks its counterpart, or one of another shape is in its place; the model may then hold
    some of them.
    """
    import h5py

    with h5py.File(path) as file:
        group = file.get("model_weights", file)
        for (name, own), (theirs, held) in _paired(list(_layers_of(model)), _layers_in(group), path):
            for role, variable in own.items():
                if held[role].shape != tuple(variable.shape):
                    found = f"{theirs} {role} {list(held[role].shape)}, for {name} {list(variable.shape)}"
                    raise _unfit(path, "a layer has another shape", found)
                variable.assign(held[role][()])


def _layers_of(model: Any) -> Iterator[Layer]:
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from _layers_of(layer)
        elif layer.weights:
            yield layer.name, {variable.name: variable for variable in layer.weights}


def _layers_in(group: Any) -> list[Layer]:
    """Layers of a file in its order; those of a network inside it stand among the others."""
    layers: dict[str, dict[str, Any]] = {}
    for name in _texts(group, "layer_names"):
        for weight in _texts(group[name], "weight_names"):
            *scopes, role = weight.split(":")[0].split("/")
            if role not in _TRAINING_ONLY:
                layers.setdefault(scopes[-1] if scopes else name, {})[role] = group[name][weight]
    for roles in layers.values():
        if "depthwise_kernel" in roles and "pointwise_kernel" not in roles:
            roles["kernel"] = roles.pop("depthwise_kernel")
    return list(layers.items())


def _texts(group: Any, key: str) -> list[str]:
    """A list of names among a group's attributes, which Keras divides where it is too long for one."""
    parts = [group.attrs[key]] if key in group.attrs else []
    while f"{key}{len(parts)}" in group.attrs:
        parts.append(group.attrs[f"{key}{len(parts)}"])
    return [n.decode() if isinstance(n, bytes) else str(n) for part in parts for n in part]


def _paired(own: Sequence[Layer], held: Sequence[Layer], path: AnyPath) -> list[tuple[Layer, Layer]]:
    times = Counter(name for name, _ in own)
    by_name = {name: (name, roles) for name, roles in held if times[name] == 1}
    pairs = [(layer, by_name[layer[0]]) for layer in own if layer[0] in by_name]
    rest = [layer for layer in own if layer[0] not in by_name], [layer for layer in held if layer[0] not in by_name]
    for kind in {frozenset(roles) for layers in rest for _, roles in layers}:
        ours, theirs = ([layer for layer in layers if set(layer[1]) == kind] for layers in rest)
        if len(ours) != len(theirs):
            found = f"{len(theirs)} layers with {', '.join(sorted(kind))}, where the model has {len(ours)}"
            raise _unfit(path, "the file has other layers", found)
        pairs += zip(ours, theirs, strict=True)
    if lacking := [layer[0] for layer, (_, roles) in pairs if not set(layer[1]) <= set(roles)]:
        raise _unfit(path, "the file has fewer arrays of a layer", lacking[0])
    return pairs


def _unfit(path: AnyPath, what: str, found: str) -> ModelError:
    mend = "Use the weights with the architecture and the options that they were trained with."
    return ModelError(f"{what} than the model", where=f"weights file {os.fspath(path)}", found=found, mend=mend)
