"""MFStudentLNet: ResNet18, Squeeze-and-Excitation on its stages, a feature pyramid, a classifier on all scales.

Source: Tian et al. 2024, "Precise and automated lung cancer cell classification using deep neural network with
multiscale features and model distillation", "Proposed deep learning model" and Table 2, whose steps the options give.
The paper states neither the pyramid's width nor how its levels are fused: see the options.
"""

from __future__ import annotations

from typing import Any, Unpack

import keras
from keras import layers

from drunet.models.dr_fused import head
from drunet.models.image_normalisation import normalised
from drunet.models.options import Network, Shared, refuse_unfit, whole_check
from drunet.models.trunk import prepare_trunk
from studies.common.models.feature_pyramid import feature_pyramid
from studies.common.models.residual import STAGES, build_resnet18
from studies.common.models.squeeze_excitation import squeeze_excitation as recalibrate
from studies.common.models.switch import switch_check

_LEAST_SEEN = 16  # px; the last stage still has a place of its own there
_SHRINKS, _ACTIVATIONS = (1, 2, 4), ("relu", "linear")


def build_mfstudentlnet(
    size: int,
    *,
    pyramid: bool = True,
    squeeze_excitation: bool = True,
    pyramid_width: int = 64,
    pyramid_activation: str = "relu",
    reduction: int = 16,
    shrink: int = 1,
    normalise: str = "imagenet",
    dropout: float = 0.0,
    zero_init_residual: bool = False,
    **shared: Unpack[Shared],
) -> keras.Model:
    """Build the classifier.

    Parameters
    ----------
    size : int
        Side of the square tile, px; at least 32 (published: 224).
    pyramid, squeeze_excitation : bool
        The steps of the ablation. Without the pyramid the classifier stands on the last stage alone; without both this
        is a plain ResNet18. The blocks stand between trunk and pyramid: each stage hands its plain output to the next.
    pyramid_width : int
        Channels of the pyramid. Its own authors took 256, for detection, which at 224 px costs more than the whole
        trunk; 64 costs a tenth of it, as a student should.
    pyramid_activation : {"relu", "linear"}
        After the smoothing convolutions. The pyramid's authors have none, but heads with ReLUs behind it. Here the mean
        over all places comes next, and up-sampling does not change a mean: but for the borders a linear pyramid gives
        the classifier no more than the four stages' means would.
    reduction : int
        Of the Squeeze-and-Excitation blocks, at least 1.
    shrink : {1, 2, 4}
        The tile is first brought to a fraction of its side by averaging, in the graph: a student that looks at fewer
        pixels. `size` must be a multiple of it, and 16 px must be left.
    normalise : str
        See `drunet.models.options.Network`.
    dropout : float
        Rate before the classifier, in [0, 1).
    zero_init_residual : bool
        Each residual block begins as the ReLU of its shortcut.
    **shared
        See `drunet.models.options.Network`.

    Returns
    -------
    keras.Model
        `input_image` (n, size, size, 3) float in [0, 1] to probabilities (n, classes). The trunk is the layer
        `resnet18`, with the stages `c2` to `c5`; their scaled maps are `se2` to `se5`, the pyramid's levels `p2` to
        `p5`.

    Raises
    ------
    ModelError
        For an option out of range.
    """
    network = Network("mfstudentlnet", size, dropout=dropout, normalise=normalise, **shared)
    network.check(
        on_backbone=False,
        pyramid=switch_check(pyramid),
        squeeze_excitation=switch_check(squeeze_excitation),
        zero_init_residual=switch_check(zero_init_residual),
        pyramid_width=whole_check(pyramid_width),
        pyramid_activation=(pyramid_activation, pyramid_activation in _ACTIVATIONS, "Use relu or linear."),
        reduction=whole_check(reduction),
        shrink=(shrink, shrink in _SHRINKS and not isinstance(shrink, bool), "Use 1, 2 or 4."),
    )
    _check_shrunk(network.where, size, shrink)
    image = network.image()
    x = layers.AveragePooling2D(shrink, name="shrunk")(image) if shrink > 1 else image
    x = normalised(x, normalise)
    used = tuple(STAGES) if pyramid else ("c5",)
    trunk = build_resnet18(size // shrink, outputs=used, zero_init_residual=zero_init_residual)
    prepare_trunk(trunk, network)
    found = trunk(x)
    stages = dict(zip(used, found if pyramid else [found], strict=True))
    if squeeze_excitation:
        stages = _recalibrated(stages, reduction)
    x = _fused(stages, pyramid_width, pyramid_activation) if pyramid else _pooled(stages["c5"], "c5")
    x = head(x, 0, dropout, network.classes)
    return keras.Model(image, x, name=network.name)


def _recalibrated(stages: dict[str, Any], reduction: int) -> dict[str, Any]:
    return {name: recalibrate(stage, reduction, f"se{name[1:]}") for name, stage in stages.items()}


def _fused(stages: dict[str, Any], width: int, activation: str) -> Any:
    """Means of all levels of the pyramid side by side, (n, levels * width)."""
    levels = feature_pyramid({f"p{name[1:]}": stage for name, stage in stages.items()}, width, activation)
    return layers.Concatenate(name="fused")([_pooled(level, name) for name, level in levels.items()])


def _pooled(x: Any, name: str) -> Any:
    return layers.GlobalAveragePooling2D(name=f"{name}_pool")(x)


def _check_shrunk(where: str, size: int, shrink: int) -> None:
    left = f"Use a size that is a multiple of {shrink} and at least {_LEAST_SEEN * shrink} px, or less shrinking."
    fits = size % shrink == 0 and size // shrink >= _LEAST_SEEN
    refuse_unfit(where, {"shrink": (f"{shrink} for tiles of {size} px", fits, left)})
