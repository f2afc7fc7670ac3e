"""The fine-tuned networks of the CT study: a backbone, its map up-sampled, dense layers between batch normalisations.

Source: Chu et al. and their code, which is where the order of the head's layers and the numbers of trainable
layers come from.
"""

from collections.abc import Sequence
from typing import Any, Unpack

import keras
from keras import layers

from drunet.models.backbones import features, weight_sources
from drunet.models.image_normalisation import normalised
from drunet.models.names import check_backbone
from drunet.models.options import Network, Shared, whole, whole_check
from studies.common.models.plain_cnn import switch_check


def build_upsampled_classifier(
    size: int,
    *,
    backbone: str,
    normalise: str = "none",
    dense_units: Sequence[int] = (256,),
    dropout: float = 0.3,
    first_dropout: bool = True,
    upsampling: int = 4,
    **shared: Unpack[Shared],
) -> keras.Model:
    """Build the classifier: `input_image` (n, size, size, 3) float in [0, 1] to probabilities (n, classes).

    backbone -> up-sampling -> global average -> BN -> [dropout] -> dense (ReLU) -> BN -> [dropout] -> ... -> softmax.

    `size` is at least 32 px (published: 224, 299 or 320); backbones that need more (Inception 75 px, Xception 71) get
    images enlarged inside the graph. The authors scale pixels to [0, 1] ("none"), to [-1, 1] ("symmetric"), or subtract
    the channel means of training, validation and test images from each set and reverse the channels, for which "caffe"
    stands with its fixed means: a mean of the test images is not known for one image.

    Nearest `upsampling` leaves the mean of a map what it was: the layer changes no answer, and stands here because the
    published networks have it; 1 leaves it out. `dropout` is behind every hidden layer and, unless `first_dropout` is
    false (published: in Xception), before the first. The authors' code counts `trainable_layers`. Further options:
    `drunet.models.options.Network`. Raises ModelError.
    """
    network = Network("upsampled_classifier", size, dropout=dropout, normalise=normalise, **shared)
    check_backbone(backbone, network.where)
    listed = isinstance(dense_units, list | tuple) and all(whole(width, 1) for width in dense_units)
    network.check(
        dense_units=(dense_units, listed, "Use a list of whole numbers of at least 1."),
        first_dropout=switch_check(first_dropout),
        upsampling=whole_check(upsampling),
    )
    sources = weight_sources(network.weights, [backbone])
    image = network.image()
    seen = normalised(image, normalise, backbone)
    x = features(network, backbone, seen, sources=sources)
    if upsampling > 1:
        x = layers.UpSampling2D(upsampling, interpolation="nearest", name="upsampled")(x)
    x = layers.GlobalAveragePooling2D(name=f"{backbone}_pool")(x)
    x = _head(x, dense_units, dropout, first_dropout, network.norm)
    # A softmax in half precision loses what mixed precision must keep.
    x = layers.Dense(network.classes, activation="softmax", dtype="float32", name="probabilities")(x)
    return keras.Model(image, x, name=network.name)


def _head(x: Any, dense_units: Sequence[int], dropout: float, first_dropout: bool, norm: dict[str, Any]) -> Any:
    """From pooled features (n, channels) to the last hidden layer's, normalised."""
    x = layers.BatchNormalization(name="pool_bn", **norm)(x)
    if dropout and first_dropout:
        x = layers.Dropout(dropout, name="pool_dropout")(x)
    for number, units in enumerate(dense_units, start=1):
        x = layers.Dense(units, activation="relu", name=f"hidden_{number}")(x)
        x = layers.BatchNormalization(name=f"hidden_{number}_bn", **norm)(x)
        if dropout:
            x = layers.Dropout(dropout, name=f"hidden_{number}_dropout")(x)
    return x
