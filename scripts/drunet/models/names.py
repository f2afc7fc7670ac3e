"""What settings may call backbones and scalings of pixels, told without importing Keras."""

from __future__ import annotations

# What backbones are called in keras.applications; their names here are the same in small letters.
_KINDS = (
    "VGG16", "VGG19", "ResNet50", "ResNet101", "ResNet50V2", "ResNet101V2", "MobileNet", "MobileNetV2",
    "EfficientNetV2B0", "EfficientNetV2B1", "EfficientNetV2B2", "EfficientNetV2B3", "EfficientNetV2S",
    "EfficientNetV2M", "EfficientNetV2L", "InceptionV3", "InceptionResNetV2", "Xception", "DenseNet121",
    "DenseNet201",
)  # fmt: skip
APPLICATIONS = {kind.lower().removesuffix("b0"): kind for kind in _KINDS}
# See `drunet.models.image_normalisation`.
NORMALISATIONS = ("none", "imagenet", "symmetric", "caffe")
