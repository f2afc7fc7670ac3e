"""What the page of `ct_pneumonia` says of the paper's method beside this run's, by settings and trainings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from studies.common.images.protocols import PROTOCOLS
from studies.common.images.tables import ImageArm
from studies.common.images.tasks import arm_view

AVERAGES_NOTE = (
    "Averages over layers are of their maps, each stretched to [0, 1] first: gradients and channels of different "
    "layers have no unit in common, and without that one layer would be the average. The paper does not say how it "
    "averages."
)
# By `attention.score`.
_SCORED = {
    "log_odds": "here it is its log odds, whose pattern is the same for two classes, and which do not vanish where the "
    "network is sure",
    "log_probability": "here it is its logarithm, whose pattern is the same for two classes, and which vanishes like "
    "the output where the network is sure of the class",
    "probability": "and so it is here, though it vanishes where the network is sure",
}


def maps_note(settings: Mapping[str, Any]) -> str:
    """What is differentiated, and what a map says."""
    return (
        "Grad-CAM differentiates the score of the class at every place of a layer. The paper takes the softmax output; "
        f"{_SCORED[settings['attention']['score']]} (`attention.score` changes that). The last convolution is found by "
        "structure; InceptionV3 ends in branches side by side, of which it is one. A map says what an answer hangs on, "
        "not where the tumour is."
    )


def authors_note(networks: Sequence[ImageArm], settings: Mapping[str, Any]) -> str:
    """Where the paper and its authors' code differ, and what was done here.

    Parameters
    ----------
    networks : list of ImageArm
        Those that see whole images.
    settings : mapping
        The study's.
    """
    own = [settings["arms"][arm.name] for arm in networks]
    words = (
        "Where the paper and its authors' code differ: the code leaves 22 % (InceptionResNetV2) to 37 % (VGG16) of a "
        f"backbone's layers learning where the text says 30 %; {_learning(own)}. The code stretches images to squares; "
        f"{_fitted({arm_view(settings, arm.name)['fit'] for arm in networks})}."
    )
    if any(arm["options"].get("normalise") == "caffe" for arm in own):
        words += (
            " “Zero-centred” inputs, from which the code subtracts each set's own channel means, have Keras' fixed "
            "means here: the mean of a test set is not known of a single image."
        )
    return (
        f"{words} The authors test the last epoch; here it is the one with {kept_epoch(networks)}. Up-sampling before "
        "an average pooling changes no answer; it is there because the paper has it."
    )


def kept_epoch(networks: Sequence[ImageArm]) -> str:
    """Which loss is lowest where a training's weights are taken, from the histories."""
    validated: dict[str, list[bool]] = {}
    for arm in networks:
        if arm.history is None:
            continue
        for protocol, part in arm.history.groupby("protocol", sort=False):
            has = "val_loss" in part and pd.to_numeric(part["val_loss"]).notna().any()
            validated.setdefault(str(protocol), []).append(bool(has))
    without = sorted((p for p, own in validated.items() if not all(own)), key=PROTOCOLS.index)
    if not without:
        return "the lowest validation loss"
    if len(without) == len(validated):
        return "the lowest training loss, as no image was set aside for validation"
    splits = " or the ".join(without)
    return f"the lowest validation loss, or under the {splits} split, which has no validation part, training loss"


def _learning(arms: Sequence[Mapping[str, Any]]) -> str:
    """How much of the backbones learns, by the arms' settings."""
    counted = [arm["options"].get("trainable_layers") is not None for arm in arms]
    if all(counted):
        return "here as many learn as the table of networks says, and the table that ships follows the code"
    shares = {float(arm["freeze_fraction"]) for arm in arms}
    if any(counted) or len(shares) > 1:
        return "here the networks differ in how that is told"
    (share,) = shares
    return (
        f"here {100 * share:g} % of the layers of every backbone are held fixed" if share else "here all layers learn"
    )


def _fitted(fits: set[str]) -> str:
    if fits == {"stretch"}:
        return "so it is here"
    square = "a square is cut out of each (`view.fit`)"
    return f"here {square}" if fits == {"crop"} else f"so it is here for some networks, for the others {square}"
