"""MFStudentLNet: ResNet18, Squeeze-and-Excitation on its stages, a feature pyramid, a classifier on all scales.

Source: Tian et al. 2024, "Precise and automated lung cancer cell classification using deep neural network with
multiscale features and model distillation", "Proposed deep learning model" and Table 2, whose steps the options give.
The paper states neither the pyramid's width nor how its levels are fused: see the options.
"""

from collections.abc import Mapping
from typing import Any, Unpack

import keras
from keras import layers

from drunet.models.dr_fused import head
from drunet.models.image_normalisation import normalised
from drunet.models.options import Network, Shared, refuse_unfit, whole_check
from studies.common.models.plain_cnn import switch_check

STAGES = {"c2": 64, "c3": 128, "c4": 256, "c5": 512}  # outputs of ResNet18's stages, and their channels
_BLOCKS = 2
_REDUCTION = 16  # published, of Squeeze-and-Excitation
_LEAST_SEEN = 16  # px; the last stage still has a place of its own there


def build_mfstudentlnet(
    size: int,
    *,
    pyramid: bool = True,
    squeeze_excitation: bool = True,
    pyramid_width: int = 64,
    shrink: int = 1,
    normalise: str = "imagenet",
    dropout: float = 0.0,
    **shared: Unpack[Shared],
) -> keras.Model:
    """Build the classifier for square tiles of `size` px (published: 224).

    `pyramid` and `squeeze_excitation` are the steps of the ablation: without the pyramid the classifier stands on the
    last stage alone, without both it is a plain ResNet18. `pyramid_width` are the pyramid's channels: its own authors
    took 256, for detection, which at 224 px costs more than the whole trunk; 64 costs a tenth of it, as a student
    should. `shrink` (1, 2 or 4) averages the tile to a fraction of its side first, of which 16 px must be left.
    `dropout` is the rate before the classifier; for the others see `drunet.models.options.Network`.

    Returns `input_image` (n, size, size, 3) float in [0, 1] to probabilities (n, classes). The trunk is the layer
    `resnet18`, with the stages `c2` to `c5`; their scaled maps are `se2` to `se5`, the pyramid's levels `p2` to `p5`.
    Raises ModelError for an option out of range.
    """
    network = Network("mfstudentlnet", size, dropout=dropout, normalise=normalise, **shared)
    network.check(
        on_backbone=False,
        pyramid=switch_check(pyramid),
        squeeze_excitation=switch_check(squeeze_excitation),
        pyramid_width=whole_check(pyramid_width),
        shrink=(shrink, shrink in (1, 2, 4) and not isinstance(shrink, bool), "Use 1, 2 or 4."),
    )
    left = f"Use a size that is a multiple of {shrink} and at least {_LEAST_SEEN * shrink} px, or less shrinking."
    fits = size % shrink == 0 and size // shrink >= _LEAST_SEEN
    refuse_unfit(network.where, {"shrink": (f"{shrink} for tiles of {size} px", fits, left)})
    image = network.image()
    x = layers.AveragePooling2D(shrink, name="shrunk")(image) if shrink > 1 else image
    x = normalised(x, normalise)
    used = tuple(STAGES) if pyramid else ("c5",)
    trunk = build_resnet18(size // shrink, outputs=used)
    network.prepare(trunk)
    found = trunk(x)
    stages = dict(zip(used, found if pyramid else [found], strict=True))
    if squeeze_excitation:
        stages = {name: recalibrated(stage, _REDUCTION, f"se{name[1:]}") for name, stage in stages.items()}
    if pyramid:
        stages = feature_pyramid({f"p{name[1:]}": stage for name, stage in stages.items()}, pyramid_width)
    pooled = [layers.GlobalAveragePooling2D(name=f"{name}_pool")(stage) for name, stage in stages.items()]
    x = layers.Concatenate(name="fused")(pooled) if pyramid else pooled[0]
    return keras.Model(image, head(x, 0, dropout, network.classes), name=network.name)


def build_resnet18(size: int, *, outputs: tuple[str, ...] = ("c5",)) -> keras.Model:
    """Build ResNet18 without its top, from (n, size, size, 3) to the stages `outputs`: one, or a list of them.

    The stages c2 to c5 have a quarter to a thirty-second of the side, rounded up; 11,176,512 learnt parameters.

    Source: He et al. 2016, "Deep residual learning for image recognition", Table 1 and section 4.1: projection
    shortcuts where shapes change (option B), batch normalisation after each convolution. Weights begin as in He et al.
    2015, from a normal distribution by fan-in, which Keras cuts off at two deviations.
    """
    image = keras.Input((size, size, 3), name="image")
    x = _convolution(image, 64, 7, 2, "stem")
    x = layers.ReLU(name="stem_relu")(x)
    # Zeros serve as padding here as well as minus infinity would: nothing is below zero.
    x = layers.MaxPooling2D(3, 2, name="stem_pool")(layers.ZeroPadding2D(1, name="stem_pool_pad")(x))
    found = {}
    for stage, width in STAGES.items():
        for block in range(1, _BLOCKS + 1):
            stride = 2 if block == 1 and stage != "c2" else 1
            name = f"{stage}_block{block}"
            x = _basic_block(x, width, stride, name, stage if block == _BLOCKS else f"{name}_out")
        found[stage] = x
    chosen = [found[name] for name in outputs]
    return keras.Model(image, chosen if len(chosen) > 1 else chosen[0], name="resnet18")


def recalibrated(x: Any, reduction: int, name: str) -> Any:
    """Scale each channel of a map by what all channels hold on average, in a layer `name`: Squeeze-and-Excitation.

    Source: Hu et al. 2018, "Squeeze-and-excitation networks", equations 2 to 4, with biases. The hidden layer is
    narrower than the channels by `reduction`, and keeps one unit at least.
    """
    channels = x.shape[-1]
    gate = layers.GlobalAveragePooling2D(name=f"{name}_squeeze")(x)
    gate = layers.Dense(max(1, channels // reduction), activation="relu", name=f"{name}_reduce")(gate)
    gate = layers.Dense(channels, activation="sigmoid", name=f"{name}_gate")(gate)
    return layers.Multiply(name=name)([x, layers.Reshape((1, 1, channels), name=f"{name}_places")(gate)])


def feature_pyramid(stages: Mapping[str, Any], width: int) -> dict[str, Any]:
    """Bring what the late stages know back to the places of the early ones: levels (n, h, w, width), as layers.

    `stages` are maps by the names of their levels, finest first, each side half of the one before, rounded up. 1x1
    convolutions bring them to one width, the coarser level is added after nearest up-sampling, cropped where a side is
    odd, and a 3x3 convolution smooths each sum.

    Source: Lin et al. 2017, "Feature pyramid networks for object detection", section 3. They have no activation at the
    end, but heads with ReLUs behind it. Here the mean over all places comes next, and up-sampling changes no mean: but
    for the borders a linear pyramid would give the classifier no more than the four stages' means. Hence the ReLU.
    """
    merged: dict[str, Any] = {}
    coarser: Any = None
    for name, stage in reversed(list(stages.items())):
        x = layers.Conv2D(width, 1, name=f"{name}_lateral")(stage)
        if coarser is not None:
            x = layers.Add(name=f"{name}_sum")([x, _enlarged(coarser, x, name)])
        merged[name] = coarser = x
    return {n: layers.Conv2D(width, 3, padding="same", activation="relu", name=n)(merged[n]) for n in stages}


def _enlarged(coarse: Any, fine: Any, name: str) -> Any:
    x = layers.UpSampling2D(2, interpolation="nearest", name=f"{name}_enlarged")(coarse)
    down, along = (x.shape[axis] - fine.shape[axis] for axis in (1, 2))
    return layers.Cropping2D(((0, down), (0, along)), name=f"{name}_cropped")(x) if down or along else x


def _basic_block(x: Any, width: int, stride: int, name: str, out: str) -> Any:
    """Two 3x3 convolutions, added to the shortcut before the last ReLU."""
    shortcut = x
    if stride != 1 or x.shape[-1] != width:
        shortcut = _convolution(x, width, 1, stride, f"{name}_shortcut")
    x = layers.ReLU(name=f"{name}_relu")(_convolution(x, width, 3, stride, f"{name}_first"))
    x = _convolution(x, width, 3, 1, f"{name}_second")
    return layers.ReLU(name=out)(layers.Add(name=f"{name}_sum")([shortcut, x]))


def _convolution(x: Any, width: int, kernel: int, stride: int, name: str) -> Any:
    """Convolution and batch normalisation; padded alike on all sides, which Keras' "same" is not where it strides."""
    if stride > 1 and kernel > 1:
        x = layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad")(x)
    how: dict[str, Any] = {"strides": stride, "padding": "valid" if stride > 1 else "same", "use_bias": False}
    x = layers.Conv2D(width, kernel, kernel_initializer="he_normal", name=f"{name}_conv", **how)(x)
    return layers.BatchNormalization(epsilon=1e-5, name=f"{name}_bn")(x)
