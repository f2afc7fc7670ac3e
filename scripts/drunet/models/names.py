"""What settings may call backbones and scalings of pixels, told without importing Keras."""

from __future__ import annotations

# Name of a backbone, and what it is called in keras.applications.
APPLICATIONS = {
    "vgg16": "VGG16",
    "vgg19": "VGG19",
    "resnet50": "ResNet50",
    "resnet101": "ResNet101",
    "resnet50v2": "ResNet50V2",
    "resnet101v2": "ResNet101V2",
    "mobilenet": "MobileNet",
    "mobilenetv2": "MobileNetV2",
    "efficientnetv2": "EfficientNetV2B0",
    "efficientnetv2b1": "EfficientNetV2B1",
    "efficientnetv2b2": "EfficientNetV2B2",
    "efficientnetv2b3": "EfficientNetV2B3",
    "efficientnetv2s": "EfficientNetV2S",
    "efficientnetv2m": "EfficientNetV2M",
    "efficientnetv2l": "EfficientNetV2L",
    "inceptionv3": "InceptionV3",
    "inceptionresnetv2": "InceptionResNetV2",
    "xception": "Xception",
    "densenet121": "DenseNet121",
    "densenet201": "DenseNet201",
}
# See `drunet.models.image_normalisation`.
NORMALISATIONS = ("none", "imagenet", "symmetric", "caffe")
