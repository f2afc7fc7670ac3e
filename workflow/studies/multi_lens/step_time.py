"""Training time with and without multi-lens distortion, measured in turn in one process."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pandas as pd

from drunet.augment.pipeline import Augmentation, MultiLens
from drunet.console import progress
from drunet.models import registry
from studies.multi_lens.training import ImageBatches, distorting, lens_layer

# What is compared: no lenses, lenses in the model (a layer), lenses while batches are prepared.
FORMS = ("without", "layer", "pipeline")


def measure_step_times(
    architecture: str,
    *,
    options: Mapping[str, Any],
    size: int,
    batch_size: int,
    lenses: MultiLens,
    augment: Mapping[str, Any] | None,
    steps: int,
    rounds: int,
    seed: int,
) -> pd.DataFrame:
    """Time short epochs of training, every form once a round, in an order that changes from round to round.

    `architecture` and `options` are as for `drunet.models.registry.build`; `augment` is other augmentation, the same in
    all forms. An epoch has so many `steps`; one round more comes first and does not count. Published: 224 px, batch
    size 16. Returns columns round, form and seconds (per step, an epoch's start included).
    """
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (steps * batch_size, size, size, 3), dtype=np.uint8)
    labels = rng.integers(0, 2, len(images))
    plain = Augmentation.from_config(augment)

    def batches(augmentation: Augmentation) -> ImageBatches:
        return ImageBatches(images, labels, size=size, batch_size=batch_size, seed=seed, augmentation=augmentation)

    def compiled(layer: keras.layers.Layer) -> keras.Model:
        model = distorting(registry.build(architecture, size=size, classes=2, seed=seed, **options), layer)
        model.compile(optimizer=keras.optimizers.Adamax(1e-4), loss="sparse_categorical_crossentropy")
        return model

    usual = compiled(lens_layer(replace(lenses, lenses=0), seed))
    trained = {
        "without": (usual, batches(plain)),
        "layer": (compiled(lens_layer(lenses, seed)), batches(plain)),
        "pipeline": (usual, batches(replace(plain, multi_lens=lenses))),
    }
    rows = []
    with progress((rounds + 1) * len(FORMS), "timing of training", "epochs") as bar:
        for turn in range(rounds + 1):
            for form in np.roll(FORMS, turn).tolist():
                model, data = trained[form]
                begun = time.perf_counter()
                model.fit(data, epochs=1, verbose=0, shuffle=False)
                if turn:
                    rows.append({"round": turn, "form": form, "seconds": (time.perf_counter() - begun) / steps})
                bar.update()
    return pd.DataFrame(rows)
