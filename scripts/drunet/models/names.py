"""What settings may call backbones and scalings of pixels, told without importing Keras."""

from drunet.errors import ModelError, closest

# What backbones are called in keras.applications (their names here are the same in small letters), by how pixels were
# scaled when Keras' ImageNet weights were trained: "caffe" is 0..255 in the order B, G, R.
_SCALED = {
    "caffe": ("VGG16", "VGG19", "ResNet50", "ResNet101"),
    "imagenet": ("DenseNet121", "DenseNet201", *(f"EfficientNetV2B{number}" for number in range(4))),
    "symmetric": ("ResNet50V2", "ResNet101V2", "MobileNet", "MobileNetV2", *(f"EfficientNetV2{size}" for size in "SML"),
                  "InceptionV3", "InceptionResNetV2", "Xception"),
}  # fmt: skip
APPLICATIONS = {kind.lower().removesuffix("b0"): kind for kinds in _SCALED.values() for kind in kinds}
# See `drunet.models.image_normalisation`; "own" is that of a backbone in `OWN_SCALING`.
NORMALISATIONS = ("none", "imagenet", "symmetric", "caffe", "own")
OWN_SCALING = {kind.lower().removesuffix("b0"): how for how, kinds in _SCALED.items() for kind in kinds}


def check_backbone(name: str, where: str) -> None:
    """Refuse a backbone that there is not; raises ModelError."""
    if name not in APPLICATIONS:
        raise ModelError("unknown backbone", where=where, found=name, mend=closest(name, APPLICATIONS))
