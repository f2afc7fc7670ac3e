"""How pixels in [0, 1] are scaled inside the graph, before a network sees them."""

from typing import Any

import keras
from keras import ops

from drunet.models.names import OWN_SCALING

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)

# Per scheme a mean and a deviation per channel R, G, B, in units of [0, 1], and whether the answer is B, G, R.
_SCHEMES: dict[str, tuple[tuple[float, ...], tuple[float, ...], bool]] = {
    "imagenet": (IMAGENET_MEAN, IMAGENET_DEVIATION, False),
    "symmetric": ((0.5,) * 3, (0.5,) * 3, False),
    # The means of the networks trained in Caffe, on 0..255.
    "caffe": ((123.68 / 255, 116.779 / 255, 103.939 / 255), (1 / 255,) * 3, True),
}


@keras.saving.register_keras_serializable(package="drunet")
class ImageNormalisation(keras.layers.Layer):
    """Scale RGB in [0, 1] as a network wants it; shapes stay as they are.

    The scheme "imagenet": less ImageNet's mean, over its deviation, per channel; "symmetric": to [-1, 1]; "caffe":
    0..255 less ImageNet's mean, in the order B, G, R.
    """

    def __init__(self, scheme: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if scheme not in _SCHEMES:
            raise ValueError(f"unknown normalisation {scheme!r}, expected one of {', '.join(_SCHEMES)}")
        self.scheme = scheme

    def call(self, inputs: Any) -> Any:
        """Return the scaled pixels."""
        mean, deviation, reverse = _SCHEMES[self.scheme]
        scaled = (inputs - ops.cast(mean, self.compute_dtype)) / ops.cast(deviation, self.compute_dtype)
        return ops.flip(scaled, axis=-1) if reverse else scaled

    def get_config(self) -> dict[str, Any]:
        """Return what builds the layer anew."""
        return {**super().get_config(), "scheme": self.scheme}


def normalised(image: Any, how: str, backbone: str | None = None, name: str = "normalised") -> Any:
    """Pass an image through `ImageNormalisation`, a layer of that name; "none" leaves it alone.

    "own" is how the pixels were scaled that Keras' ImageNet weights of the `backbone` were trained with.
    """
    how = OWN_SCALING[backbone] if how == "own" and backbone else how
    return image if how == "none" else ImageNormalisation(how, name=name)(image)
