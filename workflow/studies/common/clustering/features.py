"""Features of labelled tiles from a MobileNetV2, from which clusters are made."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import pandas as pd

from drunet.console import progress
from drunet.errors import ConfigError
from drunet.files import read_json
from drunet.models.options import Network, Weights
from drunet.sampling import draw_epoch
from drunet.settings.network import starts_whole
from drunet.tiles import TileRules
from drunet.training.loop import compute_precision
from drunet.training.readers import AnnotatedSlide, TileReader, crop_sources, need_slides, tile_shape
from drunet.training.recipe import slide_facts
from drunet.training.trained import rebuild
from studies.common.clustering.batches import ClassBatches
from studies.common.clustering.prototypes import BACKBONE, build_embedder
from studies.common.clustering.tiles import TRAINING, VALIDATION

# Tiles that go through the network at once.
_BATCH = 32


def embed_tiles(
    name: str,
    weights: Weights,
    training: Sequence[AnnotatedSlide],
    validation: Sequence[AnnotatedSlide],
    *,
    tiles: int,
    rules: TileRules,
    seed: int,
    start: Mapping[str, str] | None = None,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Draw labelled tiles of training and validation slides and pass them through the backbone as it stands.

    `weights` are the backbone's: "random", "imagenet", {"mobilenetv2": file} or {"model": name}, for which `start`
    holds the files `weights` and `facts` of that model. `tiles`: at most so many of either split. The rest is as for
    `drunet.training.classifier.train_classifier`, also what is raised; and as `load_start`.

    Returns split, slide, x, y (level-0 px), label, and float32 columns f0, f1, …: the global average of the last layer;
    and the facts size, mpp, slides of either split.
    """
    need_slides(training, name)
    shape = tile_shape(training)
    where = f"classifiers.{name}"
    compute_precision("float32")
    own = "random" if starts_whole(weights) else weights
    embedder = build_embedder(Network(f"{BACKBONE} ({where})", shape["size"], weights=own, seed=seed))
    load_start(embedder, weights, start, f"{where}.weights")
    parts = []
    for split, slides in ((TRAINING, training), (VALIDATION, validation)):
        drawn = draw_epoch(crop_sources(slides, rules), seed, 0, both_classes=split == TRAINING)
        chosen = drawn.take(np.arange(min(len(drawn), tiles)))
        reader = TileReader([s.source for s in slides], **shape)
        batches = ClassBatches(reader, chosen, 2, seed=seed, batch_size=_BATCH, fixed=True)
        values = embed(embedder, batches, f"{name}: features of {split} tiles")
        reader.close()
        names = np.array([s.source.slide_id for s in slides], dtype=object)
        slide = names[chosen.slide] if len(chosen) else np.array([], dtype=object)
        places = {"x": chosen.x.astype(np.int32), "y": chosen.y.astype(np.int32), "label": chosen.label.astype(np.int8)}
        table = pd.DataFrame({"split": split, "slide": slide, **places})
        columns = [f"f{i}" for i in range(values.shape[1])]
        parts.append(pd.concat([table, pd.DataFrame(values, columns=columns)], axis=1))
    facts = {**shape, **slide_facts(training, validation)}
    return pd.concat(parts, ignore_index=True), facts


def embed(embedder: keras.Model, batches: ClassBatches, what: str) -> np.ndarray:
    """Pass all tiles through a network: float32 (n, features), in the batches' order."""
    rows = []
    with progress(len(batches.tiles), what, "tiles") as bar:
        for index in range(len(batches)):
            pixels, _ = batches[index]
            rows.append(np.asarray(embedder.predict_on_batch(pixels), np.float32))
            bar.update(len(pixels))
    return np.concatenate(rows) if rows else np.zeros((0, embedder.output.shape[-1]), np.float32)


def load_start(model: keras.Model, weights: Weights, start: Mapping[str, str] | None, where: str) -> None:
    """Give a model with a layer `mobilenetv2` that of the trained model that it starts from, if it does, in place.

    `weights` are those of the model's settings, `start` the files `weights` and `facts` of the trained model, `where`
    names the key of the weights. Raises ConfigError if the settings name a weights file of a whole model, whose
    architecture is not known; that of a trained model is checked with the settings (`sharing.check_classifiers`).
    """
    if not starts_whole(weights):
        return
    if isinstance(weights, str) or start is None:
        mend = f"Use random, imagenet, {{{BACKBONE}: FILE}} or {{model: NAME}}."
        raise ConfigError("a model over clusters starts from a backbone alone", where=where, found=weights, mend=mend)
    other = rebuild(read_json(start["facts"]), start["weights"])
    model.get_layer(BACKBONE).set_weights(other.get_layer(BACKBONE).get_weights())
