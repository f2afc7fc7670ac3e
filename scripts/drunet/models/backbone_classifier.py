"""A patch-wise classifier on one backbone, with the head of DR-fused: how DRU-Net compares backbones.

Source: DRU-Net, Table 5. The paper does not say where the single backbones end: here they are whole but for their top,
unless `cut` names a layer. The studies of other papers build theirs by the options.
"""

from __future__ import annotations

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
from drunet.models.dr_fused import head
from drunet.models.image_normalisation import normalisation_check, normalised
from drunet.models.options import refuse_unfit

_WHERE = "architecture backbone"


def build_backbone_classifier(
    size: int,
    *,
    backbone: str,
    weights: Weights = "random",
    cut: str | None = None,
    normalise: str = "none",
    dense_units: int = 512,
    dropout: float = 0.4,
    classes: int = 2,
    freeze_fraction: float = 0.0,
    trainable_layers: int | None = None,
    batch_norm_momentum: float | None = None,
    seed: int = 0,
) -> keras.Model:
    """Build the classifier.

    Parameters
    ----------
    size : int
        Side of the square tile, px; at least 32 (published: 224). Inception needs 75 px and Xception 71: smaller tiles
        are enlarged to that, bilinearly, inside the graph.
    backbone : str
        A key of `drunet.models.backbones.BACKBONES`. `efficientnetv2` is EfficientNetV2-B0, for the paper does not say
        which it took; the others are there by their full names.
    weights : "random", "imagenet" or {backbone: file}
        "imagenet" fetches Keras' own file; where there is no network, name the same file (without top).
    cut : str or None
        Layer at which the backbone ends; None for all of it but the top.
    normalise : {"none", "imagenet", "symmetric", "caffe"}
        How pixels are scaled inside the graph, see `models.image_normalisation`. "none" as DRU-Net's authors
        do; which one Keras' own weights were trained with is said in `drunet.models.backbones`.
    dense_units : int
        Width of the hidden layer; 0 for none, so that the softmax stands on the pooled features.
    dropout : float
        Rate behind the pooling, in [0, 1).
    classes : int
        Outputs of the softmax.
    freeze_fraction : float
        Share of the backbone's layers that is held fixed, counted from the input. A frozen batch normalisation also
        uses its moving averages, in training too.
    trainable_layers : int or None
        Only so many layers of the backbone learn, counted from its output, in place of `freeze_fraction`.
    batch_norm_momentum : float or None
        Of every batch normalisation, in [0, 1); None keeps Keras' own.
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
        For an option out of range, a backbone or a cut that there is not, or weights that cannot be had or do not fit.
    """
    check_backbone(backbone, _WHERE)
    check_classifier_options(
        _WHERE,
        size=size,
        dense_units=dense_units,
        dropout=dropout,
        classes=classes,
        freeze_fraction=freeze_fraction,
        batch_norm_momentum=batch_norm_momentum,
        least_units=0,
    )
    refuse_unfit(_WHERE, {"normalise": normalisation_check(normalise)})
    check_what_learns(_WHERE, trainable_layers, freeze_fraction)
    sources = weight_sources(weights, [backbone])
    keras.utils.set_random_seed(seed)
    image = keras.Input((size, size, 3), name="input_image")
    x = features(
        backbone,
        normalised(image, normalise),
        sources=sources,
        cut=cut,
        freeze_fraction=freeze_fraction,
        trainable_layers=trainable_layers,
        batch_norm_momentum=batch_norm_momentum,
        where=_WHERE,
    )
    x = layers.GlobalAveragePooling2D(name=f"{backbone}_pool")(x)
    x = head(x, dense_units, dropout, classes)
    return keras.Model(image, x, name="backbone")
