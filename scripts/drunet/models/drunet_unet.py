"""The refinement network of DRU-Net: a light U-Net that sees the low-resolution slide and the stitched heatmap.

Source: DRU-Net, "Refinement network"; widths and order of layers from the authors' repository. The paper concatenates
image and heatmap to four channels; the authors' code first makes three channels of the heatmap by a convolution.
"""

from typing import Any

import keras
from keras import layers, ops

from drunet.models.options import Network, rate_check, within

FUSIONS = ("concatenate", "convolve")
SURE = 0.01  # of a residual: a heatmap is believed no more than this, so that it can be changed


def build_drunet_unet(
    size: int = 1120,
    *,
    fusion: str = "concatenate",
    top_skip: bool = False,
    residual: bool = False,
    spatial_dropout: float = 0.3,
    classes: int = 2,
    batch_norm_momentum: float | None = None,
    seed: int = 0,
) -> keras.Model:
    """Build the network: `input_image` (n, size, size, 3) and `input_pred` (…, 1) to probabilities (n, size, size,
    classes).

    Inputs are float in [0, 1], their names in alphabetical order, by which FAST numbers its ports. 235,156 parameters
    with "convolve". Raises ModelError for an option out of range.

    Parameters
    ----------
    size : int
        Side of the square input, px; a multiple of 8, since it is halved three times.
    fusion : {"concatenate", "convolve"}
        "concatenate": image and heatmap as four channels (paper). "convolve": the heatmap goes through a convolution to
        three channels first (authors' code).
    top_skip : bool
        Add the skip connection at full resolution, which the paper leaves out for smoother outlines.
    residual : bool
        Answer with a change of the heatmap: what the network gives is added to the heatmap's log odds, so that the
        heatmap comes out as it went in before anything is learnt. Not in the paper; for two classes.
    spatial_dropout : float
        Rate in the third block, in [0, 1).
    classes : int
        Channels of the softmax; 0 is background.
    batch_norm_momentum : float or None
        Of every batch normalisation, in [0, 1); None keeps Keras' 0.99.
    seed : int
        Of the initial weights and the dropout. Sets the global seed of Keras.
    """
    network = Network("drunet_unet", size, batch_norm_momentum=batch_norm_momentum, classes=classes, seed=seed)
    network.check(
        size=(size, within(size, 8) and size % 8 == 0, "Use a multiple of 8."),
        fusion=(fusion, fusion in FUSIONS, f"Use one of: {', '.join(FUSIONS)}."),
        residual=(residual, classes == 2 or not residual, "Leave it out, or take two classes."),
        spatial_dropout=rate_check(spatial_dropout),
    )
    image, norm = network.image(), network.norm
    heatmap = keras.Input((size, size, 1), name="input_pred")

    features = _conv(heatmap, 3, "heatmap_conv") if fusion == "convolve" else heatmap
    x = layers.Concatenate(name="fused")([image, features])

    skips = []
    for level, (first, second, dropout) in enumerate(
        ((4, 8, 0.0), (8, 16, 0.0), (16, 32, spatial_dropout), (32, 64, 0.0)), start=1
    ):
        x = _encoder_block(x, first, second, f"encoder_{level}", dropout, norm)
        skips.append(x)
        if level < 4:
            x = layers.MaxPooling2D(2, name=f"encoder_{level}_pool")(x)

    x = _conv(x, 128, "bottleneck_conv")
    x = layers.BatchNormalization(name="bottleneck_bn", **norm)(x)

    x = _decoder_block(x, 64, skips[3], "decoder_4", norm, upsample=False)
    x = _decoder_block(x, 32, skips[2], "decoder_3", norm)
    x = _decoder_block(x, 16, skips[1], "decoder_2", norm)
    x = _decoder_block(x, 8, skips[0] if top_skip else None, "decoder_1", norm)

    # A softmax in half precision loses what mixed precision must keep.
    if residual:
        x = layers.Conv2D(classes, 3, padding="same", kernel_initializer="zeros", dtype="float32", name="change")(x)
        x = layers.Softmax(dtype="float32", name="probabilities")(x + _log_odds(heatmap))
    else:
        x = layers.Conv2D(classes, 3, padding="same", activation="softmax", dtype="float32", name="probabilities")(x)
    return keras.Model([image, heatmap], x, name=network.name)


def _log_odds(heatmap: Any) -> Any:
    """Log probability of background and of tumour, up to what a softmax takes out again; (n, h, w, 2)."""
    sure = ops.cast(ops.clip(heatmap, SURE, 1 - SURE), "float32")
    return ops.concatenate([ops.log(1 - sure), ops.log(sure)], axis=-1)


def _conv(x: Any, filters: int, name: str) -> Any:
    return layers.Conv2D(filters, 3, padding="same", activation="relu", name=name)(x)


def _encoder_block(x: Any, first: int, second: int, name: str, dropout: float, norm: dict[str, Any]) -> Any:
    """Two convolutions, spatial dropout between them if any, and batch normalisation."""
    x = _conv(x, first, f"{name}_conv_1")
    if dropout:
        x = layers.SpatialDropout2D(dropout, name=f"{name}_dropout")(x)
    x = _conv(x, second, f"{name}_conv_2")
    return layers.BatchNormalization(name=f"{name}_bn", **norm)(x)


def _decoder_block(x: Any, filters: int, skip: Any, name: str, norm: dict[str, Any], *, upsample: bool = True) -> Any:
    """Nearest up-sampling, one convolution, the skip connection if any, and batch normalisation over both."""
    if upsample:
        x = layers.UpSampling2D(2, interpolation="nearest", name=f"{name}_up")(x)
    x = _conv(x, filters, f"{name}_conv")
    if skip is not None:
        x = layers.Concatenate(name=f"{name}_skip")([x, skip])
    return layers.BatchNormalization(name=f"{name}_bn", **norm)(x)
