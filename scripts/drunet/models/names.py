"""What settings may call backbones and scalings of pixels, told without importing Keras."""

# What backbones are called in keras.applications; their names here are the same in small letters.
_KINDS = (
    "VGG16", "VGG19", "ResNet50", "ResNet101", "ResNet50V2", "ResNet101V2", "MobileNet", "MobileNetV2",
    "EfficientNetV2B0", "EfficientNetV2B1", "EfficientNetV2B2", "EfficientNetV2B3", "EfficientNetV2S",
    "EfficientNetV2M", "EfficientNetV2L", "InceptionV3", "InceptionResNetV2", "Xception", "DenseNet121",
    "DenseNet201",
)  # fmt: skip
APPLICATIONS = {kind.lower().removesuffix("b0"): kind for kind in _KINDS}
# See `drunet.models.image_normalisation`; "own" is that of a backbone in `OWN_SCALING`.
NORMALISATIONS = ("none", "imagenet", "symmetric", "caffe", "own")
# How pixels were scaled when Keras' ImageNet weights were trained: "caffe" is 0..255 in the order B, G, R.
_CAFFE = ("vgg16", "vgg19", "resnet50", "resnet101")
_IMAGENET = ("densenet121", "densenet201", "efficientnetv2", "efficientnetv2b1", "efficientnetv2b2", "efficientnetv2b3")
OWN_SCALING = {
    name: "caffe" if name in _CAFFE else "imagenet" if name in _IMAGENET else "symmetric" for name in APPLICATIONS
}
