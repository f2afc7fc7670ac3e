"""Squeeze-and-Excitation: each channel is scaled by what all channels hold on average.

Source: Hu et al. 2018, "Squeeze-and-excitation networks", equations 2 to 4, with biases.
"""

from __future__ import annotations

from typing import Any

from keras import layers


def squeeze_excitation(x: Any, reduction: int, name: str) -> Any:
    """Scale the channels of a map.

    Parameters
    ----------
    x : symbolic tensor (n, h, w, channels)
    reduction : int
        By which the hidden layer is narrower than the channels (published: 16); it keeps one unit at least.
    name : str
        Of the layer that gives the answer; the others' names begin with it.

    Returns
    -------
    symbolic tensor (n, h, w, channels)
        With 2 C^2 / r + C / r + C parameters for C channels and reduction r.
    """
    channels = x.shape[-1]
    gate = layers.GlobalAveragePooling2D(name=f"{name}_squeeze")(x)
    gate = layers.Dense(max(1, channels // reduction), activation="relu", name=f"{name}_reduce")(gate)
    gate = layers.Dense(channels, activation="sigmoid", name=f"{name}_gate")(gate)
    return layers.Multiply(name=name)([x, layers.Reshape((1, 1, channels), name=f"{name}_places")(gate)])
