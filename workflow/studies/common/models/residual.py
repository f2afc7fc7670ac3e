"""ResNet18 without its top.

Source: He et al. 2016, "Deep residual learning for image recognition", Table 1 and section 4.1: projection shortcuts
where shapes change (option B), batch normalisation after each convolution. Weights begin as in He et al. 2015, from a
normal distribution by fan-in, which Keras cuts off at two deviations.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

STAGES = {"c2": 64, "c3": 128, "c4": 256, "c5": 512}  # outputs of the stages, and their channels
_BLOCKS = 2


def build_resnet18(size: int, *, outputs: tuple[str, ...] = ("c5",), zero_init_residual: bool = False) -> keras.Model:
    """Build the trunk.

    Parameters
    ----------
    size : int
        Side of the input, px.
    outputs : tuple of str
        Stages whose outputs are given, of c2, c3, c4, c5: at a quarter to a thirty-second of the side, rounded up.
    zero_init_residual : bool
        The last scale (gamma) of every block begins at 0: each block is then the ReLU of its shortcut at first (Goyal
        et al. 2017, section 5.1).

    Returns
    -------
    keras.Model
        `resnet18`, from (n, size, size, 3) to (n, h, w, channels), or a list of them. 11,176,512 learnt parameters.
    """
    image = keras.Input((size, size, 3), name="image")
    x = _convolution(image, 64, 7, 2, "stem")
    x = layers.ReLU(name="stem_relu")(x)
    # Zeros serve as padding here as well as minus infinity would: nothing is below zero.
    x = layers.MaxPooling2D(3, 2, name="stem_pool")(layers.ZeroPadding2D(1, name="stem_pool_pad")(x))
    found = {}
    for stage, width in STAGES.items():
        for block in range(1, _BLOCKS + 1):
            stride = 2 if block == 1 and stage != "c2" else 1
            name = f"{stage}_block{block}"
            out = stage if block == _BLOCKS else f"{name}_out"
            x = _basic_block(x, width, stride, name, out, zero_init_residual)
        found[stage] = x
    chosen = [found[name] for name in outputs]
    return keras.Model(image, chosen if len(chosen) > 1 else chosen[0], name="resnet18")


def _basic_block(x: Any, width: int, stride: int, name: str, out: str, zero_init: bool) -> Any:
    """Two 3x3 convolutions, added to the shortcut before the last ReLU."""
    shortcut = x
    if stride != 1 or x.shape[-1] != width:
        shortcut = _convolution(x, width, 1, stride, f"{name}_shortcut")
    x = layers.ReLU(name=f"{name}_relu")(_convolution(x, width, 3, stride, f"{name}_first"))
    x = _convolution(x, width, 3, 1, f"{name}_second", gamma="zeros" if zero_init else "ones")
    return layers.ReLU(name=out)(layers.Add(name=f"{name}_sum")([shortcut, x]))


def _convolution(x: Any, width: int, kernel: int, stride: int, name: str, gamma: str = "ones") -> Any:
    """Convolution and batch normalisation; padded alike on all sides, which Keras' "same" is not where it strides."""
    if stride > 1 and kernel > 1:
        x = layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad")(x)
    x = layers.Conv2D(
        width,
        kernel,
        strides=stride,
        padding="valid" if stride > 1 else "same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    return layers.BatchNormalization(epsilon=1e-5, gamma_initializer=gamma, name=f"{name}_bn")(x)
