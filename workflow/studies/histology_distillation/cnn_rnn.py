"""Convolutions read by a recurrent network, a prior model that the paper on distillation compares with.

Source: Tian et al. 2024, Table 5, which names a CNN-RNN and describes nothing. Read here as: the last map of
`plain_cnn` with batch normalisation, row by row from top to bottom, is the sequence that a gated recurrent unit (Cho et
al. 2014) reads; the softmax stands on its last state.
"""

from collections.abc import Sequence
from typing import Unpack

import keras
from keras import layers

from drunet.models.dr_fused import head
from drunet.models.options import Network, Shared, whole_check
from studies.common.models.plain_cnn import convolved


def build_cnn_rnn(
    size: int,
    *,
    filters: Sequence[int] = (32, 64, 128, 256),
    convolutions: int = 1,
    batch_norm: bool = True,
    units: int = 128,
    normalise: str = "imagenet",
    dropout: float = 0.5,
    **shared: Unpack[Shared],
) -> keras.Model:
    """Build the classifier: `input_image` (n, size, size, 3) float in [0, 1] to probabilities (n, classes).

    `size` is at least 32 px; the weights of the recurrent unit, with a state of `units`, depend on it. `filters`,
    `convolutions` and `batch_norm` are as in `plain_cnn`; `dropout` is on the last state; further options:
    `drunet.models.options.Network`. Raises ModelError for an option out of range.
    """
    network = Network("cnn_rnn", size, dropout=dropout, normalise=normalise, **shared)
    image, x = convolved(network, filters, convolutions, batch_norm, units=whole_check(units))
    rows, columns, channels = x.shape[1:]
    x = layers.Reshape((rows, columns * channels), name="rows")(x)
    # Unrolled, for the rows are few and known: a loop in the graph is slow, and some ONNX engines have none.
    x = layers.GRU(units, unroll=True, use_cudnn=False, name="recurrent")(x)
    return keras.Model(image, head(x, 0, dropout, network.classes), name=network.name)
