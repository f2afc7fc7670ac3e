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
    forms: tuple[str, ...] = FORMS,
) -> pd.DataFrame:
    """Time short epochs of training, every form once a round, in an order that changes from round to round.

    `architecture`, `options`: as for `drunet.models.registry.build`. `size`, `batch_size`: published: 224 px and 16.
    `augment`: other augmentation, the same in all forms. `steps`, `rounds`: steps of an epoch, and epochs of each form;
    one more of each comes first and does not count. `forms`: out of `FORMS`. Returns columns round, form, seconds and
    cpu_seconds (per step, an epoch's start included). CPU time distinguishes the forms where other work shares the
    machine.
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
        "layer": (compiled(lens_layer(lenses, seed)) if "layer" in forms else usual, batches(plain)),
        "pipeline": (usual, batches(replace(plain, multi_lens=lenses))),
    }
    rows = []
    with progress((rounds + 1) * len(forms), "timing of training", "epochs") as bar:
        for turn in range(rounds + 1):
            for form in np.roll(forms, turn).tolist():
                model, data = trained[form]
                begun = time.perf_counter(), time.process_time()
                model.fit(data, epochs=1, verbose=0, shuffle=False)
                seconds, cpu = (
                    (now - then) / steps
                    for now, then in zip((time.perf_counter(), time.process_time()), begun, strict=True)
                )
                if turn:
                    rows.append({"round": turn, "form": form, "seconds": seconds, "cpu_seconds": cpu})
                bar.update()
    return pd.DataFrame(rows)
