"""A finished training: what it leaves in files, and its network built again from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drunet.files import AnyPath, whole_file, write_json
from drunet.models import registry
from drunet.settings.network import BuiltSettings, NetworkSettings, starts_whole

if TYPE_CHECKING:
    import keras
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Trained:
    """What a training leaves.

    The model has its best weights; it is None where each of several trainings keeps weights of its own, and without a
    network. `history` has a row per epoch; `facts`, JSON values, are what `rebuild` builds the network from;
    `predictions` are answers for the test images.
    """

    model: keras.Model | None
    history: pd.DataFrame
    facts: dict[str, Any]
    predictions: pd.DataFrame | None = None

    def write(
        self,
        *,
        facts: AnyPath,
        history: AnyPath | None = None,
        weights: AnyPath | None = None,
        predictions: AnyPath | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        """Write weights, history (TSV), predictions (Parquet), and facts (JSON) with the settings if they are given."""
        if weights is not None:
            from drunet.training.checkpoint import save_inference_weights

            save_inference_weights(self.model, Path(weights))
        if predictions is not None and self.predictions is not None:
            with whole_file(predictions) as temporary:
                self.predictions.to_parquet(temporary, index=False)
        if history is not None:
            with whole_file(history) as temporary:
                self.history.to_csv(temporary, sep="\t", index=False)
        write_json(facts, self.facts if settings is None else {**self.facts, "settings": settings})


def builder_options(settings: BuiltSettings, seed: int, size: int | None = None) -> dict[str, Any]:
    """Arguments of a network's builder, from its settings.

    Those of a classifier, `NetworkSettings`, say more: what it starts from, and how much of it stays as it is. `size`
    is the side of a classifier's input, px; that of a refiner is among its options.
    """
    own = {"batch_norm_momentum": settings.batch_norm_momentum, "seed": seed, **settings.options}
    if not isinstance(settings, NetworkSettings):
        return own
    weights = "random" if starts_whole(settings.weights) else settings.weights
    learning = {} if settings.trainable_layers is None else {"trainable_layers": settings.trainable_layers}
    return {"size": size, "weights": weights, "freeze_fraction": settings.freeze_fraction, **learning, **own}


def rebuild(facts: Mapping[str, Any], weights: AnyPath | None = None) -> Any:
    """Build a network as its training did, in float32, and load its weights: a keras.Model of pictures in [0, 1].

    The facts are what the training left: `settings`, `size` and `seed`, or `builder`, or what of the builder's
    arguments was known only once the data were seen. Without weights the network is as it was before the training, but
    that it starts at random. Raises ModelError if the weights do not fit the facts.
    """
    options: dict[str, Any] = {}
    # A head on an encoder's features starts from no weights: all that builds it is in `builder`.
    if (settings := facts.get("settings")) and "weights" in settings:
        kind = NetworkSettings if "freeze_fraction" in settings else BuiltSettings
        # Starting weights are about to be overwritten: they need not be there any more.
        built = kind.among({**settings, "weights": "random"}, "settings")
        options = builder_options(built, facts["seed"], facts["size"])
    model = registry.build(facts["architecture"], **{**options, **facts.get("builder", {})})
    if weights is not None:
        registry.load_weights(model, weights)
    return model
