"""The head of a patch-wise classifier on the features of an encoder: one dense layer, or two."""

import keras
import numpy as np
from keras import layers

from drunet.models.dr_fused import head
from drunet.models.options import rate_check, refuse_unfit, whole_check

# Name of the input.
FEATURES = "features"
_STANDARDISED = "standardised"
# Of a feature's size: what half precision cannot resolve is noise, which must not be blown up to a deviation of 1.
_RESOLUTION = 2.0**-10


def build_encoder_head(features: int, *, dense_units: int = 0, dropout: float = 0.0, seed: int = 0) -> keras.Model:
    """Build the head: `features` (n, features) to probabilities (n, 2).

    The layer `standardised` takes the mean off each feature and divides by its deviation, see `standardise`.
    `dense_units` is the width of the hidden layer, 0 for none: a logistic regression; `dropout` the rate before the
    first dense layer, in [0, 1); `seed` is of the initial weights and the dropout, and sets the global seed of Keras.
    Raises ModelError for an option out of range.
    """
    checks = {"dense_units": whole_check(dense_units, 0), "dropout": rate_check(dropout)}
    refuse_unfit("architecture encoder_head", checks)
    keras.utils.set_random_seed(seed)
    given = keras.Input((features,), name=FEATURES)
    # Not trained, it uses what it is told. Keras' Normalization holds constants that tf2onnx takes for inputs.
    norm = layers.BatchNormalization(center=False, scale=False, epsilon=0.0, trainable=False, name=_STANDARDISED)
    x = norm(given)
    return keras.Model(given, head(x, dense_units, dropout, 2), name="encoder_head")


def standardise(model: keras.Model, mean: np.ndarray, variance: np.ndarray) -> None:
    """Tell a head the mean and variance, float (features,), of the features that it learns from."""
    least = (_RESOLUTION * mean) ** 2 + _RESOLUTION**2 * variance.mean()
    layer = model.get_layer(_STANDARDISED)
    layer.moving_mean.assign(mean)
    layer.moving_variance.assign(np.maximum(variance, np.maximum(least, np.finfo(np.float32).tiny)))


def typical_features(model: keras.Model, rng: np.random.Generator) -> np.ndarray:
    """A row of features as the head may see it: float32 (features,)."""
    layer = model.get_layer(_STANDARDISED)
    mean, variance = (
        keras.ops.convert_to_numpy(v).astype(np.float64) for v in (layer.moving_mean, layer.moving_variance)
    )
    return rng.normal(mean, np.sqrt(variance)).astype(np.float32)
