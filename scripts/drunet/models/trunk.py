"""What of a network's trunk learns, and how fast its batch normalisation forgets."""

from __future__ import annotations

import keras
from keras import layers

from drunet.errors import ModelError
from drunet.models.options import Network


def prepare_trunk(trunk: keras.Model, network: Network) -> None:
    """Hold the first layers of a trunk fixed and set the momentum of its batch normalisations, in place.

    The network's `freeze_fraction` or `trainable_layers` and its `batch_norm_momentum` count. Raises ModelError if more
    layers are to learn than there are.
    """
    count, trainable_layers = len(trunk.layers), network.trainable_layers
    if trainable_layers is not None and trainable_layers > count:
        mend = f"{trunk.name} has {count} layers: use null for all of them, or 0 to {count}."
        raise ModelError("'trainable_layers' is out of range", where=network.where, found=trainable_layers, mend=mend)
    fixed = round(network.freeze_fraction * count) if trainable_layers is None else count - trainable_layers
    for layer in trunk.layers:
        if network.batch_norm_momentum is not None and isinstance(layer, layers.BatchNormalization):
            layer.momentum = network.batch_norm_momentum
    for layer in trunk.layers[:fixed]:
        layer.trainable = False
