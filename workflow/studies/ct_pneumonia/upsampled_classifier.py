"""The fine-tuned networks of the CT study: a backbone, its map up-sampled, dense layers between batch normalisations.

Source: Chu et al. 2024 and their code, which is where the order of the head's layers and the numbers of trainable
layers come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from drunet.models.backbones import (
    Weights,
    check_backbone,
    check_classifier_options,
    check_what_learns,
    features,
    weight_sources,
)
from drunet.models.image_normalisation import normalisation_check, normalised
from drunet.models.options import refuse_unfit, switch_check, whole, whole_check

_WHERE = "architecture upsampled_classifier"


def build_upsampled_classifier(
    size: int,
    *,
    backbone: str,
    weights: Weights = "random",
    normalise: str = "none",
    dense_units: Sequence[int] = (256,),
    dropout: float = 0.3,
    first_dropout: bool = True,
    upsampling: int = 4,
    freeze_fraction: float = 0.0,
    trainable_layers: int | None = None,
    batch_norm_momentum: float | None = None,
    classes: int = 2,
    seed: int = 0,
) -> keras.Model:
    """Build the classifier.

    backbone -> up-sampling -> global average -> BN -> [dropout] -> dense (ReLU) -> BN -> [dropout] -> ... -> softmax.

    Every pixel of a map is repeated as often as any other by nearest up-sampling, so that its mean over the map is what
    it was: the layer costs time and memory and changes no answer. It stands here because the published networks have
    it, and 1 leaves it out.

    Parameters
    ----------
    size : int
        Side of the square image, px; at least 32 (published: 224, 299 or 320). Inception needs 75 px and Xception
        71: smaller images are enlarged to that, bilinearly, inside the graph.
    backbone : str
        A key of `drunet.models.backbones.BACKBONES`.
    weights : "random", "imagenet" or {backbone: file}
        As of `build_backbone_classifier`.
    normalise : {"none", "imagenet", "symmetric", "caffe"}
        How pixels are scaled inside the graph. The authors scale to [0, 1] ("none"), to [-1, 1] ("symmetric"), or
        subtract the channel means of training, validation and test images from each set and reverse the channels, for
        which "caffe" stands with its fixed means: a mean of the test images is not known for one image.
    dense_units : sequence of int
        Widths of the hidden layers; empty for none.
    dropout : float
        Rate, in [0, 1), before the first hidden layer and behind every one; 0 for none.
    first_dropout : bool
        Whether there is one before the first hidden layer (published: not in Xception).
    upsampling : int
        Factor; 1 for none.
    freeze_fraction : float
        Share of the backbone's layers that is held fixed, counted from the input (the paper says 0.7).
    trainable_layers : int or None
        Only so many layers of the backbone learn, counted from its output, in place of `freeze_fraction` (the authors'
        code counts so).
    batch_norm_momentum : float or None
        Of every batch normalisation, in [0, 1), those of the head too; None keeps Keras' own.
    classes : int
        Outputs of the softmax.
    seed : int
        Of the initial weights and the dropout. Sets the global seed of Keras.

    Returns
    -------
    keras.Model
        `input_image` (n, size, size, 3) float in [0, 1] to probabilities (n, classes). The backbone is the layer of its
        name.

    Raises
    ------
    ModelError
        For an option out of range, a backbone that there is not, or weights that cannot be had or do not fit.
    """
    check_backbone(backbone, _WHERE)
    check_classifier_options(
        _WHERE,
        size=size,
        dense_units=1,  # one width; the list has a check of its own
        dropout=dropout,
        classes=classes,
        freeze_fraction=freeze_fraction,
        batch_norm_momentum=batch_norm_momentum,
    )
    refuse_unfit(
        _WHERE,
        {
            "normalise": normalisation_check(normalise),
            "dense_units": _widths_check(dense_units),
            "first_dropout": switch_check(first_dropout),
            "upsampling": whole_check(upsampling),
        },
    )
    check_what_learns(_WHERE, trainable_layers, freeze_fraction)
    sources = weight_sources(weights, [backbone])
    keras.utils.set_random_seed(seed)
    image = keras.Input((size, size, 3), name="input_image")
    x = features(
        backbone,
        normalised(image, normalise),
        sources=sources,
        freeze_fraction=freeze_fraction,
        trainable_layers=trainable_layers,
        batch_norm_momentum=batch_norm_momentum,
        where=_WHERE,
    )
    if upsampling > 1:
        x = layers.UpSampling2D(upsampling, interpolation="nearest", name="upsampled")(x)
    x = layers.GlobalAveragePooling2D(name=f"{backbone}_pool")(x)
    x = _head(x, dense_units, dropout, first_dropout, batch_norm_momentum)
    # A softmax in half precision loses what mixed precision must keep.
    x = layers.Dense(classes, activation="softmax", dtype="float32", name="probabilities")(x)
    return keras.Model(image, x, name="upsampled_classifier")


def _head(x: Any, dense_units: Sequence[int], dropout: float, first_dropout: bool, momentum: float | None) -> Any:
    """From pooled features (n, channels) to the last hidden layer's, normalised."""
    own = {} if momentum is None else {"momentum": momentum}
    x = layers.BatchNormalization(name="pool_bn", **own)(x)
    if dropout and first_dropout:
        x = layers.Dropout(dropout, name="pool_dropout")(x)
    for number, units in enumerate(dense_units, start=1):
        x = layers.Dense(units, activation="relu", name=f"hidden_{number}")(x)
        x = layers.BatchNormalization(name=f"hidden_{number}_bn", **own)(x)
        if dropout:
            x = layers.Dropout(dropout, name=f"hidden_{number}_dropout")(x)
    return x


def _widths_check(units: object) -> tuple[object, bool, str]:
    fits = isinstance(units, list | tuple) and all(whole(width, 1) for width in units)
    return units, fits, "Use a list of whole numbers of at least 1."
