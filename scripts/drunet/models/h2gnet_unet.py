"""The refinement network of H2G-Net, which DRU-Net is compared with: a U-Net of nine levels.

Source: widths and order of layers from the authors' repository of H2G-Net. There, picture and heatmap come as one input
of four channels; here they are two inputs, as for any refiner, and put together inside. There, batch normalisation is
the renormalised kind, which Keras 3 no longer has; the arrays of weights that are applied are the same.
"""

from typing import Any

import keras
from keras import layers

from drunet.models.options import Network, rate_check, within

FILTERS = (8, 16, 32, 64, 128, 128, 256, 256, 512)  # from full resolution down to 1/256


def build_h2gnet_unet(
    size: int = 1024,
    *,
    spatial_dropout: float = 0.1,
    classes: int = 2,
    batch_norm_momentum: float | None = None,
    seed: int = 0,
) -> keras.Model:
    """Build the refinement network, of the inputs and output of `drunet.models.drunet_unet.build_drunet_unet`.

    `size`, the side of the square input, is a multiple of 256 px, since it is halved eight times; `spatial_dropout` is
    the rate after every convolution of the decoder, in [0, 1); the rest is as there. 11,572,562 parameters with two
    classes. Raises ModelError for an option out of range.
    """
    stride = 2 ** (len(FILTERS) - 1)
    network = Network("h2gnet_unet", size, batch_norm_momentum=batch_norm_momentum, classes=classes, seed=seed)
    network.check(
        size=(size, within(size, stride) and size % stride == 0, f"Use a multiple of {stride}."),
        spatial_dropout=rate_check(spatial_dropout),
    )
    image, norm = network.image(), network.norm
    heatmap = keras.Input((size, size, 1), name="input_pred")
    x = layers.Concatenate(name="fused")([image, heatmap])

    skips = []
    for level, filters in enumerate(FILTERS[:-1], start=1):
        x = _block(x, filters, f"encoder_{level}", norm)
        skips.append(x)
        x = layers.MaxPooling2D(2, name=f"encoder_{level}_pool")(x)
    x = _block(x, FILTERS[-1], "bottleneck", norm)
    for level, filters in reversed(list(enumerate(FILTERS[:-1], start=1))):
        x = layers.UpSampling2D(2, interpolation="nearest", name=f"decoder_{level}_up")(x)
        x = layers.Concatenate(name=f"decoder_{level}_skip")([skips[level - 1], x])
        x = _block(x, filters, f"decoder_{level}", norm, spatial_dropout)

    # A softmax in half precision loses what mixed precision must keep.
    x = layers.Conv2D(classes, 1, activation="softmax", dtype="float32", name="probabilities")(x)
    return keras.Model([image, heatmap], x, name=network.name)


def _block(x: Any, filters: int, name: str, norm: dict[str, Any], dropout: float = 0.0) -> Any:
    """Twice a convolution, batch normalisation, ReLU and, in the decoder, spatial dropout."""
    for i in (1, 2):
        x = layers.Conv2D(filters, 3, padding="same", name=f"{name}_conv_{i}")(x)
        x = layers.BatchNormalization(name=f"{name}_bn_{i}", **norm)(x)
        x = layers.ReLU(name=f"{name}_relu_{i}")(x)
        if dropout:
            x = layers.SpatialDropout2D(dropout, name=f"{name}_dropout_{i}")(x)
    return x
