"""Convolutions read by a recurrent network, a prior model that the paper on distillation compares with.

Source: Tian et al. 2024, Table 5, which names a CNN-RNN and describes nothing. Read here as: the last map of a small
convolutional network, row by row from top to bottom, is the sequence that a gated recurrent unit (Cho et al. 2014)
reads; the softmax stands on its last state. The convolutions are those of `plain_cnn` with batch normalisation, so that
the two differ in what follows.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import layers

from drunet.models.dr_fused import head
from drunet.models.image_normalisation import normalisation_check, normalised
from drunet.models.options import check_own_network, switch_check, whole_check
from drunet.models.trunk import prepare_trunk
from studies.common.models.plain_cnn import convolution_blocks, filters_check

_WHERE = "architecture cnn_rnn"


def build_cnn_rnn(
    size: int,
    *,
    weights: str = "random",
    classes: int = 2,
    filters: Sequence[int] = (32, 64, 128, 256),
    convolutions: int = 1,
    batch_norm: bool = True,
    units: int = 128,
    normalise: str = "imagenet",
    dropout: float = 0.5,
    freeze_fraction: float = 0.0,
    batch_norm_momentum: float | None = None,
    seed: int = 0,
) -> keras.Model:
    """Build the classifier.

    Parameters
    ----------
    size : int
        Side of the square tile, px; at least 32. The weights of the recurrent unit depend on it.
    weights : "random"
        There are no weights to begin with but those of a whole trained model, which are read afterwards.
    classes : int
        Outputs of the softmax.
    filters, convolutions, batch_norm
        As in `plain_cnn`.
    units : int
        Of the recurrent state.
    normalise : {"imagenet", "symmetric", "caffe", "none"}
        How pixels are scaled inside the graph, see `drunet.models.image_normalisation`.
    dropout : float
        Rate on the last state, in [0, 1).
    freeze_fraction : float
        Share of the convolutional layers that is held fixed, counted from the input.
    batch_norm_momentum : float or None
        Of every batch normalisation, in [0, 1); None keeps Keras' own.
    seed : int
        Of the initial weights and the dropout. Sets the global seed of Keras.

    Returns
    -------
    keras.Model
        `input_image` (n, size, size, 3) float in [0, 1] to probabilities (n, classes).

    Raises
    ------
    ModelError
        For an option out of range.
    """
    check_own_network(
        _WHERE,
        size=size,
        weights=weights,
        classes=classes,
        dropout=dropout,
        freeze_fraction=freeze_fraction,
        batch_norm_momentum=batch_norm_momentum,
        more={
            "filters": filters_check(filters, size),
            "convolutions": whole_check(convolutions),
            "batch_norm": switch_check(batch_norm),
            "units": whole_check(units),
            "normalise": normalisation_check(normalise),
        },
    )
    keras.utils.set_random_seed(seed)
    image = keras.Input((size, size, 3), name="input_image")
    trunk = convolution_blocks(size, filters, convolutions, batch_norm)
    prepare_trunk(trunk, where=_WHERE, freeze_fraction=freeze_fraction, batch_norm_momentum=batch_norm_momentum)
    x = trunk(normalised(image, normalise))
    rows, columns, channels = x.shape[1:]
    x = layers.Reshape((rows, columns * channels), name="rows")(x)
    # Unrolled, for the rows are few and known: a loop in the graph is slow, and some ONNX engines have none.
    x = layers.GRU(units, unroll=True, use_cudnn=False, name="recurrent")(x)
    return keras.Model(image, head(x, 0, dropout, classes), name="cnn_rnn")
