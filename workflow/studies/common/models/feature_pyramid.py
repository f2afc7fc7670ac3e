"""Feature pyramid: what the late stages of a network know, brought back to the places of the early ones.

Source: Lin et al. 2017, "Feature pyramid networks for object detection", section 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keras import layers


def feature_pyramid(stages: Mapping[str, Any], width: int, activation: str) -> dict[str, Any]:
    """Build the levels.

    Parameters
    ----------
    stages : mapping of str to symbolic tensor (n, h, w, channels)
        Level names, finest first, each with the map that it is made from; each side is half of the one
        before, rounded up.
    width : int
        Channels of every level (published: 256).
    activation : str
        Of the smoothing convolutions; "linear" as published.

    Returns
    -------
    dict of str to symbolic tensor (n, h, w, width)
        The levels, finest first, as layers of their names.

    Notes
    -----
    1x1 convolutions bring all stages to one width, the coarser level is added after nearest up-sampling, and a 3x3
    convolution smooths each sum. Where a side is odd, the up-sampled map is one place too large and is cropped there.
    """
    merged: dict[str, Any] = {}
    coarser: Any = None
    for name, stage in reversed(list(stages.items())):
        x = layers.Conv2D(width, 1, name=f"{name}_lateral")(stage)
        if coarser is not None:
            x = layers.Add(name=f"{name}_sum")([x, _enlarged(coarser, x, name)])
        merged[name] = coarser = x
    return {
        name: layers.Conv2D(width, 3, padding="same", activation=activation, name=name)(merged[name]) for name in stages
    }


def _enlarged(coarse: Any, fine: Any, name: str) -> Any:
    x = layers.UpSampling2D(2, interpolation="nearest", name=f"{name}_enlarged")(coarse)
    down, along = (x.shape[axis] - fine.shape[axis] for axis in (1, 2))
    return layers.Cropping2D(((0, down), (0, along)), name=f"{name}_cropped")(x) if down or along else x
