"""Options that the builders of classifiers share, and checks of options, which may come from a configuration."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, TypedDict

from drunet.errors import ModelError
from drunet.files import AnyPath
from drunet.models.names import NORMALISATIONS

SMALLEST = 32  # px; what Keras' applications need, but for a few, and the side from which other networks start

Weights: TypeAlias = str | Mapping[str, AnyPath]
# An option's value, whether it fits, and how to mend it.
Check: TypeAlias = tuple[object, bool, str]


class Shared(TypedDict, total=False):
    """Options that every builder of a classifier takes alike; see `Network`."""

    weights: Weights
    classes: int
    freeze_fraction: float
    trainable_layers: int | None
    batch_norm_momentum: float | None
    seed: int


@dataclass(frozen=True)
class Network:
    """What every classifier is told: it takes `input_image` (n, size, size, 3) and gives probabilities (n, classes).

    Attributes
    ----------
    size : int
        Side of the square tile, px; at least 32.
    weights : "random", "imagenet" or {backbone: file}
        Of the backbones. "imagenet" fetches Keras' own files; where there is no network, name the same files (without
        top). A network on no backbone of Keras' starts at random; the weights of a whole trained model are read
        afterwards.
    dropout : float
        Rate, in [0, 1).
    normalise : {"none", "imagenet", "symmetric", "caffe", "own"}
        How pixels are scaled inside the graph, see `drunet.models.image_normalisation`.
    freeze_fraction : float
        Share of the layers before the head (of each backbone) that is held fixed, counted from the input. A frozen
        batch normalisation also uses its moving averages, in training too.
    trainable_layers : int or None
        Only so many of these layers (of each backbone) learn, counted from the output, in place of `freeze_fraction`.
    batch_norm_momentum : float or None
        Of every batch normalisation, in [0, 1); None keeps Keras' own, 0.99.
    seed : int
        Of the initial weights and the dropout. Sets the global seed of Keras.
    """

    name: str
    size: int
    weights: Weights = "random"
    classes: int = 2
    dropout: float = 0.0
    normalise: str = "none"
    freeze_fraction: float = 0.0
    trainable_layers: int | None = None
    batch_norm_momentum: float | None = None
    seed: int = 0

    @property
    def norm(self) -> dict[str, Any]:
        """What a batch normalisation of the network's own is told."""
        return {} if self.batch_norm_momentum is None else {"momentum": self.batch_norm_momentum}

    @property
    def where(self) -> str:
        """How messages call the network."""
        return f"architecture {self.name}"

    def check(self, *, on_backbone: bool = True, **more: Check) -> None:
        """Refuse the first option that does not fit, of the shared ones and then of `more`; raises ModelError."""
        share, learning = self.freeze_fraction, self.trainable_layers
        fits, mend = learning is None or whole(learning, 0), "Use null, or a whole number of at least 0."
        checks: dict[str, Check] = {
            "size": size_check(self.size),
            "classes": whole_check(self.classes, 2),
            "dropout": rate_check(self.dropout),
            "freeze_fraction": (share, share == 1 or within(share, 0, 1), "Use a share from 0 to 1."),
            "trainable_layers": (learning, fits, mend),
            "batch_norm_momentum": momentum_check(self.batch_norm_momentum),
        }
        known = [how for how in NORMALISATIONS if on_backbone or how != "own"]
        checks["normalise"] = self.normalise, self.normalise in known, f"Use one of {', '.join(known)}."
        if not on_backbone:
            start = "Use random; to begin with a whole trained model, name its weights file as the model's `weights`."
            checks["weights"] = (self.weights, self.weights == "random", start)
        refuse_unfit(self.where, {**checks, **more})
        if learning is not None and share:
            found = f"trainable_layers {learning}, freeze_fraction {share}"
            mend = "Leave 'freeze_fraction' at 0, or 'trainable_layers' at null."
            raise ModelError("two options say which layers learn", where=self.where, found=found, mend=mend)

    def image(self) -> Any:
        """The network's input; what is built from here on draws its weights by the seed."""
        import keras

        keras.utils.set_random_seed(self.seed)
        return keras.Input((self.size, self.size, 3), name="input_image")

    def prepare(self, trunk: Any) -> None:
        """Hold the first layers of a trunk, a keras.Model, fixed and set its batch normalisations' momentum, in place.

        Raises ModelError if more layers are to learn than there are.
        """
        import keras

        count, learning = len(trunk.layers), self.trainable_layers
        if learning is not None and learning > count:
            mend = f"{trunk.name} has {count} layers: use null for all of them, or 0 to {count}."
            raise ModelError("'trainable_layers' is out of range", where=self.where, found=learning, mend=mend)
        fixed = round(self.freeze_fraction * count) if learning is None else count - learning
        for layer in trunk.layers:
            if self.batch_norm_momentum is not None and isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = self.batch_norm_momentum
        for layer in trunk.layers[:fixed]:
            layer.trainable = False


def within(value: object, least: float, below: float = math.inf) -> bool:
    """Say whether a value is a number in [least, below)."""
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value < below


def refuse_unfit(where: str, checks: Mapping[str, Check]) -> None:
    """Refuse the first option (value, fits, mend) of the architecture `where` that does not fit; raises ModelError."""
    for name, (value, fits, mend) in checks.items():
        if not fits:
            raise ModelError(f"'{name}' is out of range", where=where, found=value, mend=mend)


def whole(value: object, least: int) -> bool:
    """Say whether a value is a whole number of at least `least`."""
    return isinstance(value, int) and within(value, least)


def whole_check(value: object, least: int = 1) -> Check:
    """The check of what is counted."""
    return value, whole(value, least), f"Use a whole number of at least {least}."


def size_check(size: object) -> Check:
    """The check of the side of an input, px."""
    return size, whole(size, SMALLEST), f"Use a whole number of pixels, at least {SMALLEST}."


def rate_check(rate: object) -> Check:
    """The check of a rate of dropout."""
    return rate, within(rate, 0, 1), "Use a rate from 0 to below 1."


def momentum_check(momentum: float | None) -> Check:
    """The check of a batch normalisation's momentum, where None stands for Keras' own."""
    return momentum, momentum is None or within(momentum, 0, 1), "Use null, or from 0 to below 1."
