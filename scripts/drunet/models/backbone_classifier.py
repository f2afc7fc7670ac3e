"""A patch-wise classifier on one backbone, with the head of DR-fused: how DRU-Net compares backbones.

Source: DRU-Net, Table 5. The paper does not say where the single backbones end: here they are whole but for their top,
unless `cut` names a layer. The studies of other papers build theirs by the options.
"""

from typing import Unpack

import keras
from keras import layers

from drunet.models.backbones import features, weight_sources
from drunet.models.dr_fused import head
from drunet.models.image_normalisation import normalised
from drunet.models.names import check_backbone
from drunet.models.options import Network, Shared, whole_check


def build_backbone_classifier(
    size: int,
    *,
    backbone: str,
    cut: str | None = None,
    normalise: str = "none",
    dense_units: int = 512,
    dropout: float = 0.4,
    **shared: Unpack[Shared],
) -> keras.Model:
    """Build the classifier: `input_image` (n, size, size, 3) float in [0, 1] to probabilities (n, classes).

    The backbone is the layer of its name. Raises ModelError for an option out of range, a backbone or a cut that there
    is not, or weights that cannot be had or do not fit.

    Parameters
    ----------
    size : int
        Side of the square tile, px; at least 32 (published: 224). Inception needs 75 px and Xception 71: smaller tiles
        are enlarged to that, bilinearly, inside the graph.
    backbone : str
        A key of `drunet.models.backbones.BACKBONES`. `efficientnetv2` is EfficientNetV2-B0, for the paper does not say
        which it took; the others are there by their full names.
    cut : str or None
        Layer at which the backbone ends; None for all of it but the top.
    normalise : str
        "none" as DRU-Net's authors do; "own": as in the training of Keras' ImageNet weights.
    dense_units, dropout : int, float
        Width of the hidden layer, 0 for none, so that the softmax stands on the pooled features; rate behind the
        pooling, in [0, 1).
    **shared
        See `drunet.models.options.Network`.
    """
    network = Network("backbone", size, dropout=dropout, normalise=normalise, **shared)
    check_backbone(backbone, network.where)
    network.check(dense_units=whole_check(dense_units, 0))
    sources = weight_sources(network.weights, [backbone])
    image = network.image()
    seen = normalised(image, normalise, backbone)
    x = features(network, backbone, seen, sources=sources, cut=cut)
    x = layers.GlobalAveragePooling2D(name=f"{backbone}_pool")(x)
    x = head(x, dense_units, dropout, network.classes)
    return keras.Model(image, x, name=network.name)
