"""Training a classifier of small images with and without multi-lens distortion.

Two arms with one seed have the same images, order, initial weights, dropout and other augmentation: each image has its
own random generator for the latter, and the lenses have one inside the model.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import cv2
import keras
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from drunet.augment.pipeline import Augmentation, MultiLens
from drunet.console import progress
from drunet.errors import TrainingDataError
from drunet.files import sha256
from drunet.models import registry
from drunet.settings.network import NetworkSettings
from drunet.settings.training import TrainingSettings
from drunet.training.batches import EpochBatches
from drunet.training.checkpoint import digest
from drunet.training.loop import Trainer
from drunet.training.recipe import new_network
from studies.multi_lens.image_sets import ImageSet
from studies.multi_lens.lens_batch import MultiLensDistortion

# What is compared: no lenses, lenses in the model (a layer), lenses while batches are prepared.
FORMS = ("without", "layer", "pipeline")


class ImageBatches(EpochBatches):
    """Labelled images of any size, brought to one size and augmented; fixed: nothing is augmented.

    `size` is the side of what the network sees, px; `batches` are batch_size, seed and fixed, as for `EpochBatches`.
    Yields (float32 (b, size, size, 3) in [0, 1], int32 (b,)).
    """

    streams: ClassVar = {**EpochBatches.streams, "augmentation": (11,)}

    def __init__(
        self,
        images: NDArray[np.uint8],
        labels: NDArray[np.int64],
        *,
        size: int,
        augmentation: Augmentation | None = None,
        **batches: Any,
    ) -> None:
        super().__init__(len(images), **batches)
        self._images, self._labels, self._size, self._augmentation = images, labels, size, augmentation

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        chosen = self.chosen(index)
        images = np.stack([self._image(i) for i in chosen])
        return images.astype(np.float32) / np.float32(255), self._labels[chosen].astype(np.int32)

    def _image(self, i: int) -> NDArray[np.uint8]:
        image, rng = at_side(self._images[i], self._size), self.augmentation_draws(i)
        if rng is None or self._augmentation is None:
            return image
        return np.asarray(self._augmentation(rng, image)[0])


def at_side(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """An image (h, w, 1 or 3) as RGB (side, side, 3); reduced by area, enlarged by cubic interpolation."""
    if image.shape[:2] != (side, side):
        way = cv2.INTER_AREA if max(image.shape[:2]) > side else cv2.INTER_CUBIC
        image = np.asarray(cv2.resize(image, (side, side), interpolation=way), dtype=np.uint8)
    image = image.reshape(side, side, -1)
    return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image


def split_training(
    count: int, *, share: float, validation_share: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw training and validation images: sorted indices of both, of `count` images.

    `share` of the images is drawn (published: 0.1), and `validation_share` of these is set aside for validation.
    """
    drawn = np.random.default_rng(seed).permutation(count)[: max(1, round(share * count))]
    aside = round(validation_share * len(drawn))
    return np.sort(drawn[aside:]), np.sort(drawn[:aside])


def distorting(model: keras.Model, lenses: MultiLens, seed: int) -> keras.Model:
    """A model that sees, in training, its images through lenses, if there are any."""
    image = keras.Input(model.input_shape[1:], name="image")
    layer = MultiLensDistortion(lenses, seed=seed, name="multi_lens")
    return keras.Model(image, model(layer(image)), name=model.name)


def identity(settings: Mapping[str, Any], strength: float, seed: int, files: Sequence[str], code: str = "") -> str:
    """Digest of all that decides a result: settings, arm, seed, Keras' version, images, initial weights and code."""
    return digest([settings, strength, seed, keras.__version__, [sha256(f) for f in files], code])


def train_image_classifier(
    name: str,
    settings: Mapping[str, Any],
    training: ImageSet,
    test: ImageSet,
    *,
    lenses: MultiLens,
    seed: int,
    folder: Path,
    identity: str,
) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """Train one arm with one seed: the history, an epoch per row, and the class predicted for each test image, int
    (n,).

    `settings` are those of `studies.multi_lens.arms.training_settings`. The `seed` decides the choice of images, the
    initial weights, the order, the augmentation and the dropout. An interrupted training continues from the state in
    `folder`, if its `identity`, a digest of all that decides the result, is the same. Raises TrainingDataError if the
    images drawn are of one class only.
    """
    plan, size = TrainingSettings.of(settings["training"], "training"), settings["size"]
    chosen, aside = split_training(
        len(training.images), share=settings["share"], validation_share=settings["validation_share"], seed=seed
    )
    learnt, validation = training.take(chosen), training.take(aside)
    if len(np.unique(learnt.labels)) < 2:
        found = f"{len(learnt.labels)} images"
        raise TrainingDataError("images of one class only were drawn", where=name, found=found, mend="Raise `share`.")

    augmentation = Augmentation.from_config(settings["augment"])
    shown = {"size": size, "batch_size": plan.batch_size, "seed": seed}

    def batches(part: ImageSet, **options: Any) -> ImageBatches:
        return ImageBatches(part.images, part.labels, **shown, **options)

    network = new_network(NetworkSettings.among(settings, name), plan, seed, size, classes=len(training.classes))
    model = distorting(network, lenses, seed)
    trainer = Trainer(model, loss="sparse_categorical_crossentropy", metrics=["accuracy"], plan=plan)
    history = trainer.train(
        batches=batches(learnt, augmentation=augmentation),
        validation=batches(validation, fixed=True) if len(aside) else None,
        folder=folder,
        identity=identity,
        name=name,
    )
    return history, np.argmax(model.predict(batches(test, fixed=True), verbose=0), axis=1)


def measure_step_times(
    settings: Mapping[str, Any],
    lenses: MultiLens,
    seed: int,
    images: NDArray[np.uint8] | None = None,
    forms: Sequence[str] = FORMS,
) -> pd.DataFrame:
    """Time short epochs of training, every form once a round, in an order that changes from round to round.

    `settings` are architecture, options, augment and cost of the study's; all forms have the same augmentation but for
    lenses. An epoch has so many `steps`; one round more comes first and does not count. Published: 224 px, batch size
    16. `images`, (steps · batch size, size, size, 3), are random where there are none. Returns columns round, form and
    seconds (per step, an epoch's start included).
    """
    size, batch_size, steps, rounds = (settings["cost"][key] for key in ("size", "batch_size", "steps", "rounds"))
    rng = np.random.default_rng(seed)
    if images is None:
        images = rng.integers(0, 256, (steps * batch_size, size, size, 3), dtype=np.uint8)
    labels = rng.integers(0, 2, len(images))
    plain = replace(Augmentation.from_config(settings["augment"]), multi_lens=None)

    def batches(augmentation: Augmentation) -> ImageBatches:
        return ImageBatches(images, labels, size=size, batch_size=batch_size, seed=seed, augmentation=augmentation)

    def compiled(drawn: MultiLens) -> keras.Model:
        network = registry.build(settings["architecture"], size=size, classes=2, seed=seed, **settings["options"])
        model = distorting(network, drawn, seed)
        model.compile(optimizer=keras.optimizers.Adamax(1e-4), loss="sparse_categorical_crossentropy")
        return model

    usual = compiled(replace(lenses, lenses=0))
    trained = {"without": (usual, batches(plain)), "pipeline": (usual, batches(replace(plain, multi_lens=lenses)))}
    if "layer" in forms:
        trained["layer"] = (compiled(lenses), batches(plain))
    rows = []
    with progress((rounds + 1) * len(forms), "timing of training", "epochs") as bar:
        for turn in range(rounds + 1):
            for form in np.roll(forms, turn).tolist():
                model, data = trained[form]
                begun = time.perf_counter()
                model.fit(data, epochs=1, verbose=0, shuffle=False)
                if turn:
                    rows.append({"round": turn, "form": form, "seconds": (time.perf_counter() - begun) / steps})
                bar.update()
    return pd.DataFrame(rows)
